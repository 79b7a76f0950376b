"""Say of a folder of prototxts what parses, what builds, what runs, and what stands in the way of how many.

    python tools/survey_prototxts.py FOLDER [--list] [--json] [--no-run] [--memory 1024] [--seconds 60]

A net *builds* where it goes together in a phase: all its layers made, all shapes worked out.  What its data layers read
need not be there: shapes are then those that the net tells or needs, or a guess, which --list says.  It *runs* where a
forward and a backward pass go through on made-up values; nets that would take too much memory or time are left out of
that.  A solver *builds* where its settings are taken; the nets it names are not looked for.

What stands in the way is of five kinds: ``fork`` (a layer type or field that Caffe 1.0 has not), ``python`` (a Python
layer), ``caffe`` (Caffe 1.0 refuses the file too), ``ours`` (Caffe takes it, siamplex does not) and ``shapes`` (no
shape that was guessed for missing data fits: Caffe may take the net with the true one, so it counts as one that it
takes).

Each file is looked at in a process of its own, with a limit on its memory and time: none stops the others.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from siamplex.engine.net.costs import cost_of
from siamplex.engine.net.layer import Context
from siamplex.engine.net.layer_types import about_type
from siamplex.engine.net.net import Net
from siamplex.engine.net.outline import GuessError, Outline, outline
from siamplex.engine.training.rates import RatePolicy
from siamplex.engine.training.sgd import SGD
from siamplex.engine.training.solver_file import SolverFile
from siamplex.errors import PrototxtError, SiamplexError, printable
from siamplex.schema import locations, messages, prototxt
from siamplex.schema.file_kinds import SOLVER, kind_of_text

NET, OTHER = "net", "other"
FORK, PYTHON, CAFFE, OURS, SHAPES = "fork", "python", "caffe", "ours", "shapes"
KINDS = (FORK, PYTHON, CAFFE, OURS, SHAPES)
SUFFIXES = (".prototxt", ".prototext", ".pbtxt", ".pt")
_WORDS = {
    FORK: "a layer type or field that Caffe 1.0 has not",
    PYTHON: "a Python layer",
    CAFFE: "Caffe 1.0 refuses it too",
    OURS: "Caffe takes it, siamplex does not",
    SHAPES: "no shape guessed for missing data fits",
}
_STEPS = 3_000_000_000  # multiply-adds of a forward pass, up to which a net is run
_SAMPLES = 6  # of a batch of made-up values
_SCORED = ("SoftmaxWithLoss", "Accuracy", "InfogainLoss", "HingeLoss", "MultinomialLogisticLoss", "ContrastiveLoss")


@dataclass
class Blocker:
    """What stands in the way of a file: its kind, what it is in general, and as it was said."""

    kind: str
    what: str
    said: str = ""


@dataclass
class Finding:
    """What came of a file.  ``phases`` are those that build, ``ran`` those that ran; ``notes`` say what was assumed.

    ``one_phase`` says that it builds in one phase, and is refused in the other.
    """

    file: str
    sort: str = OTHER
    parses: bool = False
    builds: bool = False
    runs: bool = False
    phases: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    blockers: list[Blocker] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    one_phase: bool = False

    def block(self, kind: str, what: str, said: str = "") -> None:
        """Add a blocker that is not there yet."""
        if not any((b.kind, b.what) == (kind, what) for b in self.blockers):
            self.blockers.append(Blocker(kind, what, said or what))


# --- one file


def survey_file(path: Path, name: str, memory: int, run: bool) -> Finding:
    """Look at a file.  ``memory`` bytes are what a net may take to be run."""
    found = Finding(name)
    try:
        text = _text(path)
    except OSError as error:
        found.notes.append(f"cannot be read: {error.strerror or error}")
        return found
    found.sort = _sort(text)
    if found.sort == OTHER:
        found.notes.append("neither a net nor a solver")
    elif found.sort == NET:
        _survey_net(path, text, found, memory, run)
    else:
        _survey_solver(path, text, found)
    return found


def _text(path: Path) -> str:
    if not path.is_file():
        raise OSError(0, "no regular file")
    with path.open("rb") as handle:
        raw = handle.read(prototxt.MAX_BYTES + 1)
    return raw.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")


def _sort(text: str) -> str:
    if kind_of_text(text.encode("utf-8", "replace")).name == SOLVER:
        return SOLVER
    scanned = locations.scan(text)
    top = Counter(str(path[0]) for path in scanned if len(path) == 2)
    solver, net = (len(set(top) & set(m.DESCRIPTOR.fields_by_name)) for m in (_solver(), _net()))
    if top["layer"] or top["layers"] or (top["input"] and net >= solver):
        return NET
    return SOLVER if solver > 1 and solver > net else OTHER


def _net() -> Any:
    return messages.NetParameter()


def _solver() -> Any:
    return messages.SolverParameter()


def _survey_net(path: Path, text: str, found: Finding, memory: int, run: bool) -> None:
    for blocker in _unknown_parts(text, _net()):
        found.block(blocker.kind, blocker.what, blocker.said)
    try:
        source = prototxt.read(path, "NetParameter")
    except SiamplexError as error:
        _block_by_parser(found, error)
        return
    found.parses = True
    faults: list[tuple[str, SiamplexError]] = []
    for stages in _stages(source.message):
        state = messages.NetState(stage=stages)
        for phase in ("TRAIN", "TEST"):
            label = phase + (f" with stage {stages[0]}" if stages else "")
            try:
                made = outline(source, phase, state=state)
            except SiamplexError as error:
                faults.append((label, error))
                continue
            if not made.net.nodes:
                continue
            found.phases.append(label)
            found.notes += [f"{label}: {text}" for text in _assumed(made)]
            if run:
                _run(source, phase, state, label, made, found, memory)
        if found.phases:
            break
    found.builds, found.runs = bool(found.phases), bool(found.ran)
    found.one_phase = len(found.phases) == 1 and bool(faults)
    if found.builds:
        found.notes += [f"{label} does not build: {_said(fault)}" for label, fault in faults]
    else:
        _block_by(found, [fault for _, fault in faults])


def _block_by(found: Finding, faults: Sequence[SiamplexError]) -> None:
    """Add what was raised, but for what only follows from something else: layers that are not there in a phase."""
    known = any(b.kind in (FORK, PYTHON, OURS) for b in found.blockers)
    own = [fault for fault in faults if not _NO_TOP.search(str(fault))]
    for fault in own or ([] if known else faults):
        if not (known and _TYPE.search(str(fault))):
            found.block(_kind(fault), _general(fault), _said(fault))


def _said(error: SiamplexError) -> str:
    return str(error).split(" (known:")[0]


def _stages(message: Any) -> Iterator[list[str]]:
    """The state as it is, and then with each stage that a rule of the net names."""
    yield []
    rules = [rule for layer in message.layer for rule in (*layer.include, *layer.exclude)]
    for stage in dict.fromkeys(str(name) for rule in rules for name in (*rule.stage, *rule.not_stage)):
        yield [stage]


def _assumed(made: Outline) -> Iterator[str]:
    yield from made.missing
    for one in made.assumed:
        yield f"'{one.blob}' taken as {','.join(map(str, one.shape))}: {one.why}"


def _run(
    source: prototxt.Prototxt, phase: str, state: Any, label: str, made: Outline, found: Finding, memory: int
) -> None:
    """A forward and a backward pass on made-up values, where that is not too much."""
    with suppress(SiamplexError):  # where it needs its whole batch
        made = outline(source, phase, state=state, most_samples=_SAMPLES)
    cost = cost_of(made.net)
    if max(cost.memory, 8 * cost.parameters) > memory or cost.multiply_adds > _STEPS:
        found.notes.append(f"{label}: too large to be run ({cost.memory >> 20} MiB, {cost.multiply_adds:,} steps)")
        return
    try:
        net = Net(source, phase, message=made.message, state=state)
        net.learn()
        loss, _ = net.forward(Context(phase == "TRAIN"), _values(net))
        if loss.requires_grad:
            loss.backward()
        found.ran.append(label)
    except SiamplexError as error:
        found.notes.append(f"{label} does not run: {error}")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        found.notes.append(f"{label} does not run, a fault of siamplex: {type(error).__name__}: {error} ({at})")


def _values(net: Net) -> dict[str, torch.Tensor]:
    """Values for what is fed to a net: zeros for labels and indices, which are always valid, noise for the rest."""
    whole = {name for node in net.nodes if node.layer.spec.type in _SCORED for name in node.bottoms[1:]}
    whole |= {name for node in net.nodes if node.layer.spec.type == "Embed" for name in node.bottoms}
    whole |= {
        name for node in net.nodes if node.layer.spec.type in ("Filter", "BatchReindex") for name in node.bottoms[1:]
    }
    for node in reversed(net.nodes):  # and what these are made of
        if whole & set(node.tops) and node.layer.spec.type not in ("Input", "MemoryData"):
            whole |= set(node.bottoms)
    fed = [top for node in net.nodes if node.layer.spec.type in ("Input", "MemoryData") for top in node.tops]
    stream = torch.Generator().manual_seed(1)
    return {
        top: torch.zeros(net.shapes[top]) if top in whole else torch.randn(net.shapes[top], generator=stream)
        for top in fed
    }


def _survey_solver(path: Path, text: str, found: Finding) -> None:
    for blocker in _unknown_parts(text, _solver()):
        found.block(blocker.kind, blocker.what, blocker.said)
    try:
        prototxt.read(path, "SolverParameter")
        found.parses = True
        solver = SolverFile(path, outside=True)
        solver.nets_stated()
        RatePolicy(solver.source)
        SGD(solver.source, [])
        found.builds = True
    except SiamplexError as error:
        _block_by_parser(found, error)


def _block_by_parser(found: Finding, error: SiamplexError) -> None:
    """Add what was raised, unless it is of what was found in the text already.

    A fork's field or value would have been found there; what the parser alone takes for one is none.
    """
    kind = _kind(error)
    if kind == FORK:
        kind = CAFFE
    known = _TYPE.search(str(error)) or _NO_VALUE.search(str(error)) or _FORK_WORDS.search(str(error))
    if not found.blockers or (kind == CAFFE and not known):
        found.block(kind, _general(error), _said(error))


# --- what stands in the way


def _unknown_parts(text: str, message: Any) -> Iterator[Blocker]:
    """Layer types and fields of a text that Caffe 1.0 has not, all of them, whether it parses or not."""
    scanned = locations.scan(text)
    strange = set()
    for path, (line, value) in scanned.items():
        if path[-2:] != ("type", 0) or len(path) < 4 or path[-4] not in ("layer", "layers"):
            continue
        blocker = _about_layer(path, line, value, scanned)
        if blocker:
            strange.add(path[:-2])
            yield blocker
    for path, (line, _) in scanned.items():
        if any(path[: len(layer)] == layer for layer in strange):
            continue  # a layer that is not known may have fields that are not
        holder = _holder(message.DESCRIPTOR, path)
        if holder is not None and str(path[-2]) not in holder.fields_by_name:
            what = f"field {path[-2]} of {holder.name}"
            misspelt = any(_one_letter_apart(str(path[-2]), known) for known in holder.fields_by_name)
            yield Blocker(CAFFE if misspelt else FORK, what, f"line {line}: {what}")
    for path, (line, value) in scanned.items():
        holder = _holder(message.DESCRIPTOR, path)
        enum = (
            holder.fields_by_name[str(path[-2])].enum_type
            if holder and str(path[-2]) in holder.fields_by_name
            else None
        )
        if enum is not None and value.isidentifier() and not value.isdigit() and path[-2] != "type":
            kind = _kind_of_value(enum.name, value)
            if kind:
                yield Blocker(kind, f"value {value} of {enum.name}", f"line {line}: {path[-2]}: {value}")


def _one_letter_apart(word: str, known: str) -> bool:
    """Whether a word is another with one letter too many, missing, wrong, or changed with its neighbour."""
    if len(word) < 4 or not word.isascii() or any(c.isdigit() for c in word) or abs(len(word) - len(known)) > 1:
        return False
    same = next((i for i, (a, b) in enumerate(zip(word, known, strict=False)) if a != b), min(len(word), len(known)))
    rest, of = word[same:], known[same:]
    return rest[1:] in (of, of[1:]) or rest == of[1:] or (rest[:2] == of[1::-1] and rest[2:] == of[2:])


def _about_layer(
    path: locations.Path, line: int, value: str, scanned: dict[locations.Path, tuple[int, str]]
) -> Blocker | None:
    """What to say of a layer's type, where it is not known."""
    if value[:1] not in "\"'":  # an old form's, in capitals
        if path[-4] != "layers" or value in messages.ENUMS["LayerType"] or not value.isupper():
            return None
        return Blocker(FORK, f"layer type {value} (old form)", f"line {line}: layer type {value}")
    kind = value.strip("\"'")
    if path[-4] == "layer" and len(path) > 4:  # within layers { }: the oldest form's own names
        return None
    module, cls = (scanned.get((*path[:-2], "python_param", 0, name, 0), (0, ""))[1].strip("\"'")
                   for name in ("module", "layer"))  # fmt: skip
    about = about_type(kind, f"{module}.{cls}")
    if about is None or not kind:
        return None
    if kind == "Python":
        return Blocker(PYTHON, "Python layers", f"line {line}: Python layer {module}.{cls}")
    if "is not known" in about:  # misspelt
        return Blocker(CAFFE, f"layer type {printable(kind)}", f"line {line}: {about.split(' (known:')[0]}")
    if "Caffe 1.0 has no such layer" in about or "plug-in" in about:
        return Blocker(FORK, f"layer type {printable(kind)}", f"line {line}: layer type {kind}")
    return Blocker(OURS, f"layer type {kind}", f"line {line}: {about.split(' (known:')[0]}")


