"""The section "Judgements of pictures": what people answered to each picture, against its place in the embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from siamplex.report.content import Content
from siamplex.report.table import Picture, Table, sentence
from siamplex.similarity.picture_distances import FEWEST
from siamplex.similarity.picture_report import misplaced_line, misplaced_rows, table_lines

_MOST = 50  # misplaced pictures shown
_CAPTIONS = {
    "distances": "Pictures against pictures: in the embedding, and by people's responses",
    "confusions": "Confusions: people's, and those predicted from neighbours",
    "answers": "Each picture by people's most frequent answer",
}


@dataclass
class JudgedPart:
    """One split: measures, then the pictures that people and the net both take for another emotion."""

    title: str
    measures: Table | None
    lines: list[str]
    misplaced: Table | None
    more: int


@dataclass
class JudgementsSection:
    """Training and held-out subjects, and the figures."""

    name = "judgements"
    heading = "Judgements of pictures"
    about: list[str]
    parts: list[JudgedPart]
    pictures: list[Picture]

    @classmethod
    def of(cls, content: Content) -> JudgementsSection | None:
        """None where no pictures were judged."""
        structure = content.structure or {}
        about = structure.get("human", {}).get("pictures")
        if not about:
            return None
        parts = [
            _part("Training subjects" if name == "train" else "Held-out subjects", part.get("pictures") or {})
            for name, part in structure["parts"].items()
        ]
        shown = [(path, path.stem.rsplit("_", 1)[-1]) for path in content.judged]
        pictures = [Picture.read(path, _CAPTIONS[kind], True) for path, kind in shown]
        return cls([f"{sentence(line)}." for line in table_lines(about)], parts, pictures)


def _part(title: str, found: dict[str, Any]) -> JudgedPart:
    if not found:
        return JudgedPart(title, None, [f"Fewer than {FEWEST} pictures of these were judged."], None, 0)
    m = found["misplaced"]
    rows = misplaced_rows(m, _MOST)
    head = ["picture", "subject", "posed", "people's answer", "of people", "of neighbours"]
    return JudgedPart(
        title,
        Table(["measure", "found", "95 %", "shuffled", "p"], _measures(found), 1),
        [f"{sentence(line)}." for line in (*_ceiling(found["distances"]), misplaced_line(m))],
        Table(head, rows, 4) if rows else None,
        len(m["pictures"]) - len(rows),
    )


def _measures(found: dict[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    d, c = found["distances"], found["confusions"]
    if d:
        some = f" drawn of {d['drawn_of']}" if d["drawn_of"] else ""
        rows.append(
            [f"distances of {d['images']} pictures{some}: Spearman", f"{d['spearman']:+.2f}", _interval(d["interval"]),
             f"{d['mean_within']:+.2f}", f"{d['p_within']:.4f}"]
        )  # fmt: skip
        if d["emotions"]:
            e = d["emotions"]
            rows.append(["mean distances of emotions: Spearman", f"{e['spearman']:+.2f}", "-", "-", f"{e['p']:.4f}"])
    if c:
        e, p = c["by_emotion"], c["by_picture"]
        if e and e["spearman"] is not None:
            rows.append(
                [f"confusions of emotions, {c['k']} neighbours: Spearman", f"{e['spearman']:+.2f}", "-", "-",
                 f"{e['p']:.4f}"]
            )  # fmt: skip
        rows.append(
            ["answers in common with neighbours, by picture", f"{p['overlap']:.0%}", "-", f"{p['overlap_within']:.0%}",
             f"{p['overlap_p']:.4f}"]
        )  # fmt: skip
        rows.append(
            ["share of other emotions, by picture: Spearman", f"{p['doubt']:+.2f}", "-", f"{p['doubt_within']:+.2f}",
             f"{p['doubt_p']:.4f}"]
        )  # fmt: skip
    return rows


def _ceiling(d: dict[str, Any] | None) -> list[str]:
    c = d["ceiling"] if d else None
    if not c:
        return []
    return [
        f"halves of the {c['raters']} raters agree by {c['halves']:+.2f} (Spearman, mean of {c['splits']} splits), all "
        f"of them by {c['reliability']:.2f} (Spearman-Brown), and ties in their answers allow {c['untied']:.2f}: "
        f"distances without noise could reach about {c['highest']:.2f}"
    ]


def _interval(values: Sequence[float] | None) -> str:
    return f"{values[0]:+.2f} to {values[1]:+.2f}" if values else "-"
