from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import cv2
import pytest

import siamplex
from siamplex.cli import main
from siamplex.corpus.fitting import LABEL, NO_LABEL, OTHER_FRAME, STRAY_LABEL
from siamplex.corpus.layout import BUILT_IN, built_in, find
from siamplex.corpus_folder import HIDDEN, OTHER_NAME, SYSTEM
from siamplex.corpus_index import index_folder, list_corpus, read_index
from siamplex.errors import InputError
from tests.corpus.face_sets import make
from tests.test_corpus_index import picture


def put(folder, *names):
    """Pictures, each of its own in all folders."""
    folder.mkdir(exist_ok=True, parents=True)
    for name in names:
        assert cv2.imwrite(str(folder / name), picture(str(folder / name)))


LAYOUTS = Path(siamplex.__file__).parent / "corpus" / "layouts"


def number_of(subject: str) -> int:
    """The drawn actor behind a subject of any layout."""
    digits = re.sub(r"\D", "", subject)
    return int(digits) if digits else ord(subject[1]) - 64


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_layout_is_told_from_the_files_and_read(name, faces, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = make(name, faces, tmp_path / "set")
    assert len(said) > 20
    assert main(["index", "set", "--out", "index.csv"]) == 0
    out = capsys.readouterr().out
    index = read_index(tmp_path / "index.csv")
    found = {e.path.relative_to(tmp_path / "set").as_posix(): (number_of(e.subject), e.emotion) for e in index.entries}
    assert found == said
    assert f"layout {name} (" in out and f"{len(said)} of {len(said)} images fit" in out
    by_name = index_folder(tmp_path / "set", find(name))
    assert [e.sha256 for e in by_name.entries] == [e.sha256 for e in index.entries]
    assert [e.subject for e in list_corpus(tmp_path / "set").entries] == [e.subject for e in index.entries]


def test_every_layout_reads_its_own_example_and_no_other_name_does():
    assert {layout.name for layout in built_in()} == {p.stem for p in LAYOUTS.glob("*.toml")}
    for layout in built_in():
        example = Path(layout.example)
        readers = [one.name for one in built_in() if one.groups(example, Path()) is not None]
        assert layout.name in readers
        assert [r for r in readers if not r.startswith("emotion")] == ([] if layout.by_path else [layout.name])


# names that a set's own pictures have but for one thing, and how they are told: by their reason, or not at all
ODD = {
    "nimstim": ["01f_an_c.png"],
    "kdef": ["af01ans.jpg", "AF01ANHL.JPG", "AF01ANFR.JPG", "AFANS.JPG", "AF_01ANS.JPG"],
    "rafd": [
        "RAFD090_01_CAUCASIAN_FEMALE_ANGRY_FRONTAL.JPG", "Rafd045_01_Caucasian_female_angry_frontal.jpg",
        "Rafd090_01_Caucasian_female_angry_left.jpg", "Rafd090_Caucasian_female_angry_frontal.jpg",
        "Rafd090_01_Caucasian_female__angry_frontal.jpg",
    ],
    "jaffe": ["kb.an1.39.TIFF", None, None, "AN1.39.tiff", "KA.AN1_.39.tiff"],
    "ckplus": [None, "S001_099_00000001.png", None, "_001_00000011.png", "S005__001_00000011.png"],
    "faces": ["001_O_M_A_B.JPG", None, None, "o_m_a_a.jpg", "004__o_m_a_a.jpg"],
    "taiwanese": ["0111A01.JPG", "0112b01.jpg", "0113b01.jpg", "11b01.jpg", "0111_b01.jpg"],
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in ODD if n not in ("nimstim", "ckplus")])
def test_odd_names_are_read_set_aside_or_counted_by_name(name, tmp_path):
    """Another case fits; another view or gaze is set aside; no person, or an underscore more, does not fit."""
    case, *aside, nobody, underscore = ODD[name]
    folder = tmp_path / "set"
    good = {
        "kdef": [f"AM{i:02d}{e}S.JPG" for i in range(2, 12) for e in ("HA", "SA", "NE")],
        "rafd": [f"Rafd090_{i}_Kid_male_{e}_frontal.jpg" for i in range(12, 22) for e in ("happy", "sad", "neutral")],
        "jaffe": [f"{c}A.{e}1.{i}.tiff" for i, c in enumerate("LMNOPQRSTU") for e in ("HA", "SA", "NE")],
        "faces": [f"{i:03d}_y_f_{e}_a.jpg" for i in range(2, 12) for e in "hsn"],
        "taiwanese": [f"{i:02d}11{e}{i:02d}.jpg" for i in range(2, 12) for e in "bca"],
    }[name]  # fmt: skip
    put(folder, *good, case, nobody, underscore, *(a for a in aside if a))
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0 thumbs")
    (folder / f"._{good[0]}").write_bytes(b"\0\5\x16\7 of a Mac")
    index = index_folder(folder)
    assert case in {e.path.name for e in index.entries} or name == "taiwanese"  # its a is neutral
    assert index.skipped["neutral"] == 10 + (name == "taiwanese")
    left = {reason: sorted(p.name for p in paths) for reason, paths in index.left_out.items()}
    assert left[OTHER_NAME] == sorted([nobody, underscore])
    assert left[SYSTEM] == ["Thumbs.db"] and left[HIDDEN] == [f"._{good[0]}"]
    others = {p for reason, paths in left.items() if "other than" in reason for p in paths}
    assert others == {a for a in aside if a}
    assert len(index.entries) + sum(index.skipped.values()) + sum(map(len, left.values())) == len(
        list(folder.iterdir())
    )


