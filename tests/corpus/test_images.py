from __future__ import annotations

import cv2
import numpy as np
import pytest

from siamplex.corpus.images import fit, read_picture
from siamplex.errors import InputError

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".BMP"])
def test_reads_bgr(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), PICTURE)
    np.testing.assert_array_equal(read_picture(path), PICTURE)


def test_grey_images_become_three_channels(tmp_path):
    cv2.imwrite(str(tmp_path / "g.png"), PICTURE[:, :, 0])
    read = read_picture(tmp_path / "g.png")
    assert read.shape == (30, 20, 3)
    np.testing.assert_array_equal(read[:, :, 2], PICTURE[:, :, 0])


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_fits_every_shape(mode):
    for shape in ((30, 20), (20, 30), (8, 8)):
        assert fit(np.full((*shape, 3), 7, np.uint8), 11, mode).shape == (11, 11, 3)
        assert (fit(np.full((*shape, 3), 7, np.uint8), 11, mode) == 7).all()


def test_modes_keep_what_they_say():
    tall = np.zeros((40, 20, 3), np.uint8)
    tall[:10] = 255  # the top quarter
    assert fit(tall, 20, "crop").max() == 0
    assert fit(tall, 20, "stretch")[:5].min() == 255
    padded = fit(tall, 40, "pad")
    assert (padded[:10, 10:30] == 255).all() and (padded[12:, 10:30] == 0).all()
    assert 0 < padded[0, 0, 0] < 255


def test_crops_what_a_file_holds(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), PICTURE)
    np.testing.assert_array_equal(fit(read_picture(tmp_path / "a.png"), 20, "crop"), PICTURE[5:25])


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"BM" + b"\0" * 60])
def test_refuses_what_does_not_decode(tmp_path, content):
    (tmp_path / "a.bmp").write_bytes(content)
    with pytest.raises(InputError, match=r"a.bmp: expected an? .*image"):
        read_picture(tmp_path / "a.bmp")
    with pytest.raises(InputError, match="No such file"):
        read_picture(tmp_path / "b.bmp")
