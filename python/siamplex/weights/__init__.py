"""The starting weights: AlexNet's convolutions, or a stated substitute."""
