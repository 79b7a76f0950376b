"""How hard the faces of a folder are for AlexNet's conv3: the figures by which docs/recipe.md compares corpora.

    python tools/corpus_statistics.py FACES --weights weights/bvlc_alexnet.caffemodel

Prints which shares of the variance go with the person, with the emotion given the person, and with neither; and
the share of people not fitted whose emotion a linear discriminant tells right.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from siamplex.corpus_index import CorpusIndex, index_folder, index_table
from siamplex.errors import SiamplexError
from siamplex.faces.difficulty import shares, told_right
from siamplex.images import fit
from siamplex.pairs.build import SCALE
from siamplex.progress import say
from siamplex.weights import alexnet
from siamplex.weights.answers import conv3_rows

SIZE = 227  # pixels


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="folder of faces, or a table of them, as for siamplex index")
    parser.add_argument("--weights", type=Path, required=True, help="a file with AlexNet's conv1-3")
    parser.add_argument("--components", type=int, default=200, help="principal components (200; 100 for a small set)")
    parser.add_argument(alexnet.ACCEPT, action="store_true", help="take weights that are not AlexNet's")
    args = parser.parse_args()
    try:
        found = alexnet.load(args.weights, args.accept_other_weights)
        index: CorpusIndex = index_folder(args.faces) if args.faces.is_dir() else index_table(args.faces)
        pictures = np.stack([fit(image.picture(), SIZE).transpose(2, 0, 1) for image in index.entries])
    except SiamplexError as error:
        say(f"corpus_statistics: error: {error}")
        return error.exit_code
    rows = conv3_rows(found.arrays, pictures, SCALE)
    people, emotions = [i.subject for i in index.entries], [i.emotion for i in index.entries]
    split = shares(rows, people, emotions)
    print(f"{len(rows)} images of {len(set(people))} people; conv3 of {found.words}")
    print(f"variance: person {split.person:.1%}, emotion {split.emotion:.1%}, neither {split.neither:.1%}")
    print(f"squared length of a row: {float((rows**2).sum(axis=1).mean()):.4g}")
    print(f"told right of people not seen: {told_right(rows, people, emotions, args.components):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
