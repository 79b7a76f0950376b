"""The section "Did it learn?": curves, losses against label-blind ones, active units, shape of the centroids."""

from __future__ import annotations

from dataclasses import dataclass, field

from siamplex.engine.training.stage_learning import active_units, against_blind
from siamplex.report.content import Content
from siamplex.report.table import Table, ratio, sentence


@dataclass
class Curve:
    """The words below the loss curve."""

    legend: str
    last: str


@dataclass
class LearningSection:
    """A row a stage at its result, and a row a test."""

    name = "losses"
    heading = "Did it learn?"
    curve: Curve | None = None
    ended: list[str] = field(default_factory=list)
    results: Table | None = None
    course: Table | None = None

    @classmethod
    def of(cls, content: Content) -> LearningSection | None:
        """None where the run has neither losses nor tests."""
        made = cls(curve=_curve(content))
        rows, course = [], []
        for label, learnt in content.learning:
            if learnt.ended():
                made.ended.append(sentence(f"{label}: {learnt.ended()}"))
            row = learnt.at_the_result
            if row is None:
                continue
            best = learnt.lowest
            rows.append(
                [label, str(row.iteration), against_blind(row.training.loss, row.training.label_blind),
                 "-" if row.validation is None else against_blind(row.validation, row.validation_blind),
                 f"{best[1]:.3g} at {best[0]}" if best else "-", active_units(row) or "-", ratio(row.ratio)]
            )  # fmt: skip
            course += [
                [label, str(r.iteration), f"{r.training.loss:.4g}", f"{r.training.label_blind:.4g}",
                 "-" if r.validation is None else f"{r.validation:.4g}",
                 "-" if r.validation_blind is None else f"{r.validation_blind:.4g}", active_units(r) or "-",
                 ratio(r.ratio)]
                for r in learnt.rows
            ]  # fmt: skip
        if rows:
            made.results = Table(
                ["stage", "iteration", "training loss", "validation loss", "lowest validation", "active units",
                 "ratio"], rows, 6)  # fmt: skip
            made.course = Table(
                ["stage", "iteration", "training", "label-blind", "validation", "label-blind", "active units",
                 "ratio"], course, 7)  # fmt: skip
        return made if made.curve or made.ended or made.results else None


def _curve(content: Content) -> Curve | None:
    if not content.losses:
        return None
    last = "; ".join(f"{stage}: {rows[-1][1]:.4g} at iteration {rows[-1][0]}" for stage, rows in content.losses if rows)
    return Curve(", in orange ".join(stage for stage, _ in content.losses), last)
