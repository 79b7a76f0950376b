"""Tables of faces in other words, and paths of other machines."""

from __future__ import annotations

import cv2
import pytest

from siamplex.cli import main
from siamplex.corpus.index import index_table, read_index
from siamplex.engine.training.loss_log import read_losses
from siamplex.errors import InputError
from siamplex.pairs.split import read_split
from siamplex.similarity.matrices import read_judgements
from tests.corpus.test_index import picture

FACES = [("a.BMP", "Anna", "AN"), ("b.BMP", "Ben", "HA"), ("c.BMP", "Ben", "SP")]


@pytest.fixture
def faces(tmp_path):
    """A folder ``study`` with ``faces/a.BMP`` and so on; tables go beside them."""
    (tmp_path / "study" / "faces").mkdir(parents=True)
    for name, *_ in FACES:
        cv2.imwrite(str(tmp_path / "study" / "faces" / name), picture(name))
    return tmp_path / "study"


def table(folder, prefix="faces/", header="path,subject,emotion", mark=","):
    rows = [mark.join([prefix + name, who, emotion]) for name, who, emotion in FACES]
    path = folder / "t.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def found(index):
    return [(e.path.name, e.subject, e.emotion) for e in index.entries]


@pytest.mark.parametrize(
    "header",
    [
        "Path,SUBJECT,Emotion", "filename,person_id,Expression", "Image,Actor,Label", "file,id,emotion",
        "Datei;Person;Gefühl", "Fichier;Modèle;Émotion", "Archivo;Sujeto;Emoción", "File;Soggetto;Emozione",
        "Bestand;Persoon;Emotie", "Ficheiro;Sujeito;Emoção", "Bild\tVersuchsperson\tAusdruck",
        "image name\tparticipant\tfacial expression",
    ],
)  # fmt: skip
def test_headings_in_other_words(faces, header):
    mark = next(m for m in ",;\t" if m in header)
    assert found(index_table(table(faces, header=header, mark=mark))) == FACES


def test_a_column_that_is_missing_or_there_twice_is_refused(faces):
    with pytest.raises(InputError, match=r"t.csv: .*, found no column path in 'x, subject, emotion'"):
        index_table(table(faces, header="x,subject,emotion"))
    (faces / "t.csv").write_text("file,actor,id,emotion\nfaces/a.BMP,Anna,1,AN\n")
    with pytest.raises(InputError, match="found 'actor' and 'id', both a column subject"):
        index_table(faces / "t.csv")


@pytest.mark.parametrize(
    ("word", "code"),
    [("Wut", "AN"), ("dégoût", "DI"), ("MIEDO", "FE"), ("felicità", "HA"), ("verdrietig", "SA"), ("Surpresa", "SP")],
)
def test_emotions_in_other_words(faces, word, code):
    (faces / "t.csv").write_text(f"path,subject,emotion\nfaces/a.BMP,Anna,{word}\n", encoding="cp1252")
    assert index_table(faces / "t.csv").entries[0].emotion == code


def test_contempt_is_counted(faces):
    (faces / "t.csv").write_text("path,subject,emotion\nfaces/a.BMP,Anna,AN\nfaces/b.BMP,Ben,Contempt\n")
    assert index_table(faces / "t.csv").skipped == {"contempt": 1}


@pytest.mark.parametrize(
    "prefix",
    ["faces\\", ".\\faces\\", "..\\study\\faces\\", "C:\\Users\\anna\\study\\faces\\", "D:/faces/",
     "\\\\server\\share\\x\\faces\\", "/Users/nobody-of-here/study/faces/"],
)  # fmt: skip
def test_paths_of_other_machines(faces, prefix):
    assert found(index_table(table(faces, prefix))) == FACES


def test_paths_that_lead_nowhere_or_to_two_places_are_refused_by_line(faces):
    with pytest.raises(InputError, match=r"t.csv line 2: expected a path from the CSV on.*'C:\\elsewhere\\a.BMP'"):
        index_table(table(faces, "C:\\elsewhere\\"))
    with pytest.raises(InputError, match=r"t.csv line 2: .*a.BMP: expected a readable image, found No such file"):
        index_table(table(faces, "/nowhere/at/all/"))
    for name, *_ in FACES:
        (faces / name).write_bytes((faces / "faces" / name).read_bytes())
    with pytest.raises(InputError, match=r"t.csv line 2: expected one file here, found .* which could be"):
        index_table(table(faces, "C:\\study\\faces\\"))


