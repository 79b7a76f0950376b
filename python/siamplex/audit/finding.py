"""One line of an audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SAME, DIFFERS = "same", "differs"
SILENT, INCONSISTENT = "paper silent", "paper inconsistent"
UNCHECKED = "not checked"
VERDICTS = (SAME, DIFFERS, SILENT, INCONSISTENT, UNCHECKED)


@dataclass(frozen=True)
class Finding:
    """A setting: what the paper says, what this run did, whether they agree, and why."""

    group: str
    setting: str
    paper: str
    run: str
    verdict: str
    why: str = ""


class Findings:
    """Collects the findings of one group."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.made: list[Finding] = []

    def stated(self, setting: str, paper: Any, run: Any, holds: bool | None = None, why: str = "") -> None:
        """A setting the paper states; ``holds`` is whether the run has it (by default: equal words)."""
        agrees = str(paper) == str(run) if holds is None else holds
        self.made.append(Finding(self.group, setting, str(paper), str(run), SAME if agrees else DIFFERS, why))

    def silent(self, setting: str, run: Any, why: str = "") -> None:
        """A setting the paper does not mention."""
        self.made.append(Finding(self.group, setting, "-", str(run), SILENT, why))

    def inconsistent(self, setting: str, paper: Any, run: Any, why: str) -> None:
        """A setting of which the paper says two things."""
        self.made.append(Finding(self.group, setting, str(paper), str(run), INCONSISTENT, why))

    def unchecked(self, setting: str, paper: Any, why: str) -> None:
        """A setting that cannot be seen from what is there."""
        self.made.append(Finding(self.group, setting, str(paper), "?", UNCHECKED, why))
