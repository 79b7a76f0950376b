"""siamplex: a Siamese network that learns the similarity structure of facial expressions.

Reproduces Rao, Wang & Cottrell, *A Deep Siamese Neural Network Learns the Human-Perceived
Similarity Structure of Facial Expressions Without Explicit Categories* (CogSci).

Data flows one way: ``faces`` -> ``pairs`` -> ``nets`` -> ``engine`` -> ``embedding`` ->
``geometry`` -> ``figures``.  ``schema`` holds Caffe's file formats, which all of them speak.
"""

__version__ = "0.1.0"
