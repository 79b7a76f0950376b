"""A prototxt becomes a net: Caffe's meaning of layers, phases, shapes and fillers."""
