"""The pair store of a run: split, tables, LMDBs, image table, and pairs.json that describes them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siamplex.corpus_index import CorpusIndex, read_index, write_index
from siamplex.durable import discard, sha256, write_text
from siamplex.errors import InputError
from siamplex.images import fit
from siamplex.pairs.pairing import Pairs, all_pairs
from siamplex.pairs.split import SPLITS, draw_split, read_split, write_split
from siamplex.pairs.store import LAYOUTS, stacked_bytes, write_indexed, write_stacked, write_table
from siamplex.pairs.table import format_table, pair_counts, table_csv
from siamplex.progress import say, track
from siamplex.schema.file_kinds import STORE
from siamplex.schema.instead import instead
from siamplex.schema.json_files import read_object

MEAN_BGR = (104.0, 117.0, 123.0)  # ImageNet's, as Caffe's AlexNet users take it
SCALE = 1 / 256  # as BVLC's own siamese example has it; docs/recipe.md says what other scales do
MAX_SIZE = 4096  # pixels each way
_FORMAT = 1


@dataclass(frozen=True)
class PairOptions:
    """How pairs are made; ``fractions`` are of subjects, ``size`` is in pixels.

    A net sees (pixel - mean) * scale, in that order, as Caffe's transform_param has it.
    """

    layout: str = "indexed"
    size: int = 227
    resize: str = "stretch"
    mean: tuple[float, float, float] = MEAN_BGR
    scale: float = SCALE
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    balance: bool = False
    seed: int = 1


@dataclass
class PairStore:
    """What pairs.json says of a pair store."""

    options: dict[str, Any]
    images: int
    synthetic: bool
    lmdbs: dict[str, dict[str, Any]]
    table: dict[str, Any] | None
    label: str = "1 = same emotion (Caffe's ContrastiveLoss; the paper's Y is the reverse)"
    format: int = field(default=_FORMAT)


def pair_up(
    index: CorpusIndex, options: PairOptions, split_file: Path | None = None, named: Path | None = None
) -> tuple[dict[str, str], dict[str, Pairs]]:
    """The split of each subject, and the pairs of each split; nothing is read but ``split_file``.

    Raises InputError (naming ``split_file`` or ``named``) or UsageError where no store can come of them.
    """
    source = split_file or named or Path("pairs")
    if split_file:
        split = read_split(split_file, index)
    else:
        split = draw_split(index.subjects, options.fractions, options.seed)
    emotions = [entry.emotion for entry in index.entries]
    names = [name for name in SPLITS if name in split.values()]
    pairs = {
        name: all_pairs(
            [i for i, e in enumerate(index.entries) if split[e.subject] == name],
            emotions,
            options.seed,
            name,
            options.balance,
        )
        for name in names
    }
    for name, found in pairs.items():
        if not len(found):
            raise InputError(source, f"at least two images in the {name} split", "fewer: no pair")
    if "train" in pairs and len(set(pairs["train"].same.tolist())) < 2:
        kind = "one emotion: all pairs are the same" if pairs["train"].same.all() else "no emotion twice: none is"
        raise InputError(source, "same and different pairs to train on", f"images of {kind}")
    return split, pairs


def build_pairs(index: CorpusIndex, folder: Path, options: PairOptions, split_file: Path | None = None) -> PairStore:
    """Write a pair store into ``folder``.  Raises InputError, UsageError or StorageError."""
    split, pairs = pair_up(index, options, split_file, folder)
    emotions = [entry.emotion for entry in index.entries]
    tables = {
        "all": pair_counts(all_pairs(range(len(index)), emotions, options.seed, "all"), emotions),
        **{name: pair_counts(found, emotions) for name, found in pairs.items()},
    }
    if options.layout == "stacked":
        total = sum(stacked_bytes(len(p), options.size) for p in pairs.values())
        say(f"stacked pairs will take {total / 1e9:.1f} GB on disk")
    images = load_images(index, options.size, options.resize)
    # the old description goes first: what it describes is about to change
    folder.mkdir(parents=True, exist_ok=True)
    discard(folder / "pairs.json")
    lmdbs = {}
    for name, found in pairs.items():
        target = folder / f"{name}_{options.layout}_lmdb"
        if options.layout == "stacked":
            stored = write_stacked(target, found, images)
        else:
            stored = write_indexed(target, found)
        lmdbs[name] = {"path": target.name, "pairs": stored.records, "bytes": stored.bytes}
        lmdbs[name]["same"] = int(found.same.sum())
    table = None
    if options.layout == "indexed":
        written = write_table(folder / "images.caffemodel", images, options.mean, options.scale)
        table = {"path": "images.caffemodel", "bytes": written.size, "sha256": written.sha256}
    write_split(split, folder / "split.csv")
    write_index(index, folder / "index.csv")
    text = "\n\n".join(
        format_table(counts, f"Pairs by emotion, {'all images' if name == 'all' else name + ' split'}")
        for name, counts in tables.items()
    )
    write_text(folder / "table1.txt", text + "\n")
    write_text(folder / "table1.csv", table_csv(tables))
    store = PairStore(asdict(options), len(index), index.synthetic, lmdbs, table)
    write_text(folder / "pairs.json", json.dumps(asdict(store), indent=1) + "\n")
    print(text)
    return store


def load_images(index: CorpusIndex, size: int, resize: str) -> npt.NDArray[np.uint8]:
    """All images of an index as (N, 3, size, size) BGR bytes.

    Raises InputError where a file is gone, unreadable, or not the one that was indexed.
    """
    images = np.empty((len(index), 3, size, size), np.uint8)
    for i, entry in enumerate(track(index.entries, "read images", len(index))):
        if sha256(entry.path) != entry.sha256:
            raise InputError(entry.path, "the file that was indexed", "other content (index it again)")
        images[i] = fit(entry.picture(), size, resize).transpose(2, 0, 1)
    return images


@dataclass(frozen=True)
class OpenedStore:
    """A pair store as later steps read it: description, index, and each subject's split."""

    store: PairStore
    index: CorpusIndex
    split: dict[str, str]

    @property
    def mean(self) -> Sequence[float]:
        """Mean subtracted from B, G and R."""
        return tuple(self.store.options["mean"])

    @property
    def scale(self) -> float:
        """What pixels less the mean are multiplied with; stores of before this option have 1."""
        return float(self.store.options.get("scale", 1.0))


