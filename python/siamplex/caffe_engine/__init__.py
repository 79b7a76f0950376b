"""The ``caffe`` engine: the real binary as a process, its log read into the same files as the embedded engine's."""
