"""What training starts from: AlexNet's convolutions, or a stated substitute."""