def _holder(descriptor: Any, path: locations.Path) -> Any:
    """The message that the last field of a path stands in; None behind one that is not known."""
    for name in path[:-2:2]:
        step = descriptor.fields_by_name.get(str(name))
        if step is None or step.message_type is None:
            return None
        descriptor = step.message_type
    return descriptor


_NO_TOP = re.compile(r"bottom '.*' is no top of a layer before it")
_TYPE = re.compile(r"type '.*' .*is not (?:supported|known)")
_FORK_WORDS = re.compile(r"Caffe 1\.0 has no such layer|none of the old form's|no field|field '[A-Za-z_]\w*' of")
_OUR_WORDS = re.compile(r"type '.*' is not supported|than the [\d.]+ GiB there are")
_NO_VALUE = re.compile(r"\b(\w+) has no value (\S+)")


def _kind(error: SiamplexError) -> str:
    said = str(error)
    if isinstance(error, GuessError):
        return SHAPES
    if "type 'Python'" in said:
        return PYTHON
    value = _NO_VALUE.search(said)
    if value:
        return _kind_of_value(value.group(1), value.group(2)) or CAFFE
    if _FORK_WORDS.search(said):
        return FORK
    return OURS if _OUR_WORDS.search(said) else CAFFE


def _kind_of_value(enum: str, value: str) -> str | None:
    """The kind of a value that an enum has not: a fork's, unless it is a known one in quotes or small letters."""
    names = next((names for name, names in messages.ENUMS.items() if name.split(".")[-1] == enum.split(".")[-1]), {})
    if value in names:
        return None
    return CAFFE if value[0] in "\"'" or value.upper() in names else FORK


