"""The ``caffe`` engine: runs the real binary as a process, and turns its log into the embedded engine's files."""
