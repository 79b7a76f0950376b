"""Shortcuts that give the same numbers sooner; README.md explains them."""