def _general(error: SiamplexError) -> str:
    """A refusal without what is of this file alone: its name, line, names and numbers."""
    said = str(error).split(" (known:")[0]
    if isinstance(error, PrototxtError):
        said = said.removeprefix(error.path).lstrip(":")
        said = re.sub(r"^\d+: ", "", said).strip()
    said = re.sub(r"^layer '[^']*'( \((\w*)\))?: ", lambda m: f"{m.group(2)}: " if m.group(2) else "", said)
    said = re.sub(r"'[^']*'", "'...'", said)
    said = re.sub(r"\([-\d, ]+\)", "(...)", said)
    return re.sub(r"\b-?\d+(\.\d+)?\b", "n", said)[:140]


# --- a process for each file


def isolated(path: Path, name: str, memory: int, seconds: float, run: bool) -> Finding:
    """:func:`survey_file` in a process of its own: one that dies or takes too long is a finding too."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(reader, writer, path, name, memory, run)
    os.close(writer)
    answer, until, late = b"", time.monotonic() + seconds, False
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            late = True
            os.kill(child, signal.SIGKILL)
            break
        part = os.read(reader, 1 << 16)
        if not part:
            break
        answer += part
    os.close(reader)
    _, status = os.waitpid(child, 0)
    lines = answer.splitlines()
    finding = _finding(lines[-1]) if lines else None
    if finding is not None and not late and os.waitstatus_to_exitcode(status) == 0:
        return finding
    finding = finding or Finding(name, _sort_of(path))
    if not finding.builds:
        how = f"takes longer than {seconds:g} s" if late else f"ends the process ({os.waitstatus_to_exitcode(status)})"
        finding.block(OURS, "longer than the limit" if late else "ends the process", how)
    else:
        finding.notes.append(f"not run to its end: {'out of time' if late else 'out of memory'}")
    return finding


def _sort_of(path: Path) -> str:
    """The sort by the file's beginning, where the process that looked at it is gone."""
    try:
        with path.open("rb") as handle:
            head = handle.read(1 << 16)
    except OSError:
        return OTHER
    return SOLVER if kind_of_text(head).name == SOLVER else NET if b"layer" in head else OTHER


