"""Fast paths: they compute the same numbers as the full net in less time.  docs/performance.md explains them."""
