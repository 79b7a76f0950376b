"""``siamplex prototxt``: write nets and solvers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from siamplex.nets.generate import NetOptions

NAME = "prototxt"
HELP = "write train_val nets of both stages and layouts, the deploy net and the solvers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    paper = parser.add_argument_group("what the paper states")
    paper.add_argument("--base-lr", type=float, default=1e-4, help="learning rate (0.0001)")
    paper.add_argument("--stepsize", type=int, default=5000, help="iterations to a step of the rate (5000)")
    paper.add_argument("--iterations", type=int, default=5000, help="iterations of stage 1 (5000)")
    paper.add_argument("--margin", type=float, default=1.0, help="margin of the contrastive loss (1)")
    paper.add_argument("--embedding", type=int, default=2, help="units of fc6 (2)")
    open_ = parser.add_argument_group("what the paper leaves open")
    open_.add_argument("--stage2-iterations", type=int, help="iterations of stage 2 (as stage 1)")
    open_.add_argument("--stage2-base-lr", type=float, help="learning rate of stage 2 (as stage 1)")
    open_.add_argument("--batch-size", type=int, default=256, help="pairs a batch in stage 1 (256)")
    open_.add_argument("--stage2-batch-size", type=int, default=256, help="pairs a batch in stage 2 (256)")
    open_.add_argument("--new-lr-mult", type=float, default=1.0, metavar="X",
                       help="lr_mult of the new layers fc4-6, twice that for their biases (1)")  # fmt: skip
    open_.add_argument("--gamma", type=float, default=0.1, help="factor of a step of the rate (0.1)")
    open_.add_argument("--momentum", type=float, default=0.9, help="momentum (0.9)")
    open_.add_argument("--weight-decay", type=float, default=5e-4, help="weight decay (0.0005)")
    open_.add_argument("--dropout", type=float, default=0.5, help="dropout after fc4 and fc5 (0.5)")
    open_.add_argument(
        "--conv2-group", type=int, default=2, help="groups of conv2: 2 as AlexNet (5x5x48), 1 for 5x5x96 (2)"
    )
    open_.add_argument("--pool3", action="store_true", help="a pooling after conv3")
    scale = parser.add_argument_group("runs at a reduced size")
    scale.add_argument("--size", type=int, help="pixels each way (227, or as the pair store)")
    scale.add_argument("--width", type=float, default=1.0, help="factor on channels and units (1)")
    run_ = parser.add_argument_group("the run")
    run_.add_argument("--pairs", type=Path, help="pair store to take image count, size and mean from")
    run_.add_argument("--images", type=int, default=504, help="rows of the image table, without --pairs (504)")
    run_.add_argument("--run", default="run", help="folder of the run, as the nets name it (run)")
    run_.add_argument("--nets", default="prototxt", help="folder for the nets (prototxt)")
    run_.add_argument("--solvers", default="solvers", help="folder for the solvers (solvers)")
    run_.add_argument("--display", type=int, default=20, help="iterations between displayed losses (20)")
    run_.add_argument("--snapshot", type=int, default=1000, help="iterations between snapshots (1000)")
    run_.add_argument("--test-interval", type=int, default=250, help="iterations between tests (250)")
    run_.add_argument("--test-iter", type=int,
                      help="batches of 128 pairs a test (the whole validation split; 10 without --pairs)")  # fmt: skip
    run_.add_argument("--seed", type=int, default=1, help="random_seed (1)")
    run_.add_argument("--device", default="cpu", help="cpu or cuda: solver_mode for Caffe (cpu)")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    nets, solvers = Path(args.nets), Path(args.solvers)
    written = [*sorted(nets.glob("*.prototxt")), *sorted(solvers.glob("stage*.prototxt"))]
    return [args.pairs / "pairs.json"] if args.pairs else [], written


def run_folder(args: argparse.Namespace) -> Path | None:
    """The folder of the run, once there is something in it."""
    folder = Path(args.run)
    return folder if folder.is_dir() else None


def run(args: argparse.Namespace) -> None:
    """Write the files that differ from what is there."""
    from siamplex.nets.generate import RunLayout, generate, write
    from siamplex.pairs.build import MEAN_BGR, SCALE, open_store

    images, size, mean, scale, has_val = args.images, args.size or 227, MEAN_BGR, SCALE, True
    val_pairs = 0
    if args.pairs:
        opened = open_store(args.pairs)
        store = opened.store
        images, size = store.images, int(store.options["size"])
        b, g, r = store.options["mean"]
        mean, scale, has_val = (b, g, r), opened.scale, "val" in store.lmdbs
        val_pairs = int(store.lmdbs["val"]["pairs"]) if has_val else 0
    options = options_of(args, images, size, val_pairs, mean, scale)
    where = RunLayout(run=args.run, prototxt=args.nets, solvers=args.solvers, has_val=has_val)
    texts = generate(options, where)
    written = write(texts)
    print(f"prototxt: {len(written)} of {len(texts)} files written, the others were as they should be")


def options_of(
    args: argparse.Namespace,
    images: int,
    size: int,
    val_pairs: int,
    mean: tuple[float, float, float],
    scale: float,
) -> NetOptions:
    """The net and solver options for a store of ``images``; ``val_pairs`` 0: not known.  Raises UsageError."""
    from siamplex.nets.architecture import Architecture
    from siamplex.nets.generate import TEST_BATCH, NetOptions, whole_split
    from siamplex.nets.solver import SolverOptions

    test_iter, test_batch = args.test_iter or 10, TEST_BATCH
    if val_pairs and not args.test_iter:
        test_iter, test_batch = whole_split(val_pairs)

    def solver(base_lr: float, iterations: int) -> SolverOptions:
        return SolverOptions(
            base_lr=base_lr,
            stepsize=args.stepsize,
            gamma=args.gamma,
            momentum=args.momentum,
            weight_decay=args.weight_decay,
            max_iter=iterations,
            display=args.display,
            snapshot=args.snapshot,
            test_interval=args.test_interval,
            test_iter=test_iter,
            seed=args.seed,
            device=args.device,
        )

    return NetOptions(
        arch=Architecture(
            size=size,
            width=args.width,
            conv2_group=args.conv2_group,
            pool3=args.pool3,
            dropout=args.dropout,
            margin=args.margin,
            embedding=args.embedding,
            new_lr_mult=args.new_lr_mult,
        ),
        stage1=solver(args.base_lr, args.iterations),
        stage2=solver(args.stage2_base_lr or args.base_lr, args.stage2_iterations or args.iterations),
        batch_size=args.batch_size,
        stage2_batch_size=args.stage2_batch_size,
        test_batch_size=test_batch,
        images=images,
        mean=mean,
        scale=scale,
    )