def _in_child(reader: int, writer: int, path: Path, name: str, memory: int, run: bool) -> None:
    """Answer with a line of JSON before the net is run, and one afterwards; never returns."""
    code = 1
    try:
        os.close(reader)
        held = 1 << 62
        with Path("/proc/self/statm").open() as statm:
            held = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + 2 * memory, held + 2 * memory))
        quiet = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(quiet, stream)
        for also_run in (False, True) if run else (False,):
            finding = survey_file(path, name, memory, also_run)
            os.write(writer, json.dumps(asdict(finding)).encode() + b"\n")
            if not finding.builds or finding.sort != NET:
                break
        code = 0
    except BaseException as error:
        found = Finding(name, _sort_of(path))
        found.block(OURS, f"a fault of siamplex: {type(error).__name__}", f"{type(error).__name__}: {error}")
        os.write(writer, json.dumps(asdict(found)).encode() + b"\n")
        code = 0
    finally:
        os._exit(code)


def _finding(line: bytes) -> Finding | None:
    try:
        fields = json.loads(line)
    except ValueError:  # cut short
        return None
    blockers = [Blocker(**one) for one in fields.pop("blockers")]
    return Finding(**fields, blockers=blockers)


def files_in(folder: Path) -> Iterator[Path]:
    """Prototxts of a folder and those below it, by name; links to folders are not followed."""
    if folder.is_file():
        yield folder
        return
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) or ".prototxt" in name.lower():
                yield Path(root) / name


