"""``siamplex similarity``: the similarity structure of an embedding and of the layers below it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from siamplex.errors import InputError
from siamplex.output_names import ending, without
from siamplex.similarity.human import HUMAN_KINDS, PICTURES
from siamplex.similarity.matrices import WAYS
from siamplex.similarity.neighbours import NEIGHBOURS

NAME = "similarity"
HELP = "dissimilarities of emotions by layer, against people's, action units and the circle, with intervals"
SKIPS = True
_LAYERS = "pool1,pool2,conv3,fc4,fc5,fc6"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("embedding", type=Path, help="npz from siamplex extract")
    parser.add_argument(
        "--human", type=Path, metavar="CSV", help="people's matrix of emotions, or table of judged pictures"
    )
    parser.add_argument(
        "--kind", choices=HUMAN_KINDS, default="auto", help="what kind of matrix or table that is (auto)"
    )
    parser.add_argument("--by", choices=WAYS, default="profile", help="how confusions become distances (profile)")
    parser.add_argument("--neighbours", type=_count, default=NEIGHBOURS, metavar="K",
                        help=f"pictures that confusions are predicted from ({NEIGHBOURS})")  # fmt: skip
    parser.add_argument("--weights", type=Path, help="caffemodel: look at the layers below the embedding too")
    parser.add_argument("--layers", default=_LAYERS, metavar="A,B,...", help=f"which ones ({_LAYERS})")
    parser.add_argument("--deploy", type=Path, default=Path("prototxt/deploy.prototxt"), help="the tower")
    parser.add_argument("--pairs", type=Path, default=Path("run/pairs"), help="pair store (run/pairs)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling (0)")
    parser.add_argument("--out", type=Path, help="JSON to write; .txt, .csv and figures go beside it")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f"expected a number of pictures, found {text}")
    return int(text)


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    inputs = [args.embedding, *([args.human] if args.human else [])]
    if args.weights:
        inputs += [args.weights, args.deploy, args.pairs / "pairs.json"]
    if not args.out:
        return inputs, []
    stem = without(args.out, ".json")
    outputs = [ending(stem, s) for s in (".json", ".txt", ".csv", ".png", ".svg")]
    if _of_pictures(args):
        from siamplex.figures_judgements import ENDINGS

        outputs += [ending(stem, f"{e}{s}") for e in ENDINGS for s in (".png", ".svg")]
        outputs.append(ending(stem, "_pictures.csv"))
    return inputs, outputs


def _of_pictures(args: argparse.Namespace) -> bool:
    """Whether people judged single pictures; what cannot be read is refused later, by :func:`run`."""
    from siamplex.similarity.picture_table import is_picture_table

    if not args.human or args.kind not in ("auto", PICTURES):
        return False
    try:
        return args.kind == PICTURES or is_picture_table(args.human)
    except InputError:
        return False


def run(args: argparse.Namespace) -> None:
    """Compute, print, and write when asked."""
    from siamplex.durable import write_text
    from siamplex.embedding import read_embedding
    from siamplex.pairs.build import open_store
    from siamplex.similarity.human import read_human
    from siamplex.similarity.patterns import of_layers
    from siamplex.similarity.picture_report import PictureJudgements, as_table
    from siamplex.similarity.picture_table import PictureTable
    from siamplex.similarity.report import as_text, describe

    embedding = read_embedding(args.embedding)
    human = read_human(args.human, args.kind) if args.human else None
    pictures = None
    if isinstance(human, PictureTable):
        pictures, human = PictureJudgements.of(human, embedding, args.embedding, args.pairs, args.neighbours), None
    layers = []
    if args.weights:
        chosen = [name for name in args.layers.split(",") if name]
        layers = of_layers(open_store(args.pairs), args.pairs, args.deploy, args.weights, chosen, args.device)
    result = describe(embedding, layers, human, args.by, args.seed, pictures)
    text = as_text(result)
    print(text)
    if args.out:
        from siamplex.figures_similarity import draw_rdms

        stem = without(args.out, ".json")
        write_text(ending(stem, ".json"), json.dumps(result, indent=1) + "\n")
        write_text(ending(stem, ".txt"), text + "\n")
        write_text(ending(stem, ".csv"), _table(result))
        draw_rdms(result, stem)
        if pictures is not None:
            from siamplex.figures_judgements import draw_judgements

            found = {name: part["pictures"] for name, part in result["parts"].items()}
            write_text(ending(stem, "_pictures.csv"), as_table(found))
            draw_judgements(result, embedding, pictures, args.seed, stem)


def _table(result: dict[str, object]) -> str:
    """All dissimilarities, a line each: part, layer, method, first, second, dissimilarity."""
    lines = ["part,layer,method,first,second,dissimilarity"]
    parts = result["parts"]
    assert isinstance(parts, dict)
    for part, content in parts.items():
        for layer, rdm in content["rdms"].items():
            for i, first in enumerate(rdm["names"]):
                for j in range(i + 1, len(rdm["names"])):
                    second, value = rdm["names"][j], rdm["values"][i][j]
                    lines.append(f"{part},{layer},{rdm['method']},{first},{second},{value:.9g}")
    return "\n".join(lines) + "\n"
