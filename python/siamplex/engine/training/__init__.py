"""Caffe's solver: updates, rates, tests, snapshots, resuming."""
