"""Features from the frozen layers: computed once for each distinct prefix, and kept in the run.

A prefix is an input scale together with a pooling after conv3 or none.  From its features F (N, D) the cells need only
K = F F^T and, for each seed, F W0^T with fc4's initial weights W0: a few megabytes, whatever D is
(:mod:`siamplex.engine.fast.gram`).  The features themselves are kept as well, for later analyses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast.feature_table import FeatureTable
from siamplex.engine.fast.gram_rows import outputs_of, row_products
from siamplex.engine.net.net import Net
from siamplex.errors import InputError
from siamplex.multiverse.run_nets import RunNets
from siamplex.multiverse.store import Value
from siamplex.pairs.build import OpenedStore, load_images
from siamplex.pairs.images import stored_images
from siamplex.pairs.scaling import scaled
from siamplex.run.durable import atomic_file
from siamplex.run.progress import Progress, say
from siamplex.schema.array_files import read_arrays
from siamplex.weights.initial import CONVOLUTIONS, initial_net

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prefix:
    """A scale of the input, and whether there is a pooling after conv3."""

    scale: float
    pool3: bool

    @classmethod
    def of(cls, settings: Iterable[tuple[str, Value]]) -> Prefix:
        """That of a cell's settings."""
        known = dict(settings)
        return cls(float(known["scale"]), bool(known["pool3"]))

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"scale_{self.scale:.9g}{'_pool3' if self.pool3 else ''}"


@dataclass(frozen=True)
class FeatureFiles:
    """The files of one prefix in ``RUN/multiverse/features``."""

    folder: Path

    @classmethod
    def of(cls, run: Path, prefix: Prefix) -> FeatureFiles:
        """Where those of a prefix lie."""
        return cls(run / "multiverse" / "features" / prefix.name)

    @property
    def features(self) -> Path:
        """F (N, D) float32, in the order of the index."""
        return self.folder / "features.npy"

    @property
    def gram(self) -> Path:
        """F F^T (N, N) float32, summed in float64."""
        return self.folder / "gram.npz"

    def base(self, seed: int) -> Path:
        """F W0^T (N, O) float32."""
        return self.folder / f"base_{seed}.npz"

    def lacks(self, seeds: Iterable[int]) -> bool:
        """Whether any file is still missing."""
        return not all(path.is_file() for path in (self.features, self.gram, *map(self.base, seeds)))


@dataclass(frozen=True)
class Source:
    """Inputs of the features: nets, pair store and its folder, file of conv1-3 (None: the substitute)."""

    nets: RunNets
    store: OpenedStore
    pairs: Path
    alexnet: Path | None
    accept_other: bool = False

    def net(self, pool3: bool, seed: int, hollow: Sequence[tuple[str, int]]) -> tuple[Net, dict[str, Any]]:
        """A tower with its first weights but for ``hollow`` ones, and what is known of them."""
        return initial_net(self.nets.deploy(pool3), self.alexnet, seed, self.accept_other, hollow)

    def facts(self) -> dict[str, Any]:
        """``note`` of where conv1-3 come from, and a ``digest`` of their values.  Raises InputError."""
        net, known = self.net(False, 0, [("fc4", 0), ("fc5", 0)])
        digest = hashlib.sha256()
        for name in CONVOLUTIONS:
            for tensor in net.node(name).tensors():
                digest.update(tensor.numpy().tobytes())
        return {"note": known["note"], "digest": digest.hexdigest()}


def pixels_of(store: OpenedStore, folder: Path) -> Pixels:
    """The images of a pair store as (N, 3, size, size) BGR bytes, from its table where it has one.

    Raises InputError where that is not a table of such bytes.
    """
    if not store.store.table:
        return load_images(store.index, int(store.store.options["size"]), str(store.store.options["resize"]))
    table, mean = stored_images(store, folder), np.array(store.mean, np.float32)[:, None, None]
    pixels = np.empty(table.shape, np.uint8)
    for at, image in enumerate(table):
        found = np.rint(image / np.float32(store.scale) + mean)
        pixels[at] = found.clip(0, 255)
        if not np.array_equal(scaled(pixels[at], store.mean, store.scale), image):
            what = "a table of bytes less the mean times the scale that pairs.json states"
            raise InputError(folder / str(store.store.table["path"]), what, f"other values in image {at}")
    return pixels