def test_other_views_are_counted_by_what_they_are(tmp_path, capsys):
    put(tmp_path / "f", *(f"AF{i:02d}{e}{v}.JPG" for i in (1, 2) for e in ("AN", "HA") for v in ("S", "HL", "FR")))
    assert main(["index", str(tmp_path / "f"), "--out", str(tmp_path / "index.csv")]) == 0
    out = capsys.readouterr().out
    assert "left out, view other than S: 8 (AF01ANFR.JPG, AF01ANHL.JPG, AF01HAFR.JPG, ...)" in out
    assert "layout kdef (KDEF): 12 of 12 images fit" in out


def test_more_than_a_tenth_that_does_not_fit_is_refused(tmp_path, capsys):
    good = [f"AF{i:02d}{e}S.JPG" for i in range(1, 10) for e in ("AN", "HA")]
    put(tmp_path / "f", *good, "AFANS.JPG", "AF_01ANS.JPG")
    assert index_folder(tmp_path / "f").left_out[OTHER_NAME]  # 2 of 20
    put(tmp_path / "f", "group.jpg")
    expected = r"names of the layout kdef, such as AF01ANS.JPG, for nine images in ten, found 3 of 21 that do not fit"
    with pytest.raises(InputError, match=expected + r" \(AFANS.JPG, AF_01ANS.JPG, group.jpg\)"):
        index_folder(tmp_path / "f")
    assert main(["index", str(tmp_path / "f"), "--out", str(tmp_path / "index.csv")]) == 2
    assert not (tmp_path / "index.csv").exists()
    with pytest.raises(InputError, match="found 21 of 21 that do not fit"):
        index_folder(tmp_path / "f", find("rafd"))


class TestCkPlus:
    def frames(self, folder, person, sequence, count, label=None):
        here = folder / "cohn-kanade-images" / person / sequence
        put(here, *(f"{person}_{sequence}_{n:08d}.png" for n in range(1, count + 1)))
        if label is not None:
            to = folder / "Emotion" / person / sequence
            to.mkdir(parents=True)
            (to / f"{person}_{sequence}_{count:08d}_emotion.txt").write_text(label)

    def test_peak_frames_are_taken_and_all_others_counted(self, tmp_path):
        folder = tmp_path / "ck"
        self.frames(folder, "S005", "001", 11, "   3.0000000e+00\n")
        self.frames(folder, "S010", "002", 4, "7")
        self.frames(folder, "S010", "003", 5)  # of no emotion
        self.frames(folder, "s011", "001", 3, " 2.0000000e+00 ")  # contempt, other case
        (folder / "Emotion" / "S099_001_00000009_emotion.txt").write_text("1")
        (folder / "Emotion" / "._S099_001_00000009_emotion.txt").write_text("1")
        (folder / "Emotion" / "ReadMe.txt").write_text("as in the paper")
        index = index_folder(folder)
        assert [(e.image, e.subject, e.emotion) for e in index.entries] == [
            ("S005_001_00000011", "S005", "DI"), ("S010_002_00000004", "S010", "SP"),
        ]  # fmt: skip
        assert index.skipped == {"contempt": 1, "neutral": 3}
        assert {reason: len(paths) for reason, paths in index.left_out.items()} == {
            OTHER_FRAME: 9 + 2 + 1, NO_LABEL: 5, LABEL: 3, STRAY_LABEL: 1, HIDDEN: 1, "not an image": 1,
        }  # fmt: skip
        first = index_folder(folder, emotions=("NE", "DI"))
        assert [e.image for e in first.entries if e.emotion == "NE"] == [
            "S005_001_00000001", "S010_002_00000001", "s011_001_00000001"
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            ("9", "expected the number of an emotion, found '9'"),
            ("happy", "expected a label file with the number of an emotion, found 'happy'"),
            ("3.5", "expected a label file with the number of an emotion"),
            ("", "expected a label file"),
        ],
    )
    def test_labels_that_say_nothing_are_refused(self, tmp_path, label, message):
        self.frames(tmp_path / "ck", "S005", "001", 3, label)
        with pytest.raises(InputError, match=r"S005_001_00000003_emotion.txt: " + message):
            index_folder(tmp_path / "ck")

    def test_pictures_without_any_label_are_refused(self, tmp_path):
        self.frames(tmp_path / "ck", "S005", "001", 3)
        with pytest.raises(InputError, match=r"expected label files \*_emotion.txt of CK\+'s peak frames, found none"):
            index_folder(tmp_path / "ck")

    def test_the_same_names_in_folders_of_emotions_need_none(self, tmp_path):
        for i, word in enumerate(("anger", "contempt", "fear", "happy")):
            put(tmp_path / "ck48" / word, *(f"S0{i}{k}_004_0000001{n}.png" for k in range(2) for n in (7, 8)))
        index = index_folder(tmp_path / "ck48")
        assert Counter(e.emotion for e in index.entries) == {"AN": 4, "FE": 4, "HA": 4}
        assert index.skipped == {"contempt": 4} and index.subjects[:2] == ["S000", "S001"]