def _check_store(store: PairStore) -> None:
    """Raise ValueError, TypeError or KeyError where a description is not one; its files lie in its folder."""
    options = store.options
    if options["layout"] not in LAYOUTS or not 1 <= int(options["size"]) <= MAX_SIZE or len(options["mean"]) != 3:
        raise ValueError(f"options {options}")
    if not 0 < float(options.get("scale", 1.0)) < math.inf:
        raise ValueError(f"scale {options['scale']}")
    for part in (*store.lmdbs.values(), *([store.table] if store.table else [])):
        if not isinstance(part["path"], str) or Path(part["path"]).name != part["path"] or "\0" in part["path"]:
            raise ValueError(f"path {part['path']!r}, not a name in its folder")


def open_store(folder: Path) -> OpenedStore:
    """Read a pair store's description.  Raises InputError."""
    path = folder / "pairs.json"
    if folder.exists() and not path.is_file():
        raise InputError(folder, "a pair store (siamplex pairs)", instead(folder, STORE, "no pairs.json in it"))
    content = read_object(path, "a pair store (siamplex pairs)")
    if content.get("format") != _FORMAT:
        raise InputError(path, f"a pair store of format {_FORMAT}", str(content.get("format")))
    try:
        store = PairStore(**content)
        _check_store(store)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(path, "a description of a pair store", str(error)) from None
    index = read_index(folder / "index.csv")
    return OpenedStore(store, index, read_split(folder / "split.csv", index))
