"""``siamplex extract``: the embedding of every image under a snapshot."""

from __future__ import annotations

import argparse
from pathlib import Path

from siamplex.run.output_names import ending, without

NAME = "extract"
HELP = "write fc6 activations of all images (npz and CSV) for a snapshot"
SKIPS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--weights", type=Path, required=True, help="caffemodel")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .npz (and .csv beside it)")
    parser.add_argument("--deploy", type=Path, default=Path("prototxt/deploy.prototxt"), help="the tower")
    parser.add_argument("--pairs", type=Path, default=Path("run/pairs"), help="pair store (run/pairs)")
    parser.add_argument("--blob", default="fc6", help="blob to take (fc6)")
    parser.add_argument("--batch-size", type=int, default=16, help="images at a time (16)")
    parser.add_argument("--engine", choices=("torch", "caffe"), default="torch", help="(torch)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [args.weights, args.deploy, args.pairs / "pairs.json"], [args.out, ending(without(args.out, ".npz"), ".csv")]


def run(args: argparse.Namespace) -> None:
    """Embed and write."""
    from siamplex.errors import UsageError
    from siamplex.geometry.embedding import write_embedding
    from siamplex.geometry.extraction import embed
    from siamplex.pairs.build import open_store

    if args.out.suffix != ".npz":
        raise UsageError(f"--out: expected a name ending in .npz, found '{args.out}'")
    if args.batch_size < 1:
        raise UsageError(f"--batch-size: expected at least 1, found {args.batch_size}")
    store = open_store(args.pairs)
    embedding = embed(
        store, args.pairs, args.deploy, args.weights, args.blob, args.batch_size, args.device, args.engine
    )
    write_embedding(embedding, without(args.out, ".npz"))
    print(f"{args.out}: {len(embedding)} images; {'; '.join(embedding.facts['notes'])}")
