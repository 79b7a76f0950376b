"""Every choice that the paper leaves open: a grid of cells, trained with shared features, and what comes of them."""
