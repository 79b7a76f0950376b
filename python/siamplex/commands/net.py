"""``siamplex net``: the layers of a net, their shapes and what they cost."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamplex.errors import PrototxtError, UsageError, printable
from siamplex.run.progress import say

if TYPE_CHECKING:
    from siamplex.engine.net.costs import NetCost
    from siamplex.engine.net.layer import Shape
    from siamplex.schema.bounds import Bounds
    from siamplex.schema.prototxt import Prototxt

NAME = "net"
HELP = "list a net's layers: shapes, parameters, multiply-adds, memory; draw it"
PHASES = ("TRAIN", "TEST")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("file", type=Path, help="a net's prototxt, or a solver's (its net is listed)")
    parser.add_argument("--phase", choices=PHASES, help="one phase alone (both, where they differ)")
    parser.add_argument("--level", type=int, default=0, help="level of the state, for include and exclude rules (0)")
    parser.add_argument("--stage", action="append", default=[], help="a stage of the state; may be given several times")
    parser.add_argument("--input", action="append", default=[], metavar="BLOB=N,C,H,W",
                        help="shape of an input, or of what a missing database would give; several times")  # fmt: skip
    parser.add_argument("--allow-outside", action="store_true", help="look for what the net names anywhere")
    parser.add_argument("--dot", type=Path, metavar="OUT", help="write the net as a graph for graphviz")
    parser.add_argument("--svg", type=Path, metavar="OUT", help="draw it (graphviz's dot must be there)")


def run(args: argparse.Namespace) -> None:
    """Print the table; write the drawings asked for."""
    from siamplex.engine.net.drawing import as_dot, write_svg
    from siamplex.schema import messages
    from siamplex.schema.bounds import Bounds
    from siamplex.schema.prototxt import ANYWHERE

    given = dict(map(_shape, args.input))
    state = messages.NetState(level=args.level, stage=args.stage)
    costs = _costs(args.file, [args.phase] if args.phase else list(PHASES), state, given,
                   ANYWHERE if args.allow_outside else Bounds.of(args.file))  # fmt: skip
    if len(costs) == 2 and costs[0].layers == costs[1].layers:
        print(*_table(costs[0], "TRAIN and TEST alike", costs[1]), sep="\n")
        costs = costs[:1]
    else:
        for number, cost in enumerate(costs):
            print(*([""] if number else []), *_table(cost, cost.phase), sep="\n")
    if args.dot:
        from siamplex.run.durable import write_text

        write_text(args.dot, as_dot(costs[0]))
    if args.svg:
        write_svg(args.svg, as_dot(costs[0]))
    if (args.dot or args.svg) and len(costs) > 1:
        say(f"net: drawn in phase {costs[0].phase} (--phase TEST draws the other)")


def _shape(text: str) -> tuple[str, Shape]:
    blob, _, sizes = text.rpartition("=")
    parts = sizes.split(",")
    if not blob or not all(part.strip().isdigit() for part in parts):
        raise UsageError(f"--input: expected BLOB=N,C,H,W, found '{text}'")
    return blob, tuple(int(part) for part in parts)


def _costs(file: Path, phases: Sequence[str], state: Any, given: dict[str, Shape], bounds: Bounds) -> list[NetCost]:
    """The costs of the net in each phase; missing files it reads are reported once."""
    from siamplex.engine.net.costs import cost_of
    from siamplex.engine.net.outline import outline, sources_named

    costs: list[NetCost] = []
    said: list[str] = []
    fault: PrototxtError | None = None
    for phase, source, message, path, extra in _nets(file, phases, state, bounds):
        unknown = next((blob for blob in given if not any(blob in layer.top for layer in message.layer)), None)
        if unknown is not None:
            what = f"{source.path} has no layer with that top; where none gives it, the net needs"
            raise UsageError(f'--input {unknown}: {what} input: "{unknown}" and input_shape {{ dim: ... }}')
        try:
            here = _of_phase(given, message, phase, extra)
            found = outline(source, phase, message=message, path=path, state=extra, given=here)
        except PrototxtError as error:
            if len(phases) == 1 or fault or (not costs and phase == phases[-1]):
                raise fault or error from None
            fault = error  # a net may be meant for one phase alone
            continue
        said += [line for line in sources_named(source.path, found) if line not in said]
        costs.append(cost_of(found.net, found.types))
    for line in said:
        say(f"net: {line}")
    if fault:
        say(f"net: left out, as it does not build in that phase: {fault}")
    return costs


def _of_phase(given: dict[str, Shape], message: Any, phase: str, state: Any) -> dict[str, Shape]:
    """Given shapes of blobs that the net has in this phase."""
    from siamplex.engine.net.phase import included, net_state

    full = net_state(phase, message.state, state)
    tops = {str(top) for layer in message.layer if included(layer, full) for top in layer.top}
    return {blob: shape for blob, shape in given.items() if blob in tops}


def _nets(
    file: Path, phases: Sequence[str], state: Any, bounds: Bounds
) -> Iterator[tuple[str, Prototxt, Any, tuple[str | int, ...], Any]]:
    """For each phase: its file, the net's message and its path there, and the state."""
    from siamplex.engine.training.solver_file import nets_named
    from siamplex.schema import messages, prototxt
    from siamplex.schema.file_kinds import SOLVER, kind_of

    kind = kind_of(file)
    if kind is None or kind.name != SOLVER:
        source = prototxt.read(file, "NetParameter", bounds)
        for phase in phases:
            yield phase, source, source.message, (), state
        return
    solver = prototxt.read(file, "SolverParameter", bounds)
    for phase, net in nets_named(solver):
        if phase in phases:
            say(f"net: {file} is a solver; phase {phase} is of {net.source.path}")
            full = messages.NetState()
            if net.state is not None:
                full.MergeFrom(net.state)
            full.MergeFrom(state)
            yield phase, net.source, net.message, net.path, full


