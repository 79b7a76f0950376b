"""Which image a picture named in a table is: by path, by folders, by file name where unique."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from siamplex.corpus.index import CorpusIndex, Entry, write_index
from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding
from siamplex.similarity.matching import in_words, index_of, match
from siamplex.similarity.picture_table import read_picture_table
from siamplex.similarity.responses import responses_of

FILES = ["one/x.png", "two/x.png", "one/01F_AN_C.BMP", "KA.AN1.39.tiff", "two/Ärger.jpg"]
NAMES = ["one/x", "two/x", "01F_AN_C", "KA.AN1.39", "Ärger"]


@pytest.fixture
def index(tmp_path):
    """An index in run/pairs of files in faces/."""
    folder = tmp_path / "run/pairs"
    folder.mkdir(parents=True)
    entries = [
        Entry(name, tmp_path / "faces" / file, f"s{i}", "AN", False, "0")
        for i, (name, file) in enumerate(zip(NAMES, FILES, strict=True))
    ]
    write_index(CorpusIndex(tuple(entries), {}), folder / "index.csv")
    points = np.zeros((len(NAMES), 2), np.float32)
    embedding = Embedding(points, NAMES, ["s"] * 5, ["AN"] * 5, ["train"] * 5, {})
    found = index_of(embedding, tmp_path / "run/features/e.npz")
    assert found is not None
    return found


def places(pictures, tmp_path, index):
    return match(pictures, tmp_path / "people.csv", NAMES, index).places


@pytest.mark.parametrize(
    ("picture", "place"),
    [
        ("../../faces/one/x.png", 0),  # as the index has it
        ("faces/two/x.png", 1),  # from beside the table
        ("two/x.png", 1),
        ("two\\X.PNG", 1),
        ("one/x", 0),  # the image's own name
        ("01f_an_c.bmp", 2),
        ("stimuli/01F_AN_C.bmp", 2),  # the file name is one image's alone
        ("01F_AN_C", 2),
        ("01F_AN_C.png", 2),  # saved in another format
        ("KA.AN1.39.tiff", 3),
        ("KA.AN1.39", 3),
        ("A\u0308rger.jpg", 4),  # as a Mac writes it
        ("x.png", None),  # two have that name
        ("02F_AN_C.bmp", None),
        ("KA.AN1", None),
    ],
)
def test_by_path_or_by_a_unique_name(tmp_path, index, picture, place):
    assert places([picture, "KA.AN1.39.tiff"], tmp_path, index)[0] == place


def test_an_absolute_path(tmp_path, index):
    assert places([str(tmp_path / "faces/two/x.png")], tmp_path, index) == [1]


def test_names_alone_without_an_index(tmp_path):
    assert places(["one/x.png", "01F_AN_C.BMP", "x.png", "two/x"], tmp_path, None) == [0, 2, None, 1]


def test_two_pictures_of_one_file_name_are_not_taken_for_one(tmp_path, index):
    """The table has two folders of pictures, the embedding one of them."""
    found = match(["a/01F_AN_C.BMP", "b/01F_AN_C.BMP", "KA.AN1.39"], tmp_path / "t.csv", NAMES, index)
    assert found.places == [None, None, 3]
    assert all("another picture of the table" in why for _, why in found.unmatched)
    known = match(["one/01F_AN_C.BMP", "b/01F_AN_C.BMP"], tmp_path / "t.csv", NAMES, index)
    assert known.places == [2, None]


def test_unmatched_are_counted_and_named_and_none_is_an_error(tmp_path, index):
    found = match(["01F_AN_C", *(f"n{i}" for i in range(9)), "x"], tmp_path / "t.csv", NAMES, index)
    words = in_words(found.unmatched, len(found.unmatched), 11)
    assert words.startswith("10 of 11 pictures") and "n0 (no such image)" in words and "and 5 more" in words
    assert ("x", "2 images have that name") in found.unmatched
    with pytest.raises(
        InputError, match=r"t\.csv: expected pictures of the embedding, such as 'one/x', found none of 2"
    ):
        match(["p", "q"], tmp_path / "t.csv", NAMES, index)


def test_an_index_of_other_images_is_not_used(tmp_path, index):
    other = Embedding(np.zeros((1, 2), np.float32), ["z"], ["s"], ["AN"], ["train"], {})
    assert index_of(other, tmp_path / "run/features/e.npz") is None
    assert index_of(other, Path("elsewhere.npz"), tmp_path / "run/pairs") is None


def test_one_image_by_two_names(tmp_path, index):
    path = tmp_path / "t.csv"
    path.write_text("image,HA,SA\n01F_AN_C,1,2\none/x,1,2\none/01F_AN_C.BMP,3,4\n")
    table = read_picture_table(path)
    with pytest.raises(InputError, match=r"line 4: expected each picture once, found 'one/01F_AN_C\.BMP'"):
        responses_of(table, match(table.pictures, path, NAMES, index), len(NAMES))
    path.write_text("image,response\n01F_AN_C,HA\none/01F_AN_C.BMP,SA\nnone,SA\n")
    table = read_picture_table(path)
    found = responses_of(table, match(table.pictures, path, NAMES, index), len(NAMES))
    assert found.totals()[2].tolist() == [1, 1] and found.judged().tolist() == [False, False, True, False, False]


def test_ratings_as_jaffe_has_them(tmp_path):
    """KM-NE1 is KM.NE1.1.tiff; what two images begin with is neither's."""
    images = ["KM.NE1.1.tiff", "KM.NE2.2.tiff", "KM.SA1.9.tiff", "KM.SA1.10.tiff", "KA.NE1.26.tiff"]
    found = match(["KM-NE1", "km_ne2", "KA-NE1", "KM-SA1", "KM"], tmp_path / "t.csv", images)
    assert found.places == [0, 1, 4, None, None]
    assert dict(found.unmatched)["KM-SA1"] == "2 images have that name"
