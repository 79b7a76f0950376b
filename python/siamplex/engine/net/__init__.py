"""Building a net from a prototxt, with Caffe's semantics of layers, phases, shapes and fillers."""
