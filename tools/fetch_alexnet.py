"""Fetch bvlc_alexnet.caffemodel, or take a file given by hand, and verify its SHA-1."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from siamplex.errors import SiamplexError
from siamplex.weights import alexnet


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("weights/bvlc_alexnet.caffemodel"))
    parser.add_argument("--file", type=Path, help="a file you have already, instead of the download")
    parser.add_argument("--url", default=alexnet.URL)
    args = parser.parse_args()
    try:
        if args.file:
            alexnet.take(args.file, args.out)
        elif args.out.exists():
            alexnet.verify(args.out)
        else:
            alexnet.fetch(args.out, args.url)
    except SiamplexError as error:
        print(f"fetch_alexnet: error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{args.out}: bvlc_alexnet.caffemodel, SHA-1 {alexnet.SHA1}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
