"""Builds the pair store of a run: split, tables, LMDBs, image table, and pairs.json that describes them."""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siamplex.corpus.images import fit
from siamplex.corpus.index import CorpusIndex, read_index, write_index
from siamplex.errors import InputError, UsageError
from siamplex.pairs.drawing import apportion, draw_pairs, least, same_and_different, suffices, total
from siamplex.pairs.forecast import forecast
from siamplex.pairs.pairing import Pairs, all_pairs
from siamplex.pairs.split import SPLITS, draw_split, read_split, write_split
from siamplex.pairs.store import LAYOUTS, write_indexed, write_stacked, write_table
from siamplex.pairs.table import format_table, full_counts, pair_counts, table_csv
from siamplex.run.durable import discard, require_room, sha256, write_text
from siamplex.run.progress import say, track
from siamplex.schema.file_kinds import STORE
from siamplex.schema.instead import instead
from siamplex.schema.json_files import read_object

MEAN_BGR = (104.0, 117.0, 123.0)  # ImageNet's, as Caffe's AlexNet users take it
SCALE = 1 / 256  # as BVLC's own siamese example has it; docs/recipe.md says what other scales do
MAX_SIZE = 4096  # pixels each way
_FORMAT = 1
_TABLE = "images.caffemodel"
_BLOCK = 32  # images read before they are written
_IN_MEMORY = 1 << 30  # bytes of images that are held at once


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
    count: int | None = None  # pairs drawn of all splits together; None: all there are


@dataclass
class PairStore:
    """The content of a pair store's pairs.json."""

    options: dict[str, Any]
    images: int
    synthetic: bool
    lmdbs: dict[str, dict[str, Any]]
    table: dict[str, Any] | None
    label: str = "1 = same emotion (Caffe's ContrastiveLoss; the paper's Y is the reverse)"
    format: int = field(default=_FORMAT)


def count_up(
    index: CorpusIndex, options: PairOptions, split_file: Path | None = None, named: Path | None = None
) -> tuple[dict[str, str], dict[str, int]]:
    """The split of each subject, and how many pairs each split will have; nothing is read but ``split_file``.

    Raises InputError (naming ``split_file`` or ``named``) or UsageError where no store can be made of them.
    """
    source = split_file or named or Path("pairs")
    if split_file:
        split = read_split(split_file, index)
    else:
        split = draw_split(index.subjects, options.fractions, options.seed)
    sizes = {name: Counter(e.emotion for e in index.entries if split[e.subject] == name) for name in SPLITS}
    sizes = {name: found for name, found in sizes.items() if found}
    for name, found in sizes.items():
        if sum(found.values()) < 2:
            raise InputError(source, f"at least two images in the {name} split", "fewer: no pair")
    if "train" in sizes and 0 in (kinds := same_and_different(sizes["train"])):
        kind = "one emotion: all pairs are the same" if not kinds[1] else "no emotion twice: none is"
        raise InputError(source, "same and different pairs to train on", f"images of {kind}")
    counts = {name: total(found, options.balance) for name, found in sizes.items()}
    for name, number in counts.items():
        if not number:
            raise InputError(source, f"same and different pairs in the {name} split (--balance)", "one kind alone")
    if options.count is not None and options.count < sum(counts.values()):
        counts = _shared(options.count, counts, {n: least(s, options.balance) for n, s in sizes.items()})
        for name, number in counts.items():
            if not suffices(number, sizes[name], options.balance):  # by how shares are rounded
                raise UsageError(f"--pairs: expected a number by which every image of the {name} split is in a pair, "
                                 f"found {options.count:,} (a few more will do)")  # fmt: skip
    return split, counts


def _shared(count: int, totals: dict[str, int], fewest: dict[str, int]) -> dict[str, int]:
    """``count`` pairs shared among the splits as all pairs are, but so many that each image can be in one."""
    if count < sum(fewest.values()):
        needed = sum(fewest.values())
        raise UsageError(f"--pairs: expected at least {needed:,}, in which every image can be, found {count:,}")
    shares = dict(zip(totals, apportion(count, list(totals.values())), strict=True))
    for name in totals:
        shares[name] = max(shares[name], fewest[name])
    while (over := sum(shares.values()) - count) > 0:  # taken back where there is most to spare
        name = max(shares, key=lambda n: shares[n] - fewest[n])
        shares[name] -= min(over, shares[name] - fewest[name])
    return shares


