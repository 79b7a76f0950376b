"""Corpora that are not what one expects: each has a defined outcome."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from siamplex.cli import main
from siamplex.corpus.images import read_picture
from siamplex.corpus.index import index_folder, index_table
from siamplex.errors import InputError
from siamplex.schema.picture_files import MAX_PIXELS
from tests.corpus.test_index import picture, put

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
    with pytest.raises(InputError, match=r"a.png: expected a still image, found an animation"):
        read_picture(moving)
    for kind, what in [
        ("GIF", "an animation"),
        ("WEBP", "an animation"),
        ("AVIF", "an animation"),
        ("TIFF", "3 pages"),
    ]:
        if not can_write(kind):
            continue
        renamed = io.BytesIO()
        frames[0].save(renamed, kind, save_all=True, append_images=frames[1:])
        (tmp_path / "b.png").write_bytes(renamed.getvalue())
        with pytest.raises(InputError, match=rf"b.png: expected a still image, found .*{what}"):
            read_picture(tmp_path / "b.png")


def can_write(kind):
    """Whether the Pillow and the OpenCV at hand both know a format that not every build has."""
    if kind not in ("AVIF", "GIF"):
        return True
    out = io.BytesIO()
    try:
        Image.new("RGB", (16, 16)).save(out, kind)
    except (KeyError, OSError):
        return False
    return cv2.imdecode(np.frombuffer(out.getvalue(), np.uint8), cv2.IMREAD_COLOR) is not None


LARGE = cv2.resize(GRADIENT, (96, 128), interpolation=cv2.INTER_LINEAR)
STORED = [
    ("tif", "TIFF", {}),
    ("tiff", "TIFF", {"compression": "tiff_lzw"}),
    ("tif", "TIFF", {"compression": "tiff_adobe_deflate"}),
    ("webp", "WEBP", {"lossless": True}),
    ("webp", "WEBP", {"quality": 95}),
    ("jfif", "JPEG", {"quality": 98}),
    ("jp2", "JPEG2000", {}),
    ("avif", "AVIF", {"quality": 95}),
    ("ppm", "PPM", {}),
    ("gif", "GIF", {}),
]


@pytest.mark.parametrize(("suffix", "kind", "options"), STORED)
@pytest.mark.parametrize("named", ["own", "png"])
def test_what_opencv_reads_is_read_by_its_content(tmp_path, suffix, kind, options, named):
    if not can_write(kind):
        pytest.skip(f"no {kind} here")
    image = Image.fromarray(LARGE[:, :, ::-1])
    if kind == "GIF":
        image = image.quantize(256)
    read = read_picture(save(tmp_path / f"a.{suffix if named == 'own' else named}", image, format=kind, **options))
    assert read.shape == LARGE.shape
    assert np.abs(read.astype(int) - LARGE).mean() < 6


def test_sun_rasters_bitmaps_and_big_endian_tiffs_are_read(tmp_path):
    for suffix in (".ras", ".pam", ".dib"):
        cv2.imwrite(str(tmp_path / f"a{suffix}"), LARGE)
        np.testing.assert_array_equal(read_picture(tmp_path / f"a{suffix}"), LARGE)
    (tmp_path / "b.pbm").write_bytes(b"P1\n# two by two\n2 2\n1 0\n0 1\n")
    assert read_picture(tmp_path / "b.pbm")[:, :, 0].tolist() == [[0, 255], [255, 0]]
    entries = [(256, 3, 1, 4 << 16), (257, 3, 1, 2 << 16), (258, 3, 1, 8 << 16), (259, 3, 1, 1 << 16),
               (262, 3, 1, 1 << 16), (273, 4, 1, 8), (277, 3, 1, 1 << 16), (278, 3, 1, 2 << 16),
               (279, 4, 1, 8)]  # fmt: skip
    data = b"MM\0*" + struct.pack(">I", 16) + bytes(range(0, 160, 20)) + struct.pack(">H", len(entries))
    (tmp_path / "c.tif").write_bytes(data + b"".join(struct.pack(">HHII", *e) for e in entries) + bytes(4))
    assert read_picture(tmp_path / "c.tif")[:, :, 0].tolist() == [[0, 20, 40, 60], [80, 100, 120, 140]]


@pytest.mark.parametrize(("kind", "suffix"), [("TIFF", "tif"), ("WEBP", "webp"), ("PPM", "ppm"), ("JPEG2000", "jp2")])
def test_other_formats_cut_short_are_refused(tmp_path, kind, suffix):
    whole = save(tmp_path / f"a.{suffix}", Image.fromarray(LARGE), format=kind).read_bytes()
    for share in (0.2, 0.6, 0.95):
        (tmp_path / f"a.{suffix}").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=r"expected a still image, found an? .*(breaks off|damaged)"):
            read_picture(tmp_path / f"a.{suffix}")


def test_pixels_that_would_come_out_wrong_are_refused(tmp_path):
    """What OpenCV reads, but darker, turned, or cut at white, is named rather than used."""
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "float.tif")
    cv2.imwrite(str(tmp_path / "a.hdr"), np.dstack([ramp] * 3))
    cv2.imwrite(str(tmp_path / "a.pfm"), ramp)
    (tmp_path / "a.pgm").write_bytes(b"P5\n8 8\n1023\n" + bytes(128))
    clear = Image.fromarray(LARGE).convert("RGBA")
    clear.putalpha(128)
    clear.save(tmp_path / "clear.tif")
    for name, what in [
        ("float.tif", "up to 16 unsigned bits"), ("a.hdr", "floating point"), ("a.pfm", "floating point"),
        ("a.pgm", "values up to 1023"), ("clear.tif", "transparent parts"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=rf"{name}: expected a still image, found .*{what}"):
            read_picture(tmp_path / name)
    clear.putalpha(255)
    clear.save(tmp_path / "whole.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "whole.tif"), LARGE[:, :, ::-1])
    cmyk = Image.new("RGB", (9, 9), (250, 10, 10)).convert("CMYK")
    cmyk.save(tmp_path / "cmyk.tif")
    assert read_picture(tmp_path / "cmyk.tif")[0, 0].tolist() == [10, 10, 250]


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_picture_cut_short_is_refused(tmp_path, suffix):
    whole = cv2.imencode(f".{suffix}", GRADIENT)[1].tobytes()
    for share in (0.2, 0.6, 0.95):
        (tmp_path / f"a.{suffix}").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=rf"expected a still image, found a {suffix[0].upper()}"):
            read_picture(tmp_path / f"a.{suffix}")


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path):
    data = bytearray(cv2.imencode(".bmp", GRADIENT)[1].tobytes())
    data[18:26] = (60_000).to_bytes(4, "little") * 2
    data[30] = 1  # packed: its size says nothing of the pixels it unfolds to
    (tmp_path / "a.bmp").write_bytes(data)
    assert MAX_PIXELS < 60_000**2
    with pytest.raises(InputError, match="found 60000x60000 pixels"):
        read_picture(tmp_path / "a.bmp")


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "GIF", "JPEG2000", "PPM"])
def test_other_formats_that_claim_to_be_huge_are_refused(tmp_path, kind):
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, kind, **({"lossless": True} if kind == "WEBP" else {}))
    data = out.getvalue()
    if kind == "TIFF":  # width and height of the first directory
        data = bytearray(data)
        at = struct.unpack_from("<I", data, 4)[0] + 2
        for entry in range(at, at + 12 * struct.unpack_from("<H", data, at - 2)[0], 12):
            if struct.unpack_from("<H", data, entry)[0] in (256, 257):
                struct.pack_into("<HII", data, entry + 2, 4, 1, 60_000)
    elif kind == "WEBP":
        data = data.replace(data[21:25], struct.pack("<I", 16383 | 16383 << 14), 1)
    elif kind == "GIF":
        data = data[:6] + struct.pack("<HH", 60_000, 60_000) + data[10:]
    elif kind == "JPEG2000":
        data = data.replace(struct.pack(">II", 16, 16), struct.pack(">II", 60_000, 60_000))
    else:
        data = b"P5 60000 60000 255\n" + data
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"found (60000x60000|16384x16384) pixels|found a (PNM|JPEG 2000) "):
        read_picture(tmp_path / "a.png")


def test_an_avif_whose_stream_is_larger_than_it_says_is_refused(tmp_path):
    """The decoder goes by the stream: a kilobyte could take gigabytes and be scaled down to what the boxes say."""
    if not can_write("AVIF"):
        pytest.skip("no AVIF here")
    stated = b"ispe" + bytes(4) + struct.pack(">II", 9000, 8000)
    out = io.BytesIO()
    Image.new("RGB", (9000, 8000)).save(out, "AVIF", speed=10)
    assert out.getvalue().count(stated) == 1
    (tmp_path / "a.png").write_bytes(out.getvalue().replace(stated, stated[:8] + struct.pack(">II", 16, 16)))
    with pytest.raises(InputError, match="found 9000x8000 pixels"):
        read_picture(tmp_path / "a.png")


def test_avif_of_opencv_and_with_transparency_are_read(tmp_path):
    if not can_write("AVIF"):
        pytest.skip("no AVIF here")
    cv2.imwrite(str(tmp_path / "a.avif"), LARGE)
    clear = Image.fromarray(LARGE[:, :, ::-1]).convert("RGBA")
    clear.putalpha(128)
    clear.save(tmp_path / "b.avif", quality=95)
    for name in "ab":
        assert np.abs(read_picture(tmp_path / f"{name}.avif").astype(int) - LARGE).mean() < 3


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
