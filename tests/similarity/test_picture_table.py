"""Tables of judged pictures as people save them: read, told from matrices, refused by line."""

from __future__ import annotations

import re

import numpy as np
import pytest

from siamplex.errors import InputError
from siamplex.geometry.orders import PAPER_ORDER
from siamplex.similarity.human import read_human
from siamplex.similarity.matrices import Judgements
from siamplex.similarity.picture_table import PictureTable, read_picture_table
from tests.similarity.test_maps import CONFUSIONS


@pytest.fixture
def read(tmp_path):
    def reading(text: str | bytes, kind: str = "auto"):
        path = tmp_path / "people.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_human(path, kind)

    return reading


def amounts(table: PictureTable) -> np.ndarray:
    """Sums (pictures, answers)."""
    found = np.zeros((len(table.pictures), len(table.answers)))
    np.add.at(found, (table.picture, table.answer), table.amount)
    return found


def test_a_long_table_counts_answers(read):
    found = read("image,response,rater\na.png,happy,1\na.png,Freude,2\nb.png,AN,1\na.png,neutral,3\nb.png,other,2\n")
    assert (found.form, found.values, found.pictures) == ("long", "answers", ("a.png", "b.png"))
    assert found.answers == ("HA", "AN", "NE", "other") and found.raters == ("1", "2", "3")
    assert amounts(found).tolist() == [[2, 0, 1, 0], [0, 1, 0, 1]]


def test_missed_trials_are_counted_and_left_out(read):
    found = read("stimulus,answer\na,happy\na,\na,NA\nb,sad\n")
    assert len(found.amount) == 2 and found.notes == ("2 rows without an answer left out",)
    assert found.raters == ()


WIDE = "image,HA,sad,Anger\na.png,0.5,0.25,0.25\nb.png,0,1,0\n"


@pytest.mark.parametrize(
    "text",
    [
        WIDE,
        WIDE.replace(".png", "@").replace(",", ";").replace(".", ",").replace("@", ".png"),
        WIDE.replace(",", "\t").encode("utf-16"),
        b"sep=,\n" + WIDE.encode(),
        WIDE.replace("image", ""),  # as R writes the names of rows
    ],
)
def test_a_wide_table_in_every_form_that_csv_files_reads(read, text):
    found = read(text)
    assert (found.form, found.values, found.answers) == ("wide", "shares", ("HA", "SA", "AN"))
    assert amounts(found).tolist() == [[0.5, 0.25, 0.25], [0, 1, 0]]


@pytest.mark.parametrize(
    ("row", "values"),
    [("30,20,50", "shares"), ("0.31,0.2,0.5", "shares"), ("12,3,7", "counts"), ("2.5,1.2,4.8", "ratings")],
)
def test_what_a_wide_table_holds_is_seen(read, row, values):
    found = read(f"image,HA,SA,AN\na,{row}\n")
    assert found.values == values
    assert any("surprise" in note for note in found.notes)


def test_raters_of_a_wide_table(read):
    found = read("image,judge,HA,SA\na,x,5,1\na,y,3,2\nb,x,1,4\n")
    assert found.raters == ("x", "y") and amounts(found).tolist() == [[8, 3], [1, 4]]


