from __future__ import annotations

import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from siamplex.audit.audit import audit
from siamplex.cli import main
from siamplex.corpus.contact import contact_sheet, spread
from siamplex.corpus.crop import Crop
from siamplex.corpus.duplicates import MOST, near_duplicates, reduced
from siamplex.corpus_index import Entry, index_folder, read_index
from siamplex.errors import InputError
from siamplex.images import fit, read_picture
from siamplex.pairs.build import PairOptions, build_pairs, load_images, open_store
from siamplex.pairs.images import stored_images

BOX = "0.2,0.25,0.8,0.9"


class TestCrop:
    def test_the_box_is_in_shares_of_width_and_height(self):
        picture = np.arange(40 * 30 * 3).reshape(40, 30, 3).astype(np.uint8)
        part = Crop.parse("0.1,0.25,0.9,1").cut(picture)
        np.testing.assert_array_equal(part, picture[10:40, 3:27])
        np.testing.assert_array_equal(Crop.parse("0,0,1,1").cut(picture), picture)

    @pytest.mark.parametrize("text", ["0.1,0.2,0.9,0.95", "0,0,1,1", "0.123456789,0,0.5,1"])
    def test_it_is_told_as_it_was_given(self, text):
        assert str(Crop.parse(text)) == text

    @pytest.mark.parametrize(
        "text",
        ["", "0.1", "0.1,0.1,0.1,0.1", "0.9,0,0.1,1", "0,0,1,1.2", "-0.1,0,1,1", "a,b,c,d", "0,0,nan,1", "0,0,1,1,1"],
    )
    def test_what_is_no_box_is_refused(self, text, faces, tmp_path, capsys):
        with pytest.raises(ValueError, match="expected left,top,right,bottom, edges of the part kept"):
            Crop.parse(text)
        with pytest.raises(SystemExit) as end:
            main(["index", str(faces), f"--crop={text}", "--out", str(tmp_path / "i.csv")])
        assert end.value.code == 2 and "expected left,top,right,bottom" in capsys.readouterr().err

    def test_a_box_too_small_for_a_picture_names_it(self, faces, tmp_path, capsys):
        small = tmp_path / "f"
        shutil.copytree(faces, small)
        cv2.imwrite(str(small / "09F_AN_C.png"), np.random.default_rng(0).integers(0, 256, (20, 30, 3)))
        assert main(["index", str(small), "--crop", BOX, "--out", str(tmp_path / "i.csv")]) == 0
        assert main(["index", str(small), "--crop", "0.4,0.4,0.6,0.6", "--out", str(tmp_path / "j.csv")]) == 2
        said = capsys.readouterr().err
        assert (
            "09F_AN_C.png: expected 8 pixels each way at least within the crop 0.4,0.4,0.6,0.6, found 6x4 of 30x20"
            in said
        )
        assert not (tmp_path / "j.csv").exists()

    @pytest.mark.parametrize("layout", ["indexed", "stacked"])
    def test_it_is_kept_in_the_index_and_applied_to_the_pairs(self, layout, faces, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main(["index", str(faces), "--crop", BOX]) == 0
        index = read_index(tmp_path / "run/index.csv")
        assert {str(e.crop) for e in index.entries} == {BOX}
        assert main(["pairs", "--size", "20", "--fractions", "0.6", "0.2", "0.2", "--layout", layout]) == 0
        store = open_store(tmp_path / "run/pairs")
        assert {str(e.crop) for e in store.index.entries} == {BOX}
        images = stored_images(store, tmp_path / "run/pairs")
        for entry, image in list(zip(store.index.entries, images, strict=True))[::7]:
            picture = read_picture(entry.path)
            height, width = picture.shape[:2]
            part = picture[round(0.25 * height) : round(0.9 * height), round(0.2 * width) : round(0.8 * width)]
            pixels = image.transpose(1, 2, 0) * 256 + np.array([104, 117, 123])
            np.testing.assert_allclose(pixels, fit(part, 20), atol=1e-3)

    def test_an_index_of_before_has_no_crop(self, index, tmp_path):
        from siamplex.corpus_index import write_index

        write_index(index, tmp_path / "i.csv")
        assert "crop" not in (tmp_path / "i.csv").read_text().splitlines()[0]
        assert all(e.crop is None for e in read_index(tmp_path / "i.csv").entries)
        text = (tmp_path / "i.csv").read_text().splitlines()
        (tmp_path / "i.csv").write_text("\n".join([f"{text[0]},crop", f'{text[1]},"0.5,0,0.1,1"']))
        with pytest.raises(InputError, match="line 2: expected a crop in shares"):
            read_index(tmp_path / "i.csv")

    def test_it_is_audited(self, own_run):
        def crop_of():
            (found,) = [f for f in audit(own_run) if f.setting == "crop"]
            return found.verdict, found.run

        assert crop_of() == ("paper silent", "none")
        path = own_run / "pairs" / "index.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([f"{lines[0]},crop", *(f'{line},"{BOX}"' for line in lines[1:])]) + "\n")
        assert crop_of() == ("paper silent", BOX)
        # pixels that were not cropped are not those the index tells of
        (channels,) = [f for f in audit(own_run) if f.setting == "channels"]
        assert channels.verdict == "differs" and "not the corpus's files" in channels.run


class TestContact:
    def test_each_emotion_has_its_faces_as_a_net_sees_them(self, faces, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["index", str(faces), "--crop", BOX]) == 0
        assert main(["contact", "--most", "4", "--columns", "3", "--side", "48"]) == 0
        assert "run/contact.png: 160x" in capsys.readouterr().out
        sheet = read_picture(tmp_path / "run/contact.png")
        index = read_index(tmp_path / "run/index.csv")
        top = 30
        for emotion in index.emotions:
            first = spread([e for e in index.entries if e.emotion == emotion], 4)[0]
            np.testing.assert_array_equal(sheet[top + 30 : top + 78, 4:52], fit(first.picture(), 48))
            top += 30 + 2 * (52 + 14)
        assert sheet.shape[0] == top
        assert main(["contact", "--most", "0"]) == 2 and main(["contact", "--out", "x.jpg"]) == 2

    def test_faces_are_spread_over_subjects(self):
        entries = [Entry(f"{s}{i}", None, s, "HA", False, "") for s in "abcde" for i in range(4)]
        assert [e.image for e in spread(entries, 5)] == ["a0", "b0", "c0", "d0", "e0"]
        assert [e.image for e in spread(entries, 7)] == ["a0", "a1", "b0", "b1", "c0", "d0", "e0"]
        assert [e.image for e in spread(entries, 2)] == ["a0", "c0"]
        assert len(spread(entries, 99)) == 20

    def test_many_faces_make_no_large_sheet(self, index):
        many = replace(index, entries=index.entries * 400)
        assert contact_sheet(many, most=12, columns=12, side=32).size < 3 * 500 * 800

    def test_a_face_that_is_gone_is_named(self, index, tmp_path):
        gone = replace(index, entries=(replace(index.entries[0], path=tmp_path / "x.png"), *index.entries[1:]))
        with pytest.raises(InputError, match=r"x.png: expected a readable image"):
            contact_sheet(gone)


COPIES = {
    "jpeg": lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR),
    "half": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "double": lambda p: cv2.resize(p, None, fx=2, fy=2),
    "grey": lambda p: cv2.cvtColor(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
    "darker": lambda p: cv2.convertScaleAbs(p, alpha=0.85),
}


class TestNearDuplicates:
    def put(self, faces, folder, source, target, how):
        shutil.copytree(faces, folder)
        assert cv2.imwrite(str(folder / target), COPIES[how](read_picture(next(faces.glob(f"{source}*")))))

    @pytest.mark.parametrize("how", COPIES)
    def test_one_person_with_two_emotions_is_an_error(self, faces, tmp_path, capsys, how):
        path = sorted(faces.glob("*_HA_*.BMP"))[0]
        subject = path.stem.split("_")[0]
        self.put(faces, tmp_path / "f", path.stem, f"{subject}_AN_X.png", how)
        command = ["index", str(tmp_path / "f"), "--out", str(tmp_path / "i.csv")]
        assert main(command) == 2
        said = capsys.readouterr().err
        assert re.search(
            rf"expected a picture of its own for subject {subject} and \w+ \(--allow-near keeps it\)", said
        )
        assert "but for its encoding: one of the two labels is wrong" in said and "such couples" not in said
        assert not (tmp_path / "i.csv").exists()
        assert main([*command, "--allow-near"]) == 0
        assert "1 near-duplicates of one subject with two emotions: " in capsys.readouterr().err

    def test_of_two_people_or_one_emotion_they_are_said(self, faces, tmp_path, capsys):
        path = sorted(faces.glob("*_HA_*.BMP"))[0]
        subject = path.stem.split("_")[0]
        self.put(faces, tmp_path / "f", path.stem, "98F_HA_C.png", "jpeg")
        self.put(faces, tmp_path / "g", path.stem, f"{subject}_HA_X.png" if "_X" not in path.stem else "", "half")
        assert len(index_folder(tmp_path / "f")) == 49
        said = capsys.readouterr().err
        assert f"1 near-duplicates of two subjects, who are one person in it: {path.name} and 98F_HA_C.png" in said
        index_folder(tmp_path / "g")
        assert "1 near-duplicates of one subject and emotion: " in capsys.readouterr().err

    def test_a_table_names_the_line(self, faces, tmp_path):
        from siamplex.corpus_index import index_table

        path = sorted(faces.glob("*.BMP"))[0]
        cv2.imwrite(str(tmp_path / "a.jpg"), read_picture(path))
        (tmp_path / "t.csv").write_text(f"path,subject,emotion\n{path},s,happy\na.jpg,s,sad\n")
        with pytest.raises(
            InputError, match=r"t.csv line 3: .*a.jpg: expected a picture of its own for subject s and sad"
        ):
            index_table(tmp_path / "t.csv")

    def test_none_of_the_papers_drawn_faces_is_one(self, pictures):
        greys = np.array([reduced(p) for p in pictures[1]])
        near = near_duplicates(greys)
        assert near.whole and not len(near.couples)
        copies = np.array([reduced(COPIES["jpeg"](p)) for p in pictures[1][:50]])
        found = near_duplicates(np.concatenate([greys, copies])).couples
        assert {tuple(c) for c in found.tolist()} == {(i, len(greys) + i) for i in range(50)}

    def test_pictures_that_all_look_alike_do_not_take_for_ever(self):
        plain = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (1500, 64, 1))
        near = near_duplicates(plain)
        assert not near.whole and len(near.couples) == MOST
        flat = np.full((1500, 64, 64), 120, np.uint8)  # says nothing
        assert not len(near_duplicates(flat).couples)

    def test_none_and_one(self):
        for count in (0, 1):
            near = near_duplicates(np.zeros((count, 64, 64), np.uint8))
            assert near.whole and near.couples.shape == (0, 2)


def test_pairs_and_thumbnails_read_the_same_part(index, tmp_path):
    cropped = replace(index, entries=tuple(replace(e, crop=Crop.parse(BOX)) for e in index.entries))
    build_pairs(cropped, tmp_path / "p", PairOptions(size=20, fractions=(0.6, 0.2, 0.2)))
    assert (load_images(cropped, 20, "stretch") != load_images(index, 20, "stretch")).any()
    from siamplex.report.thumbnails import sprite

    assert sprite(cropped).uri != sprite(index).uri
