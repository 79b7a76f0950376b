"""Fast paths: they compute the same numbers as the full net in less time.  README.md here explains them."""
