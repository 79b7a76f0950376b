"""Run random nets of one layer on siamplex and on real Caffe, and hold what they say and compute against each other.

For each layer type that reads no files it draws nets: shapes of bottoms, settings (wrong ones among them), values of
bottoms and parameters, gradients of tops.  Compared are: taken or refused (when the net is built, or in its first
passes), shapes of tops and parameters, values in both phases, gradients of bottoms and parameters.  Exit code 1 means
that the two disagree in some case.

    python tools/compare_layers.py --python /path/to/python/with/caffe [--types Pooling,LRN] [--cases 300] [--seed 0]

The other Python needs numpy and Caffe's module, not siamplex (compare_layers_caffe.py runs under it).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from compare_layers_caffe import PHASES, drawn, receive, send
from layer_cases import FILES, Array, Case, draw
from siamplex.engine.net.layer import LAYERS, Context
from siamplex.engine.net.layer_types import known_types
from siamplex.engine.net.net import Net
from siamplex.errors import SiamplexError
from siamplex.schema import prototxt

TOLERANCE = 1e-4  # of an array's largest value
FLOOR = 1e-2  # an array's largest value counts as at least this
STEPS = ("setup", "forward", "backward", "end")
LOWEST = float(np.finfo(np.float32).min)
# types whose numbers are not compared: this Caffe may be a fork whose BatchNorm differs
SHAPES_ONLY = frozenset({"BatchNorm"})
MEANT = "on purpose"
# differences on purpose: layer types, who refuses ("siamplex" or "Caffe"), what it says, and why the other does not
ON_PURPOSE: list[tuple[str, str, str, str]] = [
    (".*", "siamplex", "works not in place", "Caffe overwrites what it still reads"),
    (".*", "siamplex", r"(label|index) .*\d+\.\.", "Caffe reads memory beside its arrays"),
    ("SoftmaxWithLoss|InfogainLoss", "Caffe", "specified once per top blob", "a second top needs no weight"),
    ("BatchNorm", "Caffe", "axis 1 out of range for 1-D Blob", "a fork's BatchNorm; that of Caffe 1.0 takes one axis"),
    ("LSTM|RNN", "siamplex", "where sequences go on", "a fork may leave out this check of Caffe 1.0"),
    ("Dropout", "siamplex", "is not between 0 and 1", "Caffe's release builds do not look at the ratio"),
    (
        "ContrastiveLoss|HingeLoss|MultinomialLogisticLoss", "siamplex", r"labels for \d+ (samples|pairs)",
        "Caffe reads the first labels of too many, and memory beside too few",
    ),
    (
        "(Dec|C)onvolution", "siamplex", "no axis to slide over|three axes|kernel_size is missing|must be positive",
        "without an axis to slide over an InnerProduct does it, with more than three a higher axis",
    ),
    ("(Dec|C)onvolution|Im2col", "siamplex", "dilation must be positive", "with 0 all taps read one value"),
]  # fmt: skip


@dataclass
class Outcome:
    """What one side made of a case in one phase: steps passed, shapes, arrays by name, and why it went no further."""

    reached: list[str] = field(default_factory=list)
    shapes: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    refused: str = ""

    def __str__(self) -> str:
        at = STEPS[len(self.reached)] if len(self.reached) < len(STEPS) else "end"
        return f"refuses at {at}: {self.refused}" if self.refused else "takes it"


@dataclass
class Finding:
    """One disagreement: the case, its phase, what differs, what each side said."""

    case: Case
    phase: str
    what: str
    siamplex: str
    caffe: str


class Caffe:
    """Real Caffe under another Python."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).with_name("compare_layers_caffe.py")
        self._process = subprocess.Popen([python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.types = frozenset(self._receive()[0]["types"])

    def _receive(self) -> tuple[dict[str, Any], dict[str, Array]]:
        message = receive(_pipe(self._process.stdout))
        if message is None:
            raise SystemExit("compare_layers: the Python with Caffe ended; does it import caffe and numpy?")
        return message

    def run(self, case: Case) -> dict[str, Outcome]:
        """What Caffe makes of a case in each phase."""
        header = {name: getattr(case, name) for name in ("text", "bottoms", "tops", "seed", "drawn", "fed")}
        send(_pipe(self._process.stdin), header, case.given)
        outcomes = {phase: Outcome() for phase in PHASES}
        left = set(PHASES)
        while left:
            answer, arrays = self._receive()
            outcome = outcomes[answer["phase"]]
            if answer["reached"] == "refused":
                outcome.refused = answer["said"]
            else:
                outcome.reached.append(answer["reached"])
                outcome.arrays.update(arrays)
            if answer["reached"] == "setup":
                outcome.shapes = {name: answer[name] for name in ("shapes", "params")}
            if answer["reached"] in ("refused", "end"):
                left.remove(answer["phase"])
        return outcomes

    def close(self) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream
    return stream


def by_siamplex(case: Case, phase: str) -> Outcome:
    """What siamplex makes of a case."""
    outcome = Outcome()
    try:
        _run(case, phase, outcome)
    except SiamplexError as error:
        outcome.refused = str(error)
    except Exception as error:  # whatever is no refusal is a finding
        outcome.refused = f"CRASH {type(error).__name__}: {error}"
    return outcome


def _run(case: Case, phase: str, outcome: Outcome) -> None:
    net = Net(prototxt.parse(case.text, "NetParameter", "net.prototxt"), phase)
    parameters = net.node("it").params
    params = [parameter.tensor for parameter in parameters]
    outcome.shapes = {
        "shapes": [list(net.shapes[name]) for name in case.tops],
        "params": [list(tensor.shape) for tensor in params],
    }
    outcome.reached.append("setup")
    given = {name: torch.tensor(values) for name, values in case.given.items()}
    given |= {name: torch.tensor(drawn(case.seed, 200 + i, net.shapes[name])) for i, name in enumerate(case.fed)}
    for i, tensor in enumerate(params):
        tensor.copy_(torch.tensor(drawn(case.seed, i, tensor.shape)))
        tensor.requires_grad_(not parameters[i].moves)
    for name in case.wanted:
        given[name].requires_grad_(True)
    loss, blobs = net.forward(Context(train=phase == "TRAIN"), given)
    outcome.arrays = {f"top {name}": blobs[name].detach().numpy().copy() for name in case.tops}
    outcome.reached.append("forward")
    if phase == "TRAIN":
        for i, name in enumerate(case.tops):
            if name in case.drawn and blobs[name].requires_grad:
                slope = torch.tensor(drawn(case.seed, 100 + i, blobs[name].shape))
                loss = loss + (blobs[name] * slope).sum()
        if loss.requires_grad:
            loss.backward()
        slopes = {f"gradient of {name}": given[name] for name in case.bottoms if name in case.wanted}
        slopes |= {f"gradient of blob {i}": tensor for i, tensor in enumerate(params)}
        for name, tensor in slopes.items():
            slope = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            outcome.arrays[name] = slope.detach().numpy()
        outcome.reached.append("backward")
    outcome.reached.append("end")


def compare(case: Case, phase: str, ours: Outcome, caffes: Outcome) -> Finding | None:
    """The first disagreement of both sides, if any."""

    def finding(what: str, mine: object, theirs: object) -> Finding:
        return Finding(case, phase, what, str(mine), str(theirs))

    if ours.refused.startswith("CRASH"):
        return finding("siamplex crashes", ours, caffes)
    if bool(ours.refused) != bool(caffes.refused):
        if on_purpose(case, ours, caffes):
            return finding(MEANT, ours, caffes)
        return finding("only Caffe refuses" if caffes.refused else "only siamplex refuses", ours, caffes)
    if "setup" in ours.reached and "setup" in caffes.reached and ours.shapes != caffes.shapes:
        return finding("shapes", ours.shapes, caffes.shapes)
    if phase in case.random or case.type in SHAPES_ONLY:
        return None
    # Caffe's MAX pooling writes the gradient of a window past the edge beside the array
    past_edge = case.type in ("Pooling", "SPP") and any((top == LOWEST).any() for top in ours.arrays.values())
    for name, theirs in caffes.arrays.items():
        if past_edge and name.startswith("gradient"):
            continue
        mine = ours.arrays.get(name)
        if mine is None:
            continue
        if name.startswith("gradient") and mine.size == theirs.size:  # a layer in place may have added axes
            mine = mine.reshape(theirs.shape)
        if mine.shape != theirs.shape:
            return finding(f"shape of {name}", mine.shape, theirs.shape)
        if not near(mine, theirs):
            kind = re.sub(r" [xy]\d+$", " of a bottom" if name.startswith("gradient") else "", name)
            return finding(kind.replace("of of", "of"), _shown(mine), _shown(theirs))
    return None


def on_purpose(case: Case, ours: Outcome, caffes: Outcome) -> bool:
    """Whether only one side refuses a case, and is meant to."""
    who, said = ("siamplex", ours.refused) if ours.refused else ("Caffe", caffes.refused)
    return any(
        re.fullmatch(types, case.type) and of == who and re.search(what, said) for types, of, what, _ in ON_PURPOSE
    )


def near(mine: Array, theirs: Array) -> bool:
    """Whether two arrays agree within the tolerance; what is not finite must be the same."""
    finite = np.isfinite(mine) & np.isfinite(theirs)
    if not np.array_equal(mine[~finite], theirs[~finite], equal_nan=True):
        return False
    a, b = mine[finite].astype(np.float64), theirs[finite].astype(np.float64)
    scale = max(FLOOR, float(np.abs(b).max(initial=0.0)))
    return float(np.abs(a - b).max(initial=0.0)) <= TOLERANCE * scale


def _shown(values: Array) -> str:
    return f"{values.shape}: {np.array2string(values.reshape(-1)[:8], precision=5)}"


def compare_type(
    type_name: str, cases: int, seed: int, caffe: Caffe
) -> Iterator[tuple[Case, str, Outcome, Finding | None]]:
    """Each case of a type in each phase: what siamplex makes of it, and where Caffe disagrees."""
    for number in range(cases):
        case = draw(type_name, LAYERS[type_name].param_field, number, seed)
        theirs = caffe.run(case)
        for phase in PHASES:
            ours = by_siamplex(case, phase)
            yield case, phase, ours, compare(case, phase, ours, theirs[phase])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the Python that imports caffe")
    parser.add_argument("--types", help="layer types, separated by commas (default: all that read no files)")
    parser.add_argument("--cases", type=int, default=300, help="nets for each type (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3, help="disagreements to print of each kind (default: 3)")
    args = parser.parse_args(arguments)
    np.seterr(all="ignore")
    asked = args.types.split(",") if args.types else [name for name in known_types() if name not in FILES]
    unknown = [name for name in asked if name not in known_types() or name in FILES]
    if unknown:
        parser.error(f"no layer type that this tool draws: {', '.join(unknown)}")
    caffe = Caffe(args.python)
    found = 0
    for type_name in asked:
        if type_name not in caffe.types:
            print(f"{type_name:24} not in this Caffe", flush=True)
            continue
        found += _report(type_name, args.show, list(compare_type(type_name, args.cases, args.seed, caffe)))
    caffe.close()
    return 1 if found else 0


def _report(type_name: str, shown: int, results: list[tuple[Case, str, Outcome, Finding | None]]) -> int:
    """Print one type's counts and disagreements; returns how many there are."""
    taken = sum(not ours.refused for _, _, ours, _ in results)
    findings = [finding for *_, finding in results if finding and finding.what != MEANT]
    meant = sum(finding is not None for *_, finding in results) - len(findings)
    counts = ", ".join(f"{what} {count}" for what, count in Counter(f.what for f in findings).most_common())
    agree = len(results) - len(findings)
    also = f"{taken} taken" + (f", {meant} differ {MEANT}" if meant else "")
    print(f"{type_name:24} {agree} of {len(results)} agree ({also}){'; ' if counts else ''}{counts}", flush=True)
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.what] += 1
        if seen[finding.what] <= shown:
            print(f"  --- {finding.what}, phase {finding.phase}, values from seed {finding.case.seed}")
            for line in finding.case.text.splitlines():
                print(f"    {line}")
            print(f"    siamplex: {finding.siamplex}\n    Caffe:    {finding.caffe}", flush=True)
    return len(findings)


if __name__ == "__main__":
    sys.exit(main())
