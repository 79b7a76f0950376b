"""``siamplex mds``: Figures 7 and 8 from any confusion or dissimilarity matrix."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from siamplex.errors import UsageError
from siamplex.output_names import ending, without
from siamplex.similarity.human import HUMAN_KINDS
from siamplex.similarity.matrices import WAYS

NAME = "mds"
HELP = "map a confusion or dissimilarity matrix (human forced choice, another model) to two dimensions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("matrix", type=Path, help="CSV: a header of names, then a row a name; or judged pictures")
    parser.add_argument("--kind", choices=HUMAN_KINDS, default="auto", help="what kind of matrix it is (auto)")
    parser.add_argument("--by", choices=WAYS, default="profile", help="how confusions become distances (profile)")
    parser.add_argument("--title", help="title of the figure (the file's name)")
    parser.add_argument("--source", default="", help="where the numbers are from; printed below the figure")
    parser.add_argument("--embedding", type=Path, metavar="NPZ", help="an embedding to hold the map against")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random starts (0)")
    parser.add_argument("--out", type=Path, help="stem of .png, .svg, .json (beside the matrix: NAME_mds)")


def _stem(args: argparse.Namespace) -> Path:
    if args.out:
        return without(args.out, ".png", ".svg", ".json")
    return ending(without(args.matrix, ".csv"), "_mds")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [args.matrix], [ending(_stem(args), s) for s in (".png", ".svg", ".json")]


def run(args: argparse.Namespace) -> None:
    """Scale, draw, write, print."""
    from siamplex.durable import write_text
    from siamplex.embedding import read_embedding
    from siamplex.figures_similarity import draw_maps
    from siamplex.similarity.human import read_human
    from siamplex.similarity.map_report import describe_maps
    from siamplex.similarity.mds import scale
    from siamplex.similarity.picture_report import PictureJudgements
    from siamplex.similarity.picture_table import PictureTable

    given = read_human(args.matrix, args.kind)
    embedding = read_embedding(args.embedding) if args.embedding else None
    if isinstance(given, PictureTable):
        if embedding is None:
            raise UsageError(f"{args.matrix}: judgements of pictures need --embedding, which says what each one shows")
        found = PictureJudgements.of(given, embedding, args.embedding).confusions(embedding)
        if found is None:
            raise UsageError(f"{args.matrix}: expected judged pictures of all six emotions for a map, found fewer")
        judgements = found
    else:
        judgements = given
    rdm = judgements.rdm(args.by)
    maps = [scale(rdm, metric, args.seed) for metric in (True, False)]
    result, text = describe_maps(judgements, rdm, maps, args.source, embedding)
    print(text)
    stem = _stem(args)
    write_text(ending(stem, ".json"), json.dumps(result, indent=1) + "\n")
    for path in draw_maps(maps, args.title or without(args.matrix, ".csv").name, args.source, stem):
        print(path)
