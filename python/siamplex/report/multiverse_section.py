"""The section "Multiverse": which results hold for all choices the paper leaves open, and which do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamplex.errors import InputError
from siamplex.multiverse.answer import FORMAT
from siamplex.multiverse.chance import TITLES
from siamplex.multiverse.shares import percent
from siamplex.report.content import Content
from siamplex.report.table import Picture, Table, ratio, sentence
from siamplex.schema.json_files import read_object

_CHANCE = ["agreement", "cells", "agree", "of", "share", "95 %", "on a line"]
_BASELINES = ["method", "fold", "order", "held-out", "95 %", "ratio"]


@dataclass
class MultiverseSection:
    """The paragraph, then tables and curves."""

    name = "multiverse"
    heading = "Multiverse"
    paragraph: str
    notes: list[str]
    chance: Table
    shares: Table | None
    baselines: Table | None
    pictures: list[Picture]

    @classmethod
    def of(cls, content: Content) -> MultiverseSection | None:
        """From what ``siamplex multiverse`` wrote; None where it wrote nothing that is known here."""
        folder = content.multiverse
        if folder is None:
            return None
        try:
            known = read_object(folder / "answer.json", "the answer of a multiverse")
            if known["format"] != FORMAT:
                return None
            return cls(
                paragraph=str(known["paragraph"]),
                notes=[f"{sentence(str(note))}." for note in known["notes"]],
                chance=_chance(known["chance"]),
                shares=_shares(known["shares"], known["outcomes"]),
                baselines=_baselines(known["baselines"]),
                pictures=_pictures(folder / "figures", known["figures"], known["outcomes"]),
            )
        except (InputError, KeyError, TypeError, ValueError, AttributeError, IndexError, OSError):
            return None  # written by another version, or damaged: the rest of the page stands without it


def _chance(found: dict[str, Any]) -> Table:
    rows: list[Sequence[str]] = []
    for chance in found.values():
        what = str(chance["what"])
        for name, title in TITLES.items():
            part = chance[name]
            share = "-" if part["share"] is None else percent(part["share"])
            rows.append(
                [
                    what,
                    title,
                    str(part["hits"]),
                    str(part["cells"]),
                    share,
                    _between(part["interval"]),
                    str(part["lines"]),
                ]
            )
        if chance["even"]:
            rows.append([what, "were all orders as likely", "", "", str(chance["even"]), "", ""])
    return Table(_CHANCE, rows, 2)


def _shares(found: dict[str, Any], outcomes: dict[str, str]) -> Table | None:
    if not found:
        return None
    settings = list(dict.fromkeys(name for one in found.values() for name in one["shares"]))
    rows = []
    for name, one in found.items():
        cells = [_share(one, setting) for setting in settings]
        rows.append([sentence(outcomes[name]), str(one["cells"]), *cells, percent(one["left"])])
    return Table(["outcome", "cells", *settings, "interactions and noise"], rows, 1)


def _share(found: dict[str, Any], setting: str) -> str:
    if setting not in found["shares"]:
        return "-"
    ends = found["intervals"][setting]
    return percent(found["shares"][setting]) + (f" ({_between(ends)})" if ends else "")


def _between(ends: Sequence[float] | None) -> str:
    return f"{percent(ends[0])} to {percent(ends[1])}" if ends else "-"


def _baselines(found: Sequence[dict[str, Any]]) -> Table | None:
    rows = []
    for one in found:
        accuracy = one["held_out_accuracy"]
        order = one["order"] or ("on a line" if one["line"] else "-")
        rows.append(
            [f"{one['method']} of {one['features']}", str(one["fold"]), str(order),
             "-" if accuracy is None else percent(accuracy), _between(one["held_out_interval"]), ratio(one["ratio"])]
        )  # fmt: skip
    return Table(_BASELINES, rows, 3) if rows else None


def _pictures(folder: Path, names: Sequence[str], outcomes: dict[str, str]) -> list[Picture]:
    """The curves, found by the names of their outcomes; paths that lead elsewhere are ignored."""
    shown = [name.removesuffix(".png") for name in names if name.endswith(".png")]
    return [
        Picture.read(folder / f"{name}.png", sentence(outcomes[name]), True)
        for name in shown
        if name in outcomes and (folder / f"{name}.png").is_file()
    ]
