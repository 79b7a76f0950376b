"""Drawing a net as a graph: in graphviz's dot language, and as SVG where graphviz is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from siamplex.engine.net.costs import LayerCost, NetCost
from siamplex.errors import UsageError
from siamplex.run.durable import write_text

_SECONDS = 120.0
_COLOURS = {
    "Convolution": "#cfe3f7", "Deconvolution": "#cfe3f7", "InnerProduct": "#d8cff7", "Pooling": "#f7dfcf",
    "Data": "#e3e3e3", "Input": "#e3e3e3",
}  # fmt: skip
_LOSS = "#f7cfd3"


def as_dot(cost: NetCost) -> str:
    """The net as a digraph: a box for each layer, an arrow for each blob with its shape.

    An in-place layer is drawn after the layer whose top it overwrites.
    """
    lines = [f"digraph {_quoted(f'{cost.name} {cost.phase}'.strip())} {{"]
    lines += ["  rankdir=TB;", '  node [shape=box, style="filled,rounded", fontname=Helvetica, fontsize=11];']
    lines += ["  edge [fontname=Helvetica, fontsize=9];"]
    lines += [*_boxes(cost), *_arrows(cost), "}"]
    return "\n".join(lines) + "\n"


def _boxes(cost: NetCost) -> Iterator[str]:
    for number, layer in enumerate(cost.layers):
        words = [layer.name, layer.type]
        if layer.parameters:
            words.append(f"{layer.parameters:,} parameters")
        if layer.shared_with:
            words.append(f"shares those of {', '.join(layer.shared_with)}")
        colour = _LOSS if "Loss" in layer.type else _COLOURS.get(layer.type, "#ffffff")
        label = _quoted("\n".join(words))
        yield f"  n{number} [label={label}, fillcolor={_quoted(colour)}];"


def _arrows(cost: NetCost) -> Iterator[str]:
    writer: dict[str, tuple[int, LayerCost]] = {}
    for number, layer in enumerate(cost.layers):
        for bottom in layer.bottoms:
            if bottom in writer:
                at, source = writer[bottom]
                shape = " x ".join(map(str, dict(source.tops).get(bottom, ()))) or "one value"
                label = _quoted(f"{bottom}\n{shape}")
                yield f"  n{at} -> n{number} [label={label}];"
        writer.update({name: (number, layer) for name, _ in layer.tops})


def _quoted(text: str) -> str:
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def write_svg(path: Path, dot: str) -> None:
    """Draw with graphviz.  Raises UsageError where graphviz is missing or fails."""
    program = shutil.which("dot")
    if program is None:
        raise UsageError(
            f"--svg {path}: expected graphviz's dot on the PATH, found none (apt install graphviz; --dot FILE writes "
            "what it reads)"
        )
    try:
        run = subprocess.run([program, "-Tsvg"], input=dot.encode(), capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--svg {path}: {program} does not draw: {error}") from None
    if run.returncode or b"<svg" not in run.stdout:
        said = " ".join(run.stderr.decode("utf-8", "replace").split())[:200] or "no picture"
        raise UsageError(f"--svg {path}: {program} does not draw (exit code {run.returncode}): {said}")
    write_text(path, run.stdout.decode("utf-8", "replace"))
