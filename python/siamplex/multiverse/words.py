"""The multiverse in one paragraph: what holds in all choices, what depends on a choice, what no cell showed.

The rules, each tested:

- A claim is judged over the paper's cells that have the outcome; every claim but the first (the cell learnt) only over
  cells that learnt.  With cells of fewer than :data:`FEWEST` trainings the paragraph says only that they are too few.
- It *holds whatever one chooses* if it is true in :data:`NEARLY_ALL` of the cells, and in at least half of the cells of
  every value of every setting, seed and fold.
- *No cell showed* it if it is true in none.
- Otherwise it *hangs on a choice*: on the settings, seed or fold that :func:`~siamplex.multiverse.by_value.decisive`
  finds, at most two, the one with the largest difference between its values first.  If it finds none, the paragraph
  says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from siamplex.multiverse.by_value import ByValue, by_value, decisive
from siamplex.multiverse.chance import Chance, in_words
from siamplex.multiverse.store import PAPER, UNTRAINED

FEWEST = 5
NEARLY_ALL = 0.95
_NAMED = 2  # settings

HOLDS, HANGS, NEVER, FEW = "holds", "hangs", "never", "few"


@dataclass(frozen=True)
class Claim:
    """Something that is true of a cell or not; ``words`` follow "that"."""

    name: str
    words: str

    def of(self, cells: pd.DataFrame) -> pd.Series:
        """True, false or missing, by cell."""
        return _JUDGES[self.name](cells)


CLAIMS = (
    Claim("learnt", "the net learns (its validation loss falls clearly below the label-blind loss)"),
    Claim("above_chance", "emotions of people not seen are told more often than by naming the most frequent one"),
    Claim("circle", "the emotions lie round a circle and not on a line"),
    Claim("agrees_either", "their order is the paper's, surprise and fear either way round"),
    Claim("overlap_SP_FE", "surprise and fear are among the two couples that overlap most"),
    Claim("overlap_AN_DI", "anger and disgust are among the two couples that overlap most"),
    Claim("happiness", "happiness is the tightest emotion"),
    Claim("action_units", "the emotions' distances go with those of their action units"),
    Claim("people", "the emotions' distances go with people's"),
)


def _column(cells: pd.DataFrame, name: str) -> pd.Series:
    if name in cells:
        return cells[name]
    return pd.Series(pd.array([pd.NA] * len(cells), dtype="Float64"), index=cells.index)


_JUDGES: Mapping[str, Any] = {
    "learnt": lambda t: t["learnt"],
    "above_chance": lambda t: _column(t, "held_out_accuracy_low") > t["held_out_chance"],
    "circle": lambda t: ~t["line"],
    "agrees_either": lambda t: t["agrees_either"],
    "overlap_SP_FE": lambda t: t["overlap_rank_SP_FE"] <= 2,
    "overlap_AN_DI": lambda t: t["overlap_rank_AN_DI"] <= 2,
    "happiness": lambda t: t["happiness_rank"] == 1,
    "action_units": lambda t: _column(t, "rho_action_units_low") > 0,
    "people": lambda t: _column(t, "rho_people_low") > 0,
}


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim: its ``kind`` (holds, hangs, never, few), and in how many of how many cells it is true.

    ``on``: the settings that it depends on.
    """

    name: str
    words: str
    kind: str
    true: int
    cells: int
    on: tuple[ByValue, ...] = ()


def verdicts(table: pd.DataFrame, settings: Sequence[str]) -> list[Verdict]:
    """Of every claim that at least one cell can be judged by.  ``table`` holds all cells, controls too."""
    trained = table[table["control"] == PAPER]
    learnt = trained[trained["learnt"].fillna(False).astype(bool)]
    found = []
    for claim in CLAIMS:
        cells = trained if claim.name == "learnt" else learnt
        judged = claim.of(cells).astype("boolean")
        there = judged.notna()
        if there.any():
            found.append(judge(claim, cells[there], judged[there].astype(bool).tolist(), settings))
    return found


def judge(claim: Claim, cells: pd.DataFrame, true: Sequence[bool], settings: Sequence[str]) -> Verdict:
    """Apply the rules of this module to a claim that is ``true`` or not in each of ``cells``."""
    count, hits = len(true), sum(true)
    if cells["training"].nunique() < FEWEST:
        return Verdict(claim.name, claim.words, FEW, hits, count)
    if not hits:
        return Verdict(claim.name, claim.words, NEVER, hits, count)
    values = by_value(cells, true, settings)
    everywhere = all(2 * one.true[v] >= one.cells[v] for one in values for v in one.cells)
    if hits >= NEARLY_ALL * count and everywhere:
        return Verdict(claim.name, claim.words, HOLDS, hits, count)
    return Verdict(claim.name, claim.words, HANGS, hits, count, tuple(decisive(values)[:_NAMED]))


