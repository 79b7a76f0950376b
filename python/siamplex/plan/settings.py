"""The settings of a run by the Makefile's names: ``OUT``, ``FACES``, ``ITERATIONS`` ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from siamplex.errors import UsageError

ALEXNET = "weights/bvlc_alexnet.caffemodel"  # where it is looked for when nobody names it
DEFAULTS: Mapping[str, str] = {
    "OUT": "run", "FACES": "", "ENGINE": "torch", "DEVICE": "cpu", "LAYOUT": "indexed", "SEED": "1", "HUMAN": "",
    "PROCESSES": "1", "SEEDS": "5", "ACTORS": "43", "SIZE": "227", "WIDTH": "1", "SCALE": "1/256", "BATCH": "256",
    "STAGE2_BATCH": "256", "NEW_LR_MULT": "1", "BASE_LR": "0.0001", "ITERATIONS": "5000", "STAGE2_ITERATIONS": "",
    "STAGE2_BASE_LR": "", "DISPLAY": "20", "SNAPSHOT": "1000", "SHOWN": "2000 3000 4000 5000", "TEST_INTERVAL": "250",
    "EARLY_STOP": "", "OVERWRITE": "", "PATIENCE": "4", "INDEX_FLAGS": "", "PAIRS_FLAGS": "", "NETS_FLAGS": "",
    "TRAIN_FLAGS": "", "REPORT_FLAGS": "", "SUBSTITUTE": "", "OTHER_WEIGHTS": "",
}  # fmt: skip
_FOLLOWS = {"STAGE2_ITERATIONS": "ITERATIONS", "STAGE2_BASE_LR": "BASE_LR"}
_OFF = ("", "0", "no")


@dataclass(frozen=True)
class RunSettings:
    """All settings as texts; ``alexnet`` is None where ALEXNET was not given, empty where none is to be taken."""

    values: Mapping[str, str]
    alexnet: str | None = None

    @classmethod
    def of(cls, given: Sequence[str]) -> RunSettings:
        """From ``NAME=value`` texts; the others are the Makefile's.  Raises UsageError for a name not known."""
        told: dict[str, str] = {}
        for text in given:
            name, equals, value = text.partition("=")
            if not equals or name not in {*DEFAULTS, "ALEXNET"}:
                raise UsageError(f"expected a target, or a setting NAME=value as make help lists them, found '{text}'")
            told[name] = value
        alexnet = told.pop("ALEXNET", None)
        values = {**DEFAULTS, **told}
        for name, other in _FOLLOWS.items():
            values[name] = values[name] or values[other]
        return cls(values, alexnet)

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def on(self, name: str) -> bool:
        """Whether a switch (``EARLY_STOP=1``) is on: neither empty, 0 nor no."""
        return self.values[name].strip() not in _OFF

    @property
    def out(self) -> Path:
        """Folder of the run."""
        return Path(self["OUT"])

    @property
    def faces(self) -> Path:
        """Where faces come from: the user's, or those drawn into the run."""
        return Path(self["FACES"]) if self["FACES"] else self.out / "faces"

    @property
    def weights_file(self) -> Path | None:
        """AlexNet's weights, as named or where they are looked for; None where none are to be taken."""
        name = ALEXNET if self.alexnet is None else self.alexnet
        return Path(name) if name else None

    @property
    def by_caffe(self) -> bool:
        """Whether the caffe binary trains."""
        return self["ENGINE"] == "caffe"
