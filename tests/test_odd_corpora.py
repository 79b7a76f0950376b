"""Corpora that are not what one expects: each has a defined outcome."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from siamplex.cli import main
from siamplex.corpus_index import index_folder, index_table
from siamplex.errors import InputError
from siamplex.images import read_picture
from siamplex.schema.picture_files import MAX_PIXELS
from tests.test_corpus_index import picture, put

GRADIENT = np.linspace(0, 255, 40 * 30 * 3).reshape(40, 30, 3).astype(np.uint8)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def refused(capsys, arguments, message):
    """The command ends with exit code 2 and one line."""
    assert main(arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("siamplex: error: ") and message in last
    return last


# --- pictures


def test_sixteen_bits_become_eight(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), GRADIENT.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), GRADIENT)


def test_cmyk_becomes_bgr(tmp_path):
    red = Image.new("RGB", (16, 16), (250, 10, 10)).convert("CMYK")
    read = read_picture(save(tmp_path / "a.jpg", red, quality=95))
    assert read.shape == (16, 16, 3)
    assert read[..., 2].min() > 200 and read[..., :2].max() < 60


def test_transparency_is_dropped_and_palettes_are_colours(tmp_path):
    picture = Image.fromarray(GRADIENT[:, :, ::-1]).convert("RGBA")
    picture.putalpha(128)
    np.testing.assert_array_equal(read_picture(save(tmp_path / "a.png", picture)), GRADIENT)
    palette = Image.new("RGB", (9, 9), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert (read_picture(save(tmp_path / "b.png", palette)) == (30, 200, 10)).all()


def test_exif_turns_the_picture(tmp_path):
    upright = Image.fromarray(GRADIENT)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: a quarter turn clockwise puts it right
    turned = read_picture(save(tmp_path / "a.jpg", upright, exif=exif, quality=95))
    assert turned.shape == (30, 40, 3)
    plain = read_picture(save(tmp_path / "b.jpg", upright, quality=95))
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))


def test_animations_are_refused(tmp_path):
    frames = [Image.new("RGB", (9, 9), (shade, 0, 0)) for shade in (10, 90, 200)]
    moving = save(tmp_path / "a.png", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"a.png: expected a still BMP, PNG or JPEG image, found an animation"):
        read_picture(moving)
    renamed = io.BytesIO()
    frames[0].save(renamed, "GIF", save_all=True, append_images=frames[1:])
    (tmp_path / "b.png").write_bytes(renamed.getvalue())
    with pytest.raises(InputError, match="found another format than BMP, PNG or JPEG"):
        read_picture(tmp_path / "b.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_picture_cut_short_is_refused(tmp_path, suffix):
    whole = cv2.imencode(f".{suffix}", GRADIENT)[1].tobytes()
    for share in (0.2, 0.6, 0.95):
        (tmp_path / f"a.{suffix}").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=rf"expected a still BMP, PNG or JPEG image, found a {suffix[0].upper()}"):
            read_picture(tmp_path / f"a.{suffix}")


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path):
    data = bytearray(cv2.imencode(".bmp", GRADIENT)[1].tobytes())
    data[18:26] = (60_000).to_bytes(4, "little") * 2
    data[30] = 1  # packed: its size says nothing of the pixels it unfolds to
    (tmp_path / "a.bmp").write_bytes(data)
    assert MAX_PIXELS < 60_000**2
    with pytest.raises(InputError, match="found 60000x60000 pixels"):
        read_picture(tmp_path / "a.bmp")


def test_a_zero_byte_file_is_refused(tmp_path, capsys):
    put(tmp_path / "f", "01F_AN_C.BMP")
    (tmp_path / "f" / "01F_HA_C.BMP").write_bytes(b"")
    refused(capsys, ["index", str(tmp_path / "f"), "--out", str(tmp_path / "index.csv")], "found 0 bytes")
    assert not (tmp_path / "index.csv").exists()


# --- who and what


def corpus(folder, subjects, emotions):
    put(folder, *(f"{s}_{e}_{m}.png" for s in subjects for e in emotions for m in "CO"))
    return folder


def test_one_emotion_has_nothing_to_tell_apart(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus(tmp_path / "f", ("01F", "02F", "03M", "04M"), ("HA",))
    assert main(["index", "f"]) == 0
    refused(
        capsys, ["pairs", "--size", "16"], "expected same and different pairs to train on, found images of one emotion"
    )
    assert not (tmp_path / "run/pairs").exists() or not list((tmp_path / "run/pairs").iterdir())


def test_one_subject_fills_no_splits(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus(tmp_path / "f", ("01F",), ("HA", "SA", "AN"))
    assert main(["index", "f"]) == 0
    refused(capsys, ["pairs", "--size", "16"], "1 subjects do not fill splits of [0.8, 0.1, 0.1]")
    assert main(["pairs", "--size", "16", "--fractions", "1", "0", "0"]) == 0  # asked for: all to train


def test_copies_of_one_subject_and_emotion_are_kept_and_said(tmp_path, capsys):
    put(tmp_path / "f", "01F_AN_C.BMP", "01F_HA_C.BMP")
    (tmp_path / "f" / "01F_AN_O.BMP").write_bytes((tmp_path / "f" / "01F_AN_C.BMP").read_bytes())
    assert len(index_folder(tmp_path / "f")) == 3
    assert "1 images are copies of others of the same subject and emotion" in capsys.readouterr().err


@pytest.mark.parametrize("copy", ["02F_AN_C.BMP", "01F_HA_C.BMP"])
def test_one_picture_for_two_subjects_or_emotions_is_refused(tmp_path, copy):
    put(tmp_path / "f", "01F_AN_C.BMP")
    (tmp_path / "f" / copy).write_bytes((tmp_path / "f" / "01F_AN_C.BMP").read_bytes())
    with pytest.raises(
        InputError, match=rf"{copy}: expected a picture of its own, found .*\(subject 01F, AN\) once more"
    ):
        index_folder(tmp_path / "f")


def test_two_subjects_with_one_id_show_by_their_file_names(tmp_path):
    put(tmp_path / "f" / "site1", "01F_AN_C.BMP")
    put(tmp_path / "f" / "site2", "02F_AN_C.BMP")
    (tmp_path / "f" / "site2" / "02F_AN_C.BMP").rename(tmp_path / "f" / "site2" / "01F_AN_C.BMP")
    with pytest.raises(InputError, match="expected each image once, found '01F_AN_C' also at"):
        index_folder(tmp_path / "f")


def test_one_number_for_a_woman_and_a_man_is_said(tmp_path, capsys):
    put(tmp_path / "f", "01F_AN_C.BMP", "01M_HA_C.BMP")
    assert index_folder(tmp_path / "f").subjects == ["01F", "01M"]
    assert "subjects 01F and 01M share a number; they are taken for two people" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["S01", "s1", "s 01", "S_1"])
def test_one_subject_spelt_two_ways_is_refused(tmp_path, other):
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(name))
    (tmp_path / "t.csv").write_text(f"path,subject,emotion\na.png,s01,happy\nb.png,{other},sad\n")
    with pytest.raises(InputError, match=rf"line 3: expected one spelling of each subject, found 's01' and '{other}'"):
        index_table(tmp_path / "t.csv")
