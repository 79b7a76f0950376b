"""Caffe's file formats: the messages, prototxt text, caffemodel and solverstate files, Datums."""
