"""Multiverse analysis: a grid of all choices that the paper leaves open, its trainings and their results."""
