"""The page as a file: whole in itself, escaped, faces only where they may be."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.embedding import read_embedding, write_embedding
from siamplex.record import read_record


class Outline(HTMLParser):
    """Tags, their addresses, and whether they are closed in order."""

    VOID = frozenset("meta link input br img".split())

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "action", "srcset", "data") and v]
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    assert not found.open
    return found


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1))


def make(run: Path, *options: str) -> str:
    assert main(["report", str(run), *options]) == 0
    return (run / "report/report.html").read_text()


def test_one_file_with_everything(own_run, capsys):
    page = make(own_run)
    found = outline(page)
    assert all(a.startswith(("data:", "#")) for a in found.addresses)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert len(found.ids) == len(set(found.ids))
    assert {f"{s}-h" for s in ("embedding", "losses", "figures", "geometry", "audit", "provenance")} <= set(found.ids)
    data = data_of(page)
    assert [s["title"] for s in data["snapshots"]] == [
        "stage 1, 0 iterations", "stage 1, 3 iterations", "stage 1, 6 iterations", "stage 2, fine-tuned",
    ]  # fmt: skip
    assert len(data["faces"]) == 48 and data["sprite"]["uri"].startswith("data:image/jpeg;base64,")
    known = read_embedding(own_run / "features/stage2.npz")
    np.testing.assert_allclose(data["snapshots"][-1]["points"], known.points, rtol=1e-4)
    assert [len(stage["rows"]) for stage in data["losses"]] == [7, 7]
    assert "drawn by a program" in page and "not from AlexNet" in page
    assert page.count("<figure") == 4 and "paper inconsistent" in page
    assert read_record(own_run)[-1]["command"] == "report"
    assert "4 snapshots" in capsys.readouterr().out


def photographs(run: Path) -> None:
    """Let the index say that nothing was drawn."""
    path = run / "pairs/index.csv"
    rows = list(csv.DictReader(path.open()))
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "synthetic": "0"} for row in rows)


def test_photographs_are_embedded_only_on_request(own_run):
    photographs(own_run)
    page = make(own_run)
    assert "image/jpeg" not in page and data_of(page)["sprite"] is None
    assert "Faces are not embedded" in page and "drawn by a program" not in page
    page = make(own_run, "--embed-faces")
    assert data_of(page)["sprite"] and "mind their licence" in page


def test_names_from_the_run_are_text_not_markup(own_run):
    """Subjects, image names, notes and recorded words reach the page escaped."""
    evil = "</script><img src=x onerror=alert(1)>{{data}}"
    for name in ("stage1_iter_0", "stage1_iter_3", "stage1_iter_6", "stage2"):
        found = read_embedding(own_run / f"features/{name}.npz")
        found.images[0] = evil
        found.facts["notes"] = [evil]
        found.facts["weights"] = evil
        write_embedding(found, own_run / f"features/{name}")
    path = own_run / "pairs/index.csv"
    rows = list(csv.DictReader(path.open()))
    rows[0]["image"] = evil
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    record = own_run / "run.json"
    content = json.loads(record.read_text())
    content["steps"][0]["outcome"] = evil
    record.write_text(json.dumps(content))
    page = make(own_run)
    assert "<img src=x" not in page
    assert outline(page).tags.count("img") == 4
    assert data_of(page)["faces"][0]["image"] == evil


def test_says_what_is_not_there(own_run):
    for path in (own_run / "figures").iterdir():
        path.unlink()
    (own_run / "stage2/snap_losses.csv").unlink()
    page = make(own_run)
    assert "This run has no figures (make figures), no losses of stage 2." in page
    assert 'id="figures"' not in page


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda e: e.points.__setitem__((0, 0), np.nan), "finite embeddings"),
        (lambda e: e.images.__setitem__(0, "another"), "the images of this run"),
    ],
)
def test_embeddings_that_do_not_fit(own_run, capsys, spoil, said):
    found = read_embedding(own_run / "features/stage2.npz")
    spoil(found)
    write_embedding(found, own_run / "features/stage2")
    assert main(["report", "run"]) == 2
    assert said in capsys.readouterr().err
    assert not (own_run / "report").exists()


def test_no_embedding_no_page(own_run, capsys):
    for path in (own_run / "features").iterdir():
        path.unlink()
    assert main(["report", "run"]) == 2
    assert "siamplex extract" in capsys.readouterr().err


def test_similarity_as_written_is_shown_with_its_layers(own_run):
    command = ["similarity", "run/features/stage2.npz", "--weights", "run/stage2/snap_iter_6.caffemodel", "--deploy"]
    command += ["run/prototxt/deploy.prototxt", "--layers", "pool2", "--out", "run/similarity/stage2.json"]
    assert main(command) == 0
    assert '<th scope="row">pool2</th>' in make(own_run)


@pytest.mark.parametrize("how", ["a photograph called drawn", "other bytes than indexed"])
def test_a_crafted_index_does_not_bring_photographs_onto_the_page(own_run, tmp_path, how):
    """An index.csv from somebody else says 'drawn' and points at this reader's own pictures."""
    path = own_run / "pairs/index.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert all(row["synthetic"] == "1" for row in rows)
    source = (path.parent / rows[0]["path"]).resolve()
    private = tmp_path / "private" / "me.png"
    private.parent.mkdir()
    private.write_bytes(source.read_bytes())
    if how == "other bytes than indexed":
        (private.parent / "synthetic.json").write_text("{}")
        for marker in source.parent.iterdir():
            if marker.suffix != source.suffix:
                (private.parent / marker.name).write_bytes(marker.read_bytes())
        rows[0]["sha256"] = "0" * 64
    rows[0]["path"] = str(private)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    assert "image/jpeg" not in make(own_run)
    assert "image/jpeg" in make(own_run, "--embed-faces")


def test_judged_pictures_have_a_section(own_run, tmp_path):
    """Figures, tables and the names of files, escaped; gone again where the judgements are of emotions alone."""
    known = read_embedding(own_run / "features/stage2.npz")
    table = tmp_path / "people.csv"
    stream = np.random.default_rng(0)
    rows = [f"{image},{stream.choice(['happy', 'sad', known.emotions[i]])},r{k}"
            for i, image in enumerate(known.images) for k in range(6)]  # fmt: skip
    table.write_text("\n".join(["image,response,rater,<b>x</b>", *rows, "<i>none</i>.png,sad,r0"]) + "\n")
    base = ["similarity", "run/features/stage2.npz", "--out", "run/similarity/stage2.json"]
    assert main([*base, "--human", str(table)]) == 0
    page = make(own_run)
    found = outline(page)
    assert "judgements-h" in found.ids and page.count("<figure") == 4 + 1 + 3
    assert "answers of 6 raters" in page and "distances of" in page and "Spearman-Brown" in page
    assert "&lt;i&gt;none" in page and "<i>none" not in page and "<b>x" not in page
    assert main(base) == 0
    assert "judgements-h" not in make(own_run)