def pair_up(index: CorpusIndex, options: PairOptions, split: dict[str, str], counts: dict[str, int]) -> Iterator[
    tuple[str, Pairs]
]:  # fmt: skip
    """The pairs of each split, one split at a time, as :func:`count_up` has counted them."""
    emotions = [entry.emotion for entry in index.entries]
    for name, count in counts.items():
        members = [i for i, e in enumerate(index.entries) if split[e.subject] == name]
        if count < total(Counter(emotions[i] for i in members), options.balance):
            yield name, draw_pairs(members, emotions, count, options.seed, name, options.balance)
        else:
            yield name, all_pairs(members, emotions, options.seed, name, options.balance)


def build_pairs(index: CorpusIndex, folder: Path, options: PairOptions, split_file: Path | None = None) -> PairStore:
    """Write a pair store into ``folder``.  Raises InputError, UsageError or StorageError."""
    split, counts = count_up(index, options, split_file, folder)
    told = forecast(counts, len(index), options.size, options.layout, options.count is not None)
    say(f"{folder}: {told.words()}")
    if options.layout == "stacked":
        say(f"stacked pairs will take {told.disk / 1e9:.1f} GB on disk")
    require_room(folder, told.disk, f"{told.pairs:,} {options.layout} pairs")
    emotions = [entry.emotion for entry in index.entries]
    tables = {"all": full_counts(emotions)}
    old, table, images = folder / "pairs.json", None, None
    folder.mkdir(parents=True, exist_ok=True)
    if options.layout == "indexed":
        # the old description goes once all images are read: what it describes is about to change
        blocks = image_blocks(index, options.size, options.resize, lambda: discard(old))
        written = write_table(folder / _TABLE, len(index), options.size, blocks, options.mean, options.scale)
        table = {"path": _TABLE, "bytes": written.size, "sha256": written.sha256}
    else:
        images = load_images(index, options.size, options.resize, folder)
        discard(old)
    lmdbs = {}
    for name, found in pair_up(index, options, split, counts):
        target = folder / f"{name}_{options.layout}_lmdb"
        stored = write_indexed(target, found) if images is None else write_stacked(target, found, images)
        lmdbs[name] = {"path": target.name, "pairs": stored.records, "bytes": stored.bytes}
        lmdbs[name]["same"] = int(found.same.sum())
        tables[name] = pair_counts(found, emotions)
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


def image_blocks(
    index: CorpusIndex, size: int, resize: str, done: Callable[[], None] = lambda: None
) -> Iterator[npt.NDArray[np.uint8]]:
    """All images of an index as blocks (n, 3, size, size) of BGR bytes; ``done`` is called when all are read.

    Raises InputError where a file is gone, unreadable, or not the one that was indexed.
    """
    block = np.empty((_BLOCK, 3, size, size), np.uint8)
    for i, entry in enumerate(track(index.entries, "read images", len(index))):
        if sha256(entry.path) != entry.sha256:
            raise InputError(entry.path, "the file that was indexed", "other content (index it again)")
        block[i % _BLOCK] = fit(entry.picture(), size, resize).transpose(2, 0, 1)
        if i % _BLOCK == _BLOCK - 1:
            yield block
    if len(index) % _BLOCK:
        yield block[: len(index) % _BLOCK]
    done()


def load_images(index: CorpusIndex, size: int, resize: str, scratch: Path | None = None) -> npt.NDArray[np.uint8]:
    """All images of an index as (N, 3, size, size) BGR bytes; many lie in an unnamed file in the folder ``scratch``.

    Raises InputError where a file is gone, unreadable, or not the one that was indexed.
    """
    shape = (len(index), 3, size, size)
    images: npt.NDArray[np.uint8]
    if scratch is not None and math.prod(shape) > _IN_MEMORY:
        with tempfile.TemporaryFile(dir=scratch) as handle:
            images = np.memmap(handle, np.uint8, "w+", shape=shape)
    else:
        images = np.empty(shape, np.uint8)
    at = 0
    for block in image_blocks(index, size, resize):
        images[at : at + len(block)] = block
        at += len(block)
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