def _table(cost: NetCost, phase: str, other: NetCost | None = None) -> Iterator[str]:
    """Lines of the table: a layer each, further tops below it, the totals.

    ``other`` is the same net in the other phase, where only what it holds in all differs.
    """
    rows: list[tuple[str, ...]] = [("layer", "type", "top", "shape", "parameters", "multiply-adds", "memory")]
    for layer in cost.layers:
        tops: tuple[tuple[str, Shape | None], ...] = layer.tops or (
            ("(loss)", ()) if layer.unnamed_loss else ("", None),
        )
        parameters = f"{layer.parameters:,}" if layer.parameters else ""
        if layer.shared_with:
            parameters = f"{parameters} + {layer.shared_with[0]}'s" if parameters else f"{layer.shared_with[0]}'s"
        for number, (top, shape) in enumerate(tops):
            own = "in place" if top in layer.bottoms else ""
            sizes = "" if shape is None else " x ".join(map(str, shape)) or "one value"
            if number:
                rows.append(("", "", top, sizes, "", "", ""))
                continue
            adds = f"{layer.multiply_adds:,}" if layer.multiply_adds else ""
            rows.append((layer.name, layer.type, top, sizes, parameters, adds,
                         own or (_bytes(layer.memory) if top else "")))  # fmt: skip
    rows.append(("total", "", "", "", f"{cost.parameters:,}", f"{cost.multiply_adds:,}", _bytes(cost.memory)))
    yield printable(f"{cost.name or '(without a name)'}, {phase}")
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        pairs = enumerate(zip(row, widths, strict=True))
        cells = [cell.rjust(width) if i > 3 else cell.ljust(width) for i, (cell, width) in pairs]
        yield printable("  ".join(cells).rstrip())
    held = "blobs, parameters"
    if cost.phase == "TRAIN":
        held = "blobs and parameters with their gradients, momentum"
    if other is not None:
        held += f" ({_bytes(other.memory)} in phase {other.phase}, without gradients)"
    frozen = cost.parameters - cost.learned
    yield f"total memory: {held}; multiply-adds of one forward pass" + (f"; {frozen:,} parameters never learn" if
                                                                       frozen else "")  # fmt: skip


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
