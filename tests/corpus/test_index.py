from __future__ import annotations

import csv
import os
import zlib

import cv2
import numpy as np
import pytest

from siamplex.cli import main
from siamplex.corpus.folder import OWN, SEEN
from siamplex.corpus.index import index_folder, index_table, read_index, write_index
from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding, read_embedding, write_embedding


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
        (["smile.png"], r"smile.png: expected a NimStim name such as 01F_AN_C.BMP, found 'smile.png'"),
        (["01F_AN_C.BMP", "01F_HA_C copy.png"], r"expected a NimStim name .*, found '01F_HA_C copy.png'"),
        (["01F_AN_C.BMP", "02F_AN.png"], "expected a NimStim name"),
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


SIX = [f"{i:02d}F_{e}_C" for i, e in enumerate(("AN", "DI", "FE", "HA", "SA", "SP"), 1)]


def test_every_file_is_used_or_counted_with_its_reason(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "f"
    put(folder, *(f"{name}.BMP" for name in SIX[:3]), f"{SIX[3]}.tif", f"{SIX[4]}.webp", "01F_NE_C.BMP")
    (folder / f"{SIX[5]}.jfif").write_bytes(cv2.imencode(".jpg", picture("x"))[1].tobytes())
    put(tmp_path / "elsewhere", "07F_AN_C.BMP", "08F_AN_C.BMP")
    put(folder / "sub", "09F_AN_C.BMP", "group.png", "._09F_AN_C.png")
    put(folder / ".cache" / "deep", "01M_AN_C.BMP")
    put(folder / "__MACOSX", "._x.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "gone.bmp").symlink_to("nowhere.bmp")
    for name in ("Thumbs.db", "01F_AN_C.txt", "notes", "10F_AN_C.psd"):
        (folder / name).write_bytes(b"8BPS of a kind" if name.endswith("psd") else b"some text")
    os.mkfifo(folder / "10F_AN_C.png")
    assert main(["index", "f", "--out", "index.csv"]) == 0
    out = capsys.readouterr().out
    index = read_index(tmp_path / "index.csv")
    assert [e.image for e in index.entries] == [*SIX, "07F_AN_C", "08F_AN_C", "09F_AN_C"]
    assert "9 images of 9 subjects" in out and "; 1 neutral skipped" in out
    for line in (
        "hidden file: 2 (.cache/deep/01M_AN_C.BMP, sub/._09F_AN_C.png)",
        "file of the system (Thumbs.db, desktop.ini): 2 (Thumbs.db, __MACOSX/._x.png)",
        "not an image: 2 (01F_AN_C.txt, notes)",
        "image of a format that is not read: 1 (10F_AN_C.psd)",
        "image whose name does not fit the naming: 1 (sub/group.png)",
        "link to nothing: 2 (gone.bmp, self)",
        "neither file nor folder: 1 (10F_AN_C.png)",
    ):
        assert f"left out, {line}" in out
    assert sorted(p.name for p in index_folder(folder).left_out[SEEN]) == ["linked", "up"]  # the second link, and round


def test_a_change_in_a_linked_folder_is_seen(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "elsewhere", "07F_AN_C.BMP")
    put(tmp_path / "f", "01F_AN_C.BMP")
    (tmp_path / "f" / "linked").symlink_to(tmp_path / "elsewhere")
    command = ["index", "f", "--out", "index.csv", "--stamp", "stamp.json"]
    assert main(command) == 0 and main(command) == 0
    assert "unchanged, nothing to do" in capsys.readouterr().err
    put(tmp_path / "elsewhere", "08F_AN_C.BMP")
    assert main(command) == 0 and len(read_index(tmp_path / "index.csv")) == 3


def test_the_drawn_faces_own_files_are_counted(index):
    assert {reason: len(paths) for reason, paths in index.left_out.items()} == {OWN: 2}


def test_one_name_in_several_subfolders_goes_by_its_path(tmp_path, capsys):
    """One id is one person there: should they be two, neither stands in two splits."""
    put(tmp_path / "f" / "s1", "01F_AN_C.BMP", "01F_HA_C.BMP")
    (tmp_path / "f" / "s2").mkdir()
    cv2.imwrite(str(tmp_path / "f" / "s2" / "01f_an_c.BMP"), picture("other"))
    index = index_folder(tmp_path / "f")
    assert [e.image for e in index.entries] == ["01F_HA_C", "s1/01F_AN_C", "s2/01f_an_c"]
    assert index.subjects == ["01F"]
    assert "01F have files of one name in several folders; each id is taken for one person" in capsys.readouterr().err
    names = [e.image for e in index.entries]
    write_index(index, tmp_path / "run" / "index.csv")
    assert [e.image for e in read_index(tmp_path / "run" / "index.csv").entries] == names
    points = Embedding(np.zeros((3, 2), np.float32), names, ["01F"] * 3, ["HA", "AN", "AN"], ["train"] * 3, {})
    write_embedding(points, tmp_path / "fc6")
    assert read_embedding(tmp_path / "fc6.npz").images == names
    with (tmp_path / "fc6.csv").open(newline="") as handle:
        assert [row["image"] for row in csv.DictReader(handle)] == names


def test_one_name_in_a_table_goes_by_its_path(tmp_path):
    for name in ("anna/happy.png", "ben/happy.png", "ben/happy.jpg", "ben/sad.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), picture(name))
    rows = "anna/happy.png,anna,happy\nben/happy.png,ben,happy\nben/happy.jpg,ben,happy\nben/sad.png,ben,sad\n"
    (tmp_path / "t.csv").write_text("path,subject,emotion\n" + rows)
    names = [e.image for e in index_table(tmp_path / "t.csv").entries]
    assert names == ["anna/happy", "ben/happy.jpg", "ben/happy.png", "sad"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text(
        "path,subject,emotion\n" + rows.replace("anna/", "../anna/").replace("ben/", "../ben/")
    )
    assert [e.image for e in index_table(tmp_path / "in" / "t.csv").entries] == names
    (tmp_path / "t.csv").write_text("path,subject,emotion\n" + rows + "\n./ben/sad.png,ben,sad\n")
    with pytest.raises(InputError, match=r"line 7: expected each image once, found '\./ben/sad.png' as in .*line 5"):
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