# --- what it comes to


def report(findings: Sequence[Finding]) -> Iterator[str]:
    """The counts, nets and solvers apart, and what blocks how many of them, most frequent first."""
    for sort, title in ((NET, "nets"), (SOLVER, "solvers")):
        those = [f for f in findings if f.sort == sort]
        if not those:
            continue
        plain = [f for f in those if not any(b.kind in (FORK, PYTHON) for b in f.blockers)]
        sound = [f for f in plain if f.builds or not any(b.kind == CAFFE for b in f.blockers)]
        yield f"{title}: {len(those)}"
        yield f"  parse                                   {_of(those, 'parses')}"
        yield f"  build                                   {_of(those, 'builds')}"
        if sort == NET:
            yield f"  build in one phase alone                {sum(f.one_phase for f in those)} of {len(those)}"
            yield f"  ran forward and backward                {_of(those, 'runs')}"
        yield f"  build, of those without fork or Python  {_of(plain, 'builds')}"
        yield f"  build, of those that Caffe takes        {_of(sound, 'builds')}"
        yield from _blockers([f for f in those if not f.builds])
        yield ""
    other = [f for f in findings if f.sort == OTHER]
    if other:
        yield f"neither nets nor solvers, or not to be read: {len(other)}"


def _of(findings: Sequence[Finding], what: str) -> str:
    count = sum(getattr(f, what) for f in findings)
    share = f" ({100 * count / len(findings):.1f} %)" if findings else ""
    return f"{count} of {len(findings)}{share}"


