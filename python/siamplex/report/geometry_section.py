"""The section "Geometry": orders, separability of the emotions, held-out accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from siamplex.corpus.emotions import NAMES
from siamplex.geometry.orders import LINE, order_agreement, ordered
from siamplex.geometry.report import between, papers_order
from siamplex.report.content import SPLITS, Content
from siamplex.report.table import Table, ratio, sentence

_HEAD = ["stage", "subjects", "circular order (or along the line)", "order", "ratio", "images", "parted by a line",
         "nearest centroid", "linear"]  # fmt: skip


@dataclass
class GeometrySection:
    """A row a stage and split."""

    name = "geometry"
    heading = "Geometry"
    table: Table
    paper: str
    line: str

    @classmethod
    def of(cls, content: Content) -> GeometrySection | None:
        """None where there is no geometry."""
        rows = [
            _row(stage, label, geometry[part])
            for stage, geometry in content.geometry
            for part, label in SPLITS.items()
            if geometry.get(part)
        ]
        if not rows:
            return None
        members = {e for _, g in content.geometry for part in SPLITS for e in g.get(part, {}).get("centroids", ())}
        known = order_agreement(ordered(members))
        words = sentence(papers_order(members))
        if known.chance_one and known.chance_either:
            words += f"; one order in {known.chance_one.denominator} agrees by chance"
            if known.chance_either != known.chance_one:
                words += f", either in {known.chance_either.denominator}"
        return cls(Table(_HEAD, rows, 4), words, f"{LINE:g}")


def names(order: Sequence[str]) -> str:
    """An order in words."""
    return "-".join(NAMES[e] for e in order)


def _row(stage: str, label: str, found: dict[str, Any]) -> list[str]:
    order, line = found.get("order"), found.get("line")
    verdict = "a line" if line else "-"
    if order:
        agrees = order["agrees"] or order["agrees_with_swap"]
        verdict = "-" if order["agrees"] is None else "the paper's" if agrees else "another"
    apart = sum(found["linearly_separable"].values())
    shares = [_share(found, rule) for rule in ("nearest_centroid", "linear")]
    shown = names(order["found"]) if order else names(line) if line else "-"
    parted = f"{apart} of {len(found['linearly_separable'])}"
    return [stage, label, shown, verdict, ratio(found.get("singular_ratio")), str(found["images"]), parted, *shares]


def _share(found: dict[str, Any], rule: str) -> str:
    if f"{rule}_accuracy" not in found:
        return "-"
    return f"{found[f'{rule}_accuracy']:.1%}{between(found.get(f'{rule}_interval'))}"
