from __future__ import annotations

import numpy as np

from siamplex.pairs.scaling import scaled


def test_less_the_mean_times_the_scale():
    pixels = np.random.default_rng(4).integers(0, 256, (2, 3, 5, 4), dtype=np.uint8)
    found = scaled(pixels, (104.0, 117.0, 123.0), 0.5)
    assert found.dtype == np.float32
    assert found[1, 2, 4, 3] == (int(pixels[1, 2, 4, 3]) - 123) / 2
    assert found[0, 0, 0, 1] == (int(pixels[0, 0, 0, 1]) - 104) / 2


def test_one_image_as_among_many():
    pixels = np.random.default_rng(5).integers(0, 256, (3, 3, 7, 7), dtype=np.uint8)
    whole = scaled(pixels, (104.006, 116.668, 122.678), 1 / 256)
    for one, among in zip(pixels, whole, strict=True):
        np.testing.assert_array_equal(scaled(one, (104.006, 116.668, 122.678), 1 / 256), among)