class TestFolders:
    def test_the_person_is_a_folder_or_the_head_of_the_name(self, tmp_path):
        for word in ("happy", "Ärger", "tristesse"):
            put(tmp_path / "a" / "pics" / word / "Anna B", "1.png", "2.png")
            put(tmp_path / "a" / "pics" / word / "Ben", "1.png")
            put(tmp_path / "b" / word, "anna_1.png", "anna-2.png", "ben 1.png", "ben.png")
        a, b = index_folder(tmp_path / "a"), index_folder(tmp_path / "b")
        assert a.layout.startswith("layout emotion-person") and a.subjects == ["Anna B", "Ben"] and len(a) == 9
        assert b.layout.startswith("layout emotion ") and b.subjects == ["anna", "ben"] and len(b) == 12
        assert set(a.emotions) == set(b.emotions) == {"HA", "AN", "SA"}

    def test_folders_that_are_no_emotion_do_not_fit(self, tmp_path):
        for word in ("happy", "sad"):
            put(tmp_path / "f" / word, *(f"p{i}_1.png" for i in range(10)))
        put(tmp_path / "f" / "misc", "p1_1.png")
        assert [p.name for p in index_folder(tmp_path / "f").left_out[OTHER_NAME]] == ["p1_1.png"]

    def test_one_person_spelt_in_two_ways_is_refused(self, tmp_path):
        put(tmp_path / "f" / "happy", "anna_1.png", "ben_1.png")
        put(tmp_path / "f" / "sad", "Anna_1.png", "ben_1.png")
        with pytest.raises(InputError, match="expected one spelling of each subject, found 'anna' and 'Anna'"):
            index_folder(tmp_path / "f")

    def test_a_person_for_every_image_is_said(self, tmp_path, capsys):
        put(tmp_path / "f" / "happy", "001.png", "002.png")
        put(tmp_path / "f" / "sad", "003.png", "004.png")
        index_folder(tmp_path / "f")
        assert "each of 4 images is of another subject" in capsys.readouterr().err

    def test_nimstims_names_count_before_folders_and_are_refused_where_misspelt(self, tmp_path):
        put(tmp_path / "f" / "happy", *(f"{i:02d}F_HA_C.BMP" for i in range(1, 12)), "12F_HA_C copy.BMP")
        with pytest.raises(InputError, match=r"expected a NimStim name .*'12F_HA_C copy.BMP'"):
            index_folder(tmp_path / "f")


OWN = """
title = "Ours"
example = "p01-joy-1.png"
pattern = '(?P<number>p\\d+)-(?P<emotion>[a-z]+)-(?P<take>\\d)'
subject = "{number}"
[emotions]
joy = "happiness"
scorn = "contempt"
rage = "anger"
[keep]
take = ["1"]
"""