def test_columns_that_are_not_read_are_named(read):
    assert "subject, RT" in read("subject,image,response,RT\n1,a,HA,300\n").notes[0]
    assert "emotion" in read("image,emotion,response\na,HA,SA\n").notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,response\na,happy\nb,hapy\n", "line 3: expected an emotion"),
        ("image,response\na,happy\n,sad\n", "line 3: expected a picture, found no image"),
        ("image,response,rater\na,happy,1\nb,sad,\n", "line 3: expected a picture and a rater, found no rater"),
        ("image,response\na,happy\nb,sad,3\n", "line 3: expected 2 values, found 3"),
        ("image,response,count\na,happy,3\n", "expected a row for each answer, found a column 'count'"),
        ("image,HA,SA\na,1,2\nb,1,x\n", "line 3: expected numbers for HA, SA"),
        ("image,HA,SA\na,1,2\nb,1,\n", "line 3: expected numbers for HA, SA"),
        ("image,HA,SA\na,1,2\nb,1,-2\n", "line 3: expected shares, counts or ratings, none negative"),
        ("image,HA,SA\na,1,2\nb,0,0\n", "line 3: expected shares, counts or ratings, none negative and not all zero"),
        ("image,HA,SA\na,1,2\nb,1,nan\n", "line 3: expected shares"),
        ("image,HA,SA\na,1,2\nb,1,inf\n", "line 3: expected shares"),
        ("image,HA,SA\na,1,2\nb,1,2\na,3,4\n", "line 4: expected each picture once, or a column rater"),
        ("image,rater,HA,SA\na,x,1,2\na,x,1,2\n", "line 3: expected each picture once for each rater"),
        ("image,HA,happy\na,1,2\n", "one column for each emotion, found 'HA' and 'happy'"),
        ("image,response,HA,SA\na,HA,1,2\n", "a column response or columns of emotions, found both"),
        ("file,picture,response\na,a,HA\n", "one column image, found 'file' and 'picture'"),
        ("image,response\na,NA\n", "expected judgements of pictures, found none"),
        ("image,response\n", "expected judgements of pictures, found none"),
        ("image,HA,SA\na,\"1,5\",2\nb,1.5,2\n", "both"),
    ],
)  # fmt: skip
def test_malformed_tables_are_refused_by_line(read, text, said):
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        read(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("corner", ["", "image", "stimulus", "shown"])
def test_a_matrix_stays_one_whatever_its_corner_says(read, corner):
    found = read(corner + CONFUSIONS)
    assert isinstance(found, Judgements) and set(found.names) == set(PAPER_ORDER)


@pytest.mark.parametrize("corner", ["", "image"])
@pytest.mark.parametrize("more", ["neutral", "contempt", "boredom"])
def test_a_matrix_of_other_items_stays_one(read, corner, more):
    items = ["HA", "SA", "AN", more]
    rows = [f"{name},{','.join(str(abs(i - j)) for j in range(4))}" for i, name in enumerate(items)]
    assert isinstance(read("\n".join([f"{corner},{','.join(items)}", *rows]) + "\n"), Judgements)


def test_a_row_misspelt_in_a_matrix_is_told_by_its_line(read):
    with pytest.raises(InputError, match="line 3: expected one of"):
        read(CONFUSIONS.replace("surprise,2", "surprized,2"))


def test_what_is_neither_or_may_be_both_is_asked(read):
    with pytest.raises(InputError, match="a matrix, its rows named as its columns, or a table with the columns image"):
        read("face,HA,SA,AN\na.png,1,2,3\nb.png,1,2,3\nc.png,1,2,3\n")
    some = "image,HA,SA,AN\nHA,3,2,1\nSA,1,3,1\n"  # emotions, but not those of the columns: a picture called HA?
    with pytest.raises(InputError, match="--kind pictures") as refused:
        read(some)
    assert "'HA' in the column 'image' and at the head of another" in str(refused.value)
    assert isinstance(read(some, "pictures"), PictureTable)


def test_a_matrix_is_no_table_when_one_is_asked_for(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(CONFUSIONS.replace(",happiness", "x,happiness", 1))
    with pytest.raises(InputError, match="a column image"):
        read_picture_table(path)


def test_headings_of_jaffes_ratings(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text(
        "#,HAP,SAD,SUR,ANG,DIS,FEA,PIC\n1,2.87,2.52,2.10,1.97,1.97,2.06,KM-NE1\n2,4.1,1.2,1.9,1.1,1.1,1,KM-HA1\n"
    )
    table = read_picture_table(path)
    assert table.values == "ratings" and set(table.answers) == {"HA", "SA", "SP", "AN", "DI", "FE"}
    assert table.pictures == ("KM-NE1", "KM-HA1")
