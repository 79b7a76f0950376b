"""``siamplex caffe``: the commands and flags of BVLC's ``caffe`` tool, on the embedded engine."""
