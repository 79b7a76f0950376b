"""The command line of ``caffe``: BVLC's commands and their flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siamplex.dropin import gflags
from siamplex.errors import UsageError
from siamplex.run.stopping import NOTHING, SNAPSHOT, STOP

COMMANDS = ("train", "test", "time", "device_query")
_VALUES = {
    "gpu": "", "solver": "", "model": "", "phase": "", "level": "0", "stage": "", "snapshot": "", "weights": "",
    "iterations": "50", "sigint_effect": STOP, "sighup_effect": SNAPSHOT,
}  # fmt: skip
UNFILLED = "allow_unfilled"  # a switch of this tool's own: go on where a layer that never learns has no weights
USAGE = """usage: siamplex caffe COMMAND [-flag=value ...]

commands:
  train          train or finetune: -solver, and -weights A,B or -snapshot
  test           score a model: -model -weights [-iterations 50]
  time           time a model layer by layer: -model [-iterations 50 -phase TRAIN]
  device_query   say what the GPUs are: [-gpu all]

the tools beside it:
  convert_imageset [-gray -shuffle -resize_width N -resize_height N -check_size -encoded -encode_type png]
                   ROOTFOLDER/ LISTFILE DB_NAME
  compute_image_mean [-backend lmdb] INPUT_DB [OUTPUT_FILE]
  extract_features WEIGHTS NET BLOB,... DB,... NUM_MINI_BATCHES lmdb [CPU|GPU] [DEVICE_ID=0]
  upgrade_net_proto_text, upgrade_net_proto_binary, upgrade_solver_proto_text OLD NEW

-gpu N, -phase, -level, -stage, -sigint_effect and -sighup_effect (snapshot, stop, none) mean what BVLC's do.
train and test refuse a net with a layer that never learns and is in no weights file; -allow_unfilled lets it pass."""
HELP_FLAGS = frozenset({"-h", "-help", "--help"})
_EFFECTS = (SNAPSHOT, STOP, NOTHING)


@dataclass
class Flags:
    """A parsed command line: the command, and each flag's text."""

    command: str
    values: dict[str, str]
    allow_unfilled: bool

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def number(self, name: str) -> int:
        """A whole number from zero on."""
        text = self.values[name]
        if not text.isdigit():
            raise UsageError(f"-{name}: expected a whole number, found '{text}'")
        return int(text)

    def listed(self, name: str) -> list[str]:
        """A comma-separated list."""
        return [part for part in self.values[name].split(",") if part]

    def needed(self, name: str, what: str) -> str:
        """A flag that must be given."""
        if not self.values[name]:
            raise UsageError(f"caffe {self.command}: expected {what} (-{name}), found none")
        return self.values[name]

    def effect(self, name: str) -> str:
        """What a signal brings about."""
        if self.values[name] not in _EFFECTS:
            raise UsageError(f"-{name}: expected one of {', '.join(_EFFECTS)}, found '{self.values[name]}'")
        return self.values[name]


def parse(arguments: Sequence[str]) -> Flags:
    """Parse a command line.  Raises UsageError for a command or flag that the tool does not have."""
    line = gflags.parse("caffe", arguments, {**_VALUES, UNFILLED: False})
    if len(line.words) != 1 or line.words[0] not in COMMANDS:
        raise UsageError(
            f"caffe: expected one command of {', '.join(COMMANDS)}, found '{' '.join(line.words)}' (-help: the others)"
        )
    return Flags(line.words[0], {name: line.text(name) for name in _VALUES}, line.on(UNFILLED))
