"""Fetch AlexNet's weights from the first address that has them, or take a file given by hand.

A file counts by its content: bvlc_alexnet.caffemodel, a conversion of it by the ONNX model zoo, or any
caffemodel, ONNX model or npz archive with AlexNet's fingerprint.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from siamplex.errors import SiamplexError
from siamplex.run.progress import say
from siamplex.weights import alexnet, download


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("weights") / alexnet.NAME)
    parser.add_argument("--file", type=Path, help="a file you have already, instead of the download")
    parser.add_argument("--url", action="append", help="an address to try; may be repeated (a list of public ones)")
    parser.add_argument(alexnet.ACCEPT, action="store_true", help="take weights that are not AlexNet's")
    args = parser.parse_args()
    try:
        if args.file:
            found = download.take(args.file, args.out, args.accept_other_weights)
        elif args.out.exists():
            found = alexnet.load(args.out, args.accept_other_weights)
        else:
            found = download.fetch(args.out, args.url or download.ADDRESSES, args.accept_other_weights, say)
    except SiamplexError as error:
        say(f"fetch_alexnet: error: {error}")
        return error.exit_code
    print(f"{args.out}: {found.words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