def prepare(run: Path, source: Source, wanted: dict[Prefix, set[int]]) -> None:
    """Compute what is missing: features and products of each prefix, and F W0^T for its seeds.

    Raises StorageError or InputError.
    """
    missing = {p: seeds for p, seeds in wanted.items() if FeatureFiles.of(run, p).lacks(seeds)}
    if not missing:
        return
    steps = sum(2 + len(seeds) for seeds in missing.values())
    say(f"features: {len(missing)} of {len(wanted)} prefixes to compute for {len(source.store.index)} images")
    progress = Progress("features", steps)
    pixels: Pixels | None = None
    for prefix in missing:
        files = FeatureFiles.of(run, prefix)
        if not files.features.is_file():
            pixels = pixels_of(source.store, source.pairs) if pixels is None else pixels
            _save(files.features, _features(source, prefix, pixels))
        progress.step(note=prefix.name)
        if not files.gram.is_file():
            features = _load(files.features)
            _save(files.gram, row_products(features, features).numpy(), "gram")
        progress.step(note=prefix.name)
    for pool3 in sorted({prefix.pool3 for prefix in missing}):
        same = {prefix: seeds for prefix, seeds in missing.items() if prefix.pool3 == pool3}
        rows = {prefix: _load(FeatureFiles.of(run, prefix).features) for prefix in same}
        for seed in sorted(set().union(*same.values())):
            _first_outputs(run, source, pool3, seed, {p: rows[p] for p in same if seed in same[p]})
            progress.step(sum(seed in seeds for seeds in same.values()))
    progress.close()


def _first_outputs(run: Path, source: Source, pool3: bool, seed: int, rows: dict[Prefix, torch.Tensor]) -> None:
    paths = {prefix: FeatureFiles.of(run, prefix).base(seed) for prefix in rows}
    if all(path.is_file() for path in paths.values()):
        return
    convolutions = [(name, index) for name in CONVOLUTIONS for index in (0, 1)]
    hollow = [*convolutions, ("fc5", 0)]
    net = Net(source.nets.deploy(pool3), "TEST", seed=seed, hollow=hollow)
    weight = net.node("fc4").params[0].tensor
    for prefix, path in paths.items():
        if not path.is_file():
            _save(path, outputs_of(rows[prefix], weight).numpy(), "base")


def _features(source: Source, prefix: Prefix, pixels: Pixels) -> Floats:
    """F (N, D) as a training would compute it: image by image, with the same layers."""
    net, _ = source.net(prefix.pool3, 0, [("fc4", 0), ("fc5", 0)])
    chain = [node for node in net.nodes[: net.nodes.index(net.node("fc4"))] if node.layer.spec.type != "Input"]

    def images(samples: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(scaled(pixels[samples.reshape(-1).astype(np.int64)], source.nets.mean, prefix.scale))

    table = FeatureTable(chain, images, len(pixels))
    table.fill_in_order(len(pixels), np.float32)
    return table.features.numpy()


def _save(path: Path, array: npt.NDArray[Any], name: str = "") -> None:
    """Write an array to a file of its own: by ``name`` in an archive, or by itself, which can be mapped."""
    with atomic_file(path) as handle:
        if name:
            np.savez(handle, **{name: array})  # type: ignore[arg-type]
        else:
            np.save(handle, array)


def _load(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.lib.format.open_memmap(path, mode="c"))


def read_products(run: Path, prefix: Prefix, seed: int) -> tuple[Floats, Floats]:
    """K (N, N) and F W0^T (N, O) of a prefix and a seed.  Raises InputError."""
    files = FeatureFiles.of(run, prefix)
    found = []
    for path, name in ((files.gram, "gram"), (files.base(seed), "base")):
        what = f"products of features, '{name}' (siamplex multiverse)"
        arrays = read_arrays(path, what)
        if name not in arrays or arrays[name].ndim != 2:
            raise InputError(path, what, "other arrays")
        found.append(np.asarray(arrays[name], np.float32))
    return found[0], found[1]