def test_one_missing_absolute_path_is_not_looked_for_elsewhere(faces):
    path = table(faces, f"{faces}/faces/")
    path.write_text(path.read_text().replace(f"{faces}/faces/b.BMP", "/gone/faces/b.BMP"))
    with pytest.raises(InputError, match=r"t.csv line 3: /gone/faces/b.BMP: expected a readable image"):
        index_table(path)


def test_faults_are_named_by_their_line(faces):
    """Of the file: blank lines and a cell of two lines in front count."""
    text = 'path,subject,emotion,note\n\n"faces/a.BMP",Anna,AN,"two\nlines"\n,,,\nfaces/b.BMP,Ben,bored,\n'
    (faces / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"t.csv line 6: expected an emotion .*found 'bored'"):
        index_table(faces / "t.csv")
    (faces / "faces" / "b.BMP").write_bytes(b"BM")
    (faces / "t.csv").write_text(text.replace("bored", "joy"))
    with pytest.raises(InputError, match=r"t.csv line 6: .*b.BMP: expected a still image, found a BMP that breaks off"):
        index_table(faces / "t.csv")


def test_what_excel_makes_of_our_own_tables_is_read(faces, monkeypatch, capsys):
    """Saved again in a German Excel: ';', decimal commas, 01 become 1, UTF-16 or Windows-1252."""
    monkeypatch.chdir(faces)
    text = table(faces).read_text().replace("Anna", "01").replace("Ben", "02")
    (faces / "t.csv").write_text(text)
    assert main(["index", "t.csv", "--out", "index.csv"]) == 0
    index = read_index(faces / "index.csv")
    saved = (faces / "index.csv").read_text().replace(",", ";") + ";;;;;\n"
    (faces / "again.csv").write_bytes(saved.replace("\n", "\r\n").encode("cp1252"))
    assert read_index(faces / "again.csv").entries == index.entries
    (faces / "split.csv").write_bytes("Subject\tSplit\r\n1\ttrain\r\n2\tVal\r\n".encode("utf-16"))
    assert read_split(faces / "split.csv", index) == {"01": "train", "02": "val"}
    (faces / "losses.csv").write_text("iteration;loss;lr\n0;0,2534;1E-04\n1;0,25\n")
    assert read_losses(faces / "losses.csv") == [(0, 0.2534, 1e-4), (1, 0.25, None)]


@pytest.mark.parametrize("text", [
    ";AN;HA;SP\n;;;\nAN;0;0,19;1\nHA;0,19;0;0,5\nSP;1;0,5;0\n;;;;;\n",
    "sep=\t\n\tanger\thappiness\tsurprise\t\t\nAN\t0\t0.19\t1\nHA\t0.19\t0\t0.5\nSP\t1\t0.5\t0\n",
    'x,AN,HA,SP\nAN,0,"0,19",1\nHA,"0,19",0,"0,5"\nSP,1,"0,5",0\n',
])  # fmt: skip
def test_matrices_of_people(tmp_path, text):
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "m.csv").write_bytes(text.encode(encoding))
        read = read_judgements(tmp_path / "m.csv")
        assert read.names == ("AN", "HA", "SP")
        assert read.values.tolist() == [[0, 0.19, 1], [0.19, 0, 0.5], [1, 0.5, 0]]


def test_faults_of_matrices_are_named_by_their_line(tmp_path):
    (tmp_path / "m.csv").write_text("x,AN,HA,SP\n\nAN,0,1,1\nHA,1,0,much\nSP,1,1,0\n")
    with pytest.raises(InputError, match=r"m.csv line 4: expected numbers, found 'much' is no number"):
        read_judgements(tmp_path / "m.csv")


def test_other_tables_come_as_tsv_and_txt(faces, monkeypatch, capsys):
    monkeypatch.chdir(faces)
    table(faces, header="file\tperson\temotion", mark="\t").rename(faces / "t.tsv")
    assert main(["index", "t.tsv", "--out", "index.csv"]) == 0
    assert "3 images of 2 subjects" in capsys.readouterr().out