def _blockers(blocked: Sequence[Finding]) -> Iterator[str]:
    if not blocked:
        return
    total: Counter[tuple[str, str]] = Counter()
    alone: Counter[tuple[str, str]] = Counter()
    for finding in blocked:
        keys = {(b.kind, b.what) for b in finding.blockers}
        total.update(keys)
        if len(keys) == 1:
            alone.update(keys)
    for kind in KINDS:
        mine = [(key, count) for key, count in total.most_common() if key[0] == kind]
        if not mine:
            continue
        files = sum(any(b.kind == kind for b in f.blockers) for f in blocked)
        yield f"  blocked by what is of kind '{kind}' ({_WORDS[kind]}): {files} files"
        yield "    files  alone"
        for key, count in sorted(mine, key=lambda one: (-one[1], one[0])):
            yield f"    {count:5}  {alone[key]:5}  {key[1]}"


def listing(findings: Sequence[Finding]) -> Iterator[str]:
    """A line for each file, with what stands in its way or what was assumed below it."""
    for f in findings:
        state = "runs" if f.runs else "builds" if f.builds else "parses" if f.parses else "-"
        phases = f" ({', '.join(f.ran or f.phases)})" if f.phases else ""
        yield f"{f.sort:<7} {state:<7} {printable(f.file)}{phases}"
        for b in f.blockers:
            yield f"          {b.kind}: {printable(b.said)}"
        for note in f.notes:
            yield f"          {printable(note)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, whatever was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="folder of prototxts, with those below it")
    parser.add_argument("--list", action="store_true", help="name each file, and its reason")
    parser.add_argument("--json", action="store_true", help="print all findings as JSON instead")
    parser.add_argument("--no-run", action="store_true", help="do not run what builds")
    parser.add_argument(
        "--memory", type=int, default=1024, metavar="MIB", help="memory a net may take to be run (1024)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="time a file may take (60)")
    args = parser.parse_args(arguments)
    if not args.folder.exists():
        parser.error(f"{args.folder}: expected a folder of prototxts, found nothing there")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as in | head
    torch.set_num_threads(1)  # processes are forked from this one
    findings = []
    base = args.folder if args.folder.is_dir() else args.folder.parent
    for path in files_in(args.folder):
        name = str(path.relative_to(base))
        findings.append(isolated(path, name, args.memory << 20, args.seconds, not args.no_run))
        if sys.stderr.isatty():
            print(f"\r{len(findings)} files", end="", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
        return 0
    if args.list:
        print(*listing(findings), "", sep="\n")
    print(*report(findings), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