def paragraph(
    table: pd.DataFrame, found: Sequence[Verdict], chance: Mapping[str, Chance], accuracies: Mapping[str, float],
    drawn: bool,
) -> str:  # fmt: skip
    """The paragraph.  ``accuracies``: mean held-out accuracy of each baseline by its name, the ceiling's among them."""
    trained = table[table["control"] == PAPER]
    said = [_opening(trained)]
    learnt = trained["learnt"].fillna(False).astype(bool)
    if not learnt.any():
        said.append(_nothing_learnt(trained))
    of = {kind: [v for v in found if v.kind == kind] for kind in (HOLDS, HANGS, NEVER, FEW)}
    if of[HOLDS]:
        said.append(f"Whatever one chooses, {_listed(of[HOLDS])}.")
    elif learnt.any():
        said.append("Nothing that was asked holds whatever one chooses.")
    said += [_hanging(verdict) for verdict in of[HANGS]]
    if of[NEVER]:
        said.append(f"No cell showed that {_listed(of[NEVER], with_counts=False, joint='or that')}.")
    if of[FEW]:
        said.append(f"Too few cells to say whether {_listed(of[FEW], joint='whether')}.")
    said += _against_chance(chance["agrees_either"]) if "agrees_either" in chance else []
    said += _accuracy(table[table["control"] == UNTRAINED], trained[learnt], accuracies)
    if drawn:
        said.append("All this is about drawn faces: it says nothing about how people see faces.")
    return " ".join(said)


def _opening(trained: pd.DataFrame) -> str:
    if not len(trained):
        return "No cell of the paper's kind was trained, controls alone."
    gone = int(trained["diverged"].astype(bool).sum())
    learnt = int(trained["learnt"].fillna(False).astype(bool).sum())
    trainings = int(trained["training"].nunique())
    read_off = f" of {trainings} {'training' if trainings == 1 else 'trainings'}" if trainings < len(trained) else ""
    one = f"Of {len(trained)} {'cell' if len(trained) == 1 else 'cells'}{read_off} {gone or 'none'} diverged"
    return f"{one} and {learnt or 'none'} learnt."


def _nothing_learnt(trained: pd.DataFrame) -> str:
    if len(trained) and trained["learnt"].isna().all():
        return "No fold has validation pairs, by which it is seen whether a net learns: of shapes nothing is said here."
    return "Of the shape of what learnt nothing, nothing is said here."


def _listed(found: Sequence[Verdict], with_counts: bool = True, joint: str = "and") -> str:
    parts = [f"{v.words} ({v.true} of {v.cells} cells)" if with_counts else v.words for v in found]
    return parts[0] if len(parts) == 1 else f"; {joint} ".join(parts)


def _hanging(verdict: Verdict) -> str:
    some = f"{verdict.true} of {verdict.cells} cells"
    if not verdict.on:
        return f"That {verdict.words} is so in {some}, and no setting, seed or fold is seen to decide it."
    return f"That {verdict.words} hangs on a choice: {some}; by {' and by '.join(_values(one) for one in verdict.on)}."


def _values(one: ByValue) -> str:
    parts = ", ".join(f"{value}: {one.true[value]} of {cells}" for value, cells in one.cells.items())
    return f"{one.setting} ({parts})"


def _against_chance(chance: Chance) -> list[str]:
    if chance.learnt.share is None:
        return []
    words = f"The paper's order, surprise and fear either way round, has {in_words(chance.learnt)} of what learnt"
    if chance.shuffled.share is None:
        words += "; without cells trained on shuffled labels the honest chance level is not known"
    else:
        words += f"; with shuffled labels it has {in_words(chance.shuffled)}"
    return [f"{words}. Were all orders as likely, it would be {chance.even}." if chance.even else f"{words}."]


def _accuracy(untrained: pd.DataFrame, learnt: pd.DataFrame, baselines: Mapping[str, float]) -> list[str]:
    known = learnt["held_out_accuracy"].dropna()
    if not len(known):
        return []
    words = f"Half of the cells that learnt tell {float(known.median()):.0%} or more of held-out faces right"
    others = [f"{name} {value:.0%}" for name, value in baselines.items()]
    before = untrained["held_out_accuracy"].dropna()
    if len(before):
        others.append(f"towers without training {float(before.mean()):.0%} on average")
    return [f"{words} ({', '.join(others)})." if others else f"{words}."]
