"""``siamplex figures``: Figures 3 to 6 and the loss curve."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "figures"
HELP = "draw Figures 3(a-d), 4, 5, 6 and the loss curve as PNG and SVG"
SKIPS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--stage1", type=Path, nargs="*", default=[], metavar="NPZ",
                        help="embeddings of stage 1, iterations rising: Figure 3's panels, then Figure 4")  # fmt: skip
    parser.add_argument("--stage2", type=Path, metavar="NPZ", help="fine-tuned embedding: Figures 5 and 6")
    parser.add_argument("--losses", type=Path, nargs="*", default=[], metavar="CSV",
                        help="losses.csv of each stage; the test.csv beside it has its validation losses")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("run/figures"), help="folder (run/figures)")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    inputs = [*args.stage1, *([args.stage2] if args.stage2 else []), *args.losses]
    return [*inputs, *(path for path in map(_tests, args.losses) if path.exists())], [args.out]


def _tests(losses: Path) -> Path:
    """The test.csv beside a losses.csv."""
    return losses.with_name(losses.name.removesuffix("losses.csv") + "test.csv")


def run(args: argparse.Namespace) -> None:
    """Draw what there is."""
    from siamplex.engine.training.early_stop import validation_losses
    from siamplex.engine.training.loss_log import read_losses
    from siamplex.errors import UsageError
    from siamplex.figures.embedding import draw_paper_figures
    from siamplex.geometry.embedding import read_embedding

    if not (args.stage1 or args.stage2 or args.losses):
        raise UsageError("give embeddings (--stage1, --stage2) or --losses to draw")
    labels = ("stage 1: conv1-3 frozen", "stage 2: everything learns", "further")
    drawn = draw_paper_figures(
        [read_embedding(path) for path in args.stage1],
        read_embedding(args.stage2) if args.stage2 else None,
        [(label, read_losses(path)) for label, path in zip(labels, args.losses, strict=False)],
        args.out,
        [validation_losses(_tests(path)) for path in args.losses],
    )
    for path in drawn:
        print(path)
