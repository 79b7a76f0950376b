"""``siamplex seeds``: how often the paper's order appears."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from siamplex.commands.weights import add_source_arguments

NAME = "seeds"
HELP = "train stage 1 from several seeds and count how often the paper's circular order appears"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("run", type=Path, help="folder of the run to repeat")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="how many, counted from --first (5)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--solver", type=Path, help="solver of stage 1 (RUN/solvers/stage1_LAYOUT.prototxt)")
    parser.add_argument("--deploy", type=Path, help="the tower (RUN/prototxt/deploy.prototxt)")
    add_source_arguments(parser)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    parser.add_argument("--keep", action="store_true", help="keep each seed's weights, not its embedding alone")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [args.run / "pairs" / "pairs.json"], [args.run / "seeds"]


def run_folder(args: argparse.Namespace) -> Path:
    """The run that is repeated."""
    return Path(args.run)


def run(args: argparse.Namespace) -> None:
    """Train, embed, count, write."""
    from siamplex.errors import UsageError
    from siamplex.pairs.build import open_store
    from siamplex.run.durable import write_text
    from siamplex.run.record import check_run
    from siamplex.similarity.seeds import SeedPlan, as_text, describe_seeds, train_seed
    from siamplex.weights.start import start_from

    if args.seeds < 1:
        raise UsageError(f"--seeds: expected at least 1, found {args.seeds}")
    check_run(args.run)
    store = open_store(args.run / "pairs").store
    layout = store.options["layout"]
    plan = SeedPlan(
        run=args.run,
        solver=args.solver or args.run / "solvers" / f"stage1_{layout}.prototxt",
        deploy=args.deploy or args.run / "prototxt" / "deploy.prototxt",
        pairs=args.run / "pairs",
        weights=(args.run / "pairs" / str(store.table["path"]),) if store.table else (),
        alexnet=start_from(args.alexnet, args.alexnet_if_there, args.or_substitute, args.run / "pairs"),
        device=args.device,
        keep=args.keep,
        accept_other=args.accept_other_weights,
    )
    result = describe_seeds([train_seed(plan, seed) for seed in range(args.first, args.first + args.seeds)])
    text = as_text(result)
    print(text)
    write_text(args.run / "seeds" / "seeds.json", json.dumps(result, indent=1) + "\n")
    write_text(args.run / "seeds" / "seeds.txt", text + "\n")
