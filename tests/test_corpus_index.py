from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest

from siamplex.corpus_index import index_folder, index_table, read_index, write_index
from siamplex.errors import InputError


def picture(name):
    """A picture of its own for each name."""
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def put(folder, *names):
    folder.mkdir(exist_ok=True, parents=True)
    for name in names:
        assert cv2.imwrite(str(folder / name), picture(name))


def test_reads_nimstims_names_in_any_case_and_skips_neutral(tmp_path):
    put(tmp_path / "f", "01F_AN_C.BMP", "02m_ha_x.png", "1F_SP_O.jpg", "01F_NE_C.BMP", "01F_CA_O.BMP", "02M_CA_C.bmp")
    index = index_folder(tmp_path / "f")
    assert [(e.image, e.subject, e.emotion) for e in index.entries] == [
        ("01F_AN_C", "01F", "AN"),
        ("02m_ha_x", "02M", "HA"),
        ("1F_SP_O", "01F", "SP"),
    ]
    assert index.skipped == {"neutral": 1, "calm": 2}
    assert not index.synthetic
    assert index.counts()["HA"] == 1 and index.subjects == ["01F", "02M"]


def test_subfolders_are_read_and_hidden_files_are_not(tmp_path):
    put(tmp_path / "f" / "a", "01F_AN_C.BMP")
    put(tmp_path / "f" / "b", "02F_AN_C.BMP", "._02F_AN_C.png")
    (tmp_path / "f" / "notes.txt").write_text("x")
    assert len(index_folder(tmp_path / "f")) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["01F_AN_C.BMP", "smile.png"], r"smile.png: expected a NimStim name such as 01F_AN_C.BMP, found 'smile.png'"),
        (["01X_AN_C.BMP"], "expected a NimStim name"),
        (["01F_ZZ_C.BMP"], r"expected an emotion code .*found 'ZZ'"),
        (["01F_AN_C.BMP", "01f_an_c.png"], "expected each image once"),
        (["01F_NE_C.BMP"], "expected images of the six emotions, found none"),
        ([], "expected images of the six emotions, found none"),
    ],
)
def test_refuses(tmp_path, names, message):
    put(tmp_path / "f", *names)
    with pytest.raises(InputError, match=message):
        index_folder(tmp_path / "f")


def test_missing_folder_and_broken_image(tmp_path):
    with pytest.raises(InputError, match="expected a folder of face images, found nothing there"):
        index_folder(tmp_path / "f")
    put(tmp_path / "f", "01F_AN_C.BMP")
    (tmp_path / "f" / "01F_HA_C.BMP").write_bytes(b"BM broken")
    with pytest.raises(InputError, match=r"01F_HA_C\.BMP: expected a still image"):
        index_folder(tmp_path / "f")


def test_other_corpora_come_in_through_a_table(tmp_path):
    put(tmp_path / "pics", "a.png", "b.png", "c.png")
    table = tmp_path / "t.csv"
    table.write_text("path,subject,emotion\npics/a.png,s1,happy\npics/b.png,s2,FE\npics/c.png,s2,Neutral\n")
    index = index_table(table)
    assert [(e.image, e.subject, e.emotion) for e in index.entries] == [("a", "s1", "HA"), ("b", "s2", "FE")]
    assert index.skipped == {"neutral": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,subject\n", "expected columns path, subject, emotion, found no column emotion"),
        ("path,subject,emotion\npics/a.png,s1,bored\n", r"t.csv line 2: expected an emotion .*found 'bored'"),
        ("path,subject,emotion\npics/a.png,,HA\n", "line 2: expected a path and a subject"),
        ("path,subject,emotion\npics/none.png,s1,HA\n", "none.png: expected a readable image"),
        ("path,subject,emotion\npics/a.png,s1\n", "line 2: expected"),
        ("", "expected columns"),
    ],
)
def test_tables_refused(tmp_path, text, message):
    put(tmp_path / "pics", "a.png")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        index_table(tmp_path / "t.csv")


def test_an_index_goes_round_and_moves_with_its_faces(tmp_path, index):
    assert index.synthetic
    put(tmp_path / "here" / "f", "01F_AN_C.BMP", "01F_HA_C.BMP")
    write_index(index_folder(tmp_path / "here" / "f"), tmp_path / "here" / "run" / "index.csv")
    (tmp_path / "here").rename(tmp_path / "there")
    back = read_index(tmp_path / "there" / "run" / "index.csv")
    assert [e.image for e in back.entries] == ["01F_AN_C", "01F_HA_C"]
    assert all(e.path.exists() for e in back.entries)


def test_indexing_drawn_faces_marks_them(faces, index):
    assert len(index) == 48 and all(e.synthetic for e in index.entries)
