"""The embedded engine: runs Caffe's nets and solvers on PyTorch with Caffe's semantics."""