class TestOwnLayout:
    def test_a_file_tells_another_layout(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        put(tmp_path / "f", "p01-joy-1.png", "P02-Rage-1.png", "p01-scorn-1.png", "p01-joy-2.png")
        (tmp_path / "ours.toml").write_text(OWN)
        command = ["index", "f", "--layout", "ours.toml", "--out", "index.csv", "--stamp", "s.json"]
        assert main(command) == 0
        found = [(e.subject, e.emotion) for e in read_index(tmp_path / "index.csv").entries]
        assert sorted(found) == [("P01", "HA"), ("P02", "AN")]
        assert "1 contempt skipped" in capsys.readouterr().out
        assert main(command) == 0 and "unchanged" in capsys.readouterr().err
        (tmp_path / "ours.toml").write_text(OWN.replace('take = ["1"]', 'take = ["1", "2"]'))
        assert main(command) == 0
        assert len(read_index(tmp_path / "index.csv")) == 3

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("title", "tittle"), "expected of a layout emotions, example, .*, found 'tittle'"),
            (('subject = "{number}"', 'subject = "{person}"'), r"expected a group \(\?P<person>...\) in the pattern"),
            (('subject = "{number}"', 'subject = "x"'), "expected a subject such as {person}"),
            (('subject = "{number}"', 'subject = "{number.__class__}"'), "expected a subject such as {person}"),
            (("(?P<emotion>[a-z]+)", "([a-z]+)"), r"expected a group \(\?P<emotion>...\)"),
            (("(?P<take>", "(?P<take"), "expected a regular expression 'pattern'"),
            (('joy = "happiness"', 'joy = "bliss"'), "expected an emotion for joy, .*found 'bliss'"),
            (('joy = "happiness"', "joy = 3"), "expected an emotion for joy"),
            (('take = ["1"]', 'take = "1"'), r"expected a table \[keep\] of lists"),
            (('take = ["1"]', 'view = ["1"]'), r"expected a group \(\?P<view>...\)"),
            (("[keep]", "[keep"), "expected TOML"),
            (("title = \"Ours\"", "title = 3"), "expected a text 'title', found another value"),
            (("[keep]\ntake", "[labels]\ntake"), "expected of labels ending, first, frame, sequence, found 'take'"),
            (("title", 'match = "file"\ntitle'), "expected match = 'name' or 'path', found 'file'"),
        ],
    )  # fmt: skip
    def test_what_is_no_layout_is_named_in_one_line(self, tmp_path, capsys, change, message):
        put(tmp_path / "f", "p01-joy-1.png")
        text = OWN.replace(*change)
        assert text != OWN
        (tmp_path / "ours.toml").write_text(text)
        out = tmp_path / "index.csv"
        assert main(["index", str(tmp_path / "f"), "--layout", str(tmp_path / "ours.toml"), "--out", str(out)]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and re.search(r"ours.toml: " + message, said[0]) and not out.exists()

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("nimstem", r"nimstem: expected a layout \(nimstim, kdef, .*\) or a file FILE.toml, found neither"),
            ("none.toml", "none.toml: expected a readable layout, found No such file"),
            ("pic.toml", "pic.toml: expected a layout in UTF-8"),
        ],
    )
    def test_no_such_layout(self, tmp_path, monkeypatch, name, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "pic.toml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match=message):
            find(name)

    def test_a_table_has_no_layout(self, tmp_path, capsys):
        put(tmp_path, "a.png")
        (tmp_path / "t.csv").write_text("path,subject,emotion\na.png,x,happy\n")
        for option in (["--layout", "kdef"], ["--explain"]):
            assert main(["index", str(tmp_path / "t.csv"), *option, "--out", str(tmp_path / "i.csv")]) == 2
            assert "expected a folder of images, found a table" in capsys.readouterr().err


class TestExplain:
    def test_ten_files_are_explained_and_nothing_is_written(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        put(tmp_path / "f", *(f"A{s}{i:02d}{e}S.JPG" for s in "FM" for i in range(1, 9) for e in ("AN", "SU")))
        put(tmp_path / "f", "AF01ANHL.JPG", "AFANS.JPG")
        assert main(["index", "f", "--explain"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "layout kdef (KDEF): 33 of 34 images fit"
        assert len(lines) == 12
        assert "AF01ANHL.JPG: session A, sex F, person 01, emotion AN, view HL -> left out: view other than S" in lines
        assert "AF01ANS.JPG: session A, sex F, person 01, emotion AN, view S -> subject F01, anger" in lines
        assert lines[-1] == "AFANS.JPG: does not fit"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["f"]

    def test_what_would_be_refused_is_explained_too(self, tmp_path, capsys):
        put(tmp_path / "f", "AF01ANS.JPG", "x.png", "y.png")
        assert main(["index", str(tmp_path / "f"), "--explain"]) == 0
        out = capsys.readouterr().out
        assert "1 of 3 images fit" in out and "x.png: does not fit" in out
        assert main(["index", str(tmp_path / "f"), "--explain", "--layout", "rafd"]) == 0
        assert "layout rafd (RaFD): 0 of 3 images fit" in capsys.readouterr().out

    def test_labels_are_shown(self, tmp_path, capsys):
        TestCkPlus().frames(tmp_path / "ck", "S005", "001", 2, " 3.0e+00")
        assert main(["index", str(tmp_path / "ck"), "--explain"]) == 0
        out = capsys.readouterr().out
        assert (
            "S005_001_00000002.png: person S005, sequence 001, frame 00000002, label 3 -> subject S005, disgust" in out
        )
