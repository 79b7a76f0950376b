"""What an embedding looks like: circular order, separability, losses of pairs."""
