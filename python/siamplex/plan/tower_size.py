"""The size of a tower: weights, activations and multiplications, from its architecture alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from siamplex.nets.architecture import Architecture


@dataclass(frozen=True)
class TowerSize:
    """Counts for one image through one tower.

    ``convolutions`` and ``dense`` count float32 weights and biases, ``features`` the inputs of fc4 for one image,
    ``activations`` all values between layers, ``multiplications`` those of the convolutions forward.
    """

    convolutions: int
    dense: int
    features: int
    activations: int
    multiplications: int

    @property
    def weights(self) -> int:
        """All weights and biases."""
        return self.convolutions + self.dense

    @classmethod
    def of(cls, arch: Architecture) -> TowerSize:
        """By the shapes of :func:`~siamplex.nets.architecture.tower`."""
        one, two, three = (arch.units(n) for n in (96, 256, 384))
        fc4, fc5 = arch.units(1024), arch.units(256)
        side1 = (arch.size - 11) // 4 + 1
        side2 = _pooled(side1)
        side3 = _pooled(side2)
        last = _pooled(side3) if arch.pool3 else side3
        kernels = (3 * 121 * one, one // arch.conv2_group * 25 * two, two * 9 * three)
        features = three * last**2
        squares = (side1**2, side2**2, side3**2)
        # conv, ReLU in place, LRN; then a pooling
        values = 2 * one * squares[0] + one * squares[1] + 2 * two * squares[1] + two * squares[2]
        return cls(
            convolutions=sum(kernels) + one + two + three,
            dense=(features + 1) * fc4 + (fc4 + 1) * fc5 + (fc5 + 1) * arch.embedding,
            features=features,
            activations=3 * arch.size**2 + values + three * squares[2] + features,
            multiplications=sum(k * s for k, s in zip(kernels, squares, strict=True)),
        )


def _pooled(side: int) -> int:
    """Caffe's pooling of 3 by 2: it rounds up."""
    return math.ceil((side - 3) / 2) + 1
