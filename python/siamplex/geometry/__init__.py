"""The geometry of an embedding: circular order, separability, losses of pairs."""
