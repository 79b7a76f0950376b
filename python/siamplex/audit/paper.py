"""The settings that the paper states, as constants for the audit (Rao, Wang & Cottrell, Methods and Results)."""

from __future__ import annotations

IMAGES = 504  # the counts of Table 1 (emotions.PAPER_COUNTS) together
ALL_PAIRS = 126_756  # Table 1: C(504, 2)
FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}  # of the subjects, about
SIZE = 227
CONVOLUTIONS = {"conv1": (96, 11, 4), "conv2": (256, 5, 1), "conv3": (384, 3, 1)}  # outputs, kernel, stride
UNITS = {"fc4": 1024, "fc5": 256, "fc6": 2}
MARGIN = 1.0
BASE_LR = 1e-4
STEPSIZE = 5000
ITERATIONS = 5000
SHOWN = (0, 2000, 3000, 4000, 5000)  # Figures 3 and 4

# what AlexNet's weights presuppose of their input: ImageNet's mean, in B, G, R
ALEXNET_MEAN = (104.0, 117.0, 123.0)
MEAN_TOLERANCE = 1.5

# input scales from here on diverge at BASE_LR with AlexNet's weights (docs/recipe.md)
IMPOSSIBLE_SCALE = 0.1
