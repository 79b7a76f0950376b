"""The section "Similarity structure": layers against people, action units and the circle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from siamplex.emotions import NAMES, named
from siamplex.geometry import PAPER_ORDER
from siamplex.geometry_report import NOTHING_TO_COMPARE, on_line
from siamplex.report.content import Content
from siamplex.report.geometry_section import names
from siamplex.report.table import Picture, Table, sentence
from siamplex.similarity.actors import order_counts
from siamplex.similarity.report import OVERLAPPING, in_resamples, p_value, relabellings_of

_HEAD = ["layer", "against", "Spearman", "95 %", "p", "Kendall", "95 %", "p"]


@dataclass
class Part:
    """One split's agreements, and sentences about its structure."""

    title: str
    table: Table
    lines: list[str]


@dataclass
class StructureSection:
    """Training and held-out subjects, and the picture of all dissimilarities."""

    name = "structure"
    heading = "Similarity structure"
    parts: list[Part]
    picture: Picture | None
    emotions: str
    relabellings: str

    @classmethod
    def of(cls, content: Content) -> StructureSection | None:
        """None where similarity was not measured."""
        if not content.structure:
            return None
        parts = [
            Part("Training subjects" if name == "train" else "Held-out subjects", _agreements(part), _lines(part))
            for name, part in content.structure["parts"].items()
        ]
        picture = Picture.read(content.matrices, "Dissimilarities by layer", True) if content.matrices else None
        emotions = content.structure.get("emotions", PAPER_ORDER)
        return cls(parts, picture, named(emotions), relabellings_of(content.structure))


def _agreements(part: dict[str, Any]) -> Table:
    rows = [
        [a["layer"], a["reference"], f"{a['spearman']:+.2f}", _interval(a["spearman_interval"]),
         p_value(a["spearman_p"]), f"{a['kendall']:+.2f}", _interval(a["kendall_interval"]), p_value(a["kendall_p"])]
        for a in part["agreements"]
    ]  # fmt: skip
    return Table(_HEAD, rows, 2)


def _interval(values: Sequence[float] | None) -> str:
    return f"{values[0]:+.2f} to {values[1]:+.2f}" if values else "-"


def _lines(part: dict[str, Any]) -> list[str]:
    lines = []
    found = part["circle"]
    if found and found.get("line"):
        lines.append(f"{on_line(found['order'])}.")
    elif found and found["agrees_either"] is None:
        lines.append(f"Circular order {names(found['order'])}: {NOTHING_TO_COMPARE}.")
    elif found:
        verdict = "the paper's" if found["agrees_either"] else "not the paper's"
        lines.append(
            f"Circular order {names(found['order'])}: {verdict}; {in_resamples(found['share_either'])}chance "
            f"{found['chance_either']}."
        )
    for couple in OVERLAPPING:
        one = next((o for o in part["overlaps"] if set(o["emotions"]) == set(couple)), None)
        if one:
            spread = one["overlap_interval"]
            between = f" (95 % {spread[0]:.2f} to {spread[1]:.2f})" if spread else ""
            lines.append(
                f"{NAMES[couple[0]]} and {NAMES[couple[1]]} overlap by {one['overlap']:.2f}{between}, "
                f"d' {one['separation']:.2f}: number {one['rank']} of {len(part['overlaps'])} couples."
            )
    for reference, fit in part["map_fits"].items():
        p = "" if fit["p"] is None else f" (p {fit['p']:.4f})"
        lines.append(f"Procrustes distance to a map of {reference}: {fit['disparity']:.3f}{p}.")
    actors = part["actors"]
    if actors["actors"]:
        lines.append(
            f"{actors['actors']} actors, each against all others: Spearman {actors['median']:+.2f} "
            f"(quartiles {actors['lower_quartile']:+.2f} to {actors['upper_quartile']:+.2f}); "
            f"{order_counts(actors)}."
        )
    return [sentence(line) for line in lines]
