"""The nets and solver of a cell: those of its run, with the cell's settings in place of the run's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import Any

from siamplex.errors import InputError
from siamplex.multiverse.grid import LENGTH
from siamplex.multiverse.store import Value
from siamplex.nets.architecture import Architecture, tower
from siamplex.nets.solver import SolverOptions, solver
from siamplex.nets.train_val import deploy, train_val
from siamplex.pairs.build import OpenedStore, open_store
from siamplex.schema import prototxt
from siamplex.schema.prototxt import Prototxt, to_text

LMDB, NET, SOLVER = "train_indexed_lmdb", "train_val.prototxt", "solver.prototxt"  # beside each other
_NOTE = "# Of a cell of `siamplex multiverse`.\n"
_TEST_PAIRS = 128


@dataclass(frozen=True)
class RunNets:
    """What all cells of a run have in common, and the run's own value of each setting.

    ``arch`` and ``solver`` are those of stage 1; ``images`` counts the rows of the image table.
    """

    arch: Architecture
    solver: SolverOptions
    batch: int
    images: int
    mean: tuple[float, float, float]
    scale: float

    @property
    def own(self) -> dict[str, Value]:
        """Every setting of a grid as the run has it."""
        return {
            "scale": self.scale, "pool3": self.arch.pool3, "new_lr_mult": self.arch.new_lr_mult, "batch": self.batch,
            "base_lr": self.solver.base_lr, "momentum": self.solver.momentum,
            "weight_decay": self.solver.weight_decay, "dropout": self.arch.dropout,
            "iterations": self.solver.max_iter, "stop": LENGTH, "margin": self.arch.margin,
        }  # fmt: skip

    def arch_of(self, settings: Mapping[str, Value]) -> Architecture:
        """The towers with settings of a cell."""
        given = {name: settings[name] for name in ("pool3", "new_lr_mult", "dropout", "margin") if name in settings}
        return replace(self.arch, **given)  # type: ignore[arg-type]

    def texts(self, settings: Mapping[str, Value], iterations: int, seed: int, folder: str = "") -> dict[str, str]:
        """``train_val.prototxt`` and ``solver.prototxt`` of a cell, trained for so many iterations.

        ``folder`` is that of both and of the pairs; empty: they name each other as files beside them.
        """
        beside = f"{folder}/" if folder else ""
        batch, scale = int(settings.get("batch", self.batch)), float(settings.get("scale", self.scale))
        net = train_val(
            self.arch_of(settings), 1, "indexed", {"train": beside + LMDB}, batch_size=batch,
            test_batch_size=_TEST_PAIRS, images=self.images, mean=self.mean, scale=scale,
        )  # fmt: skip
        rates = {name: float(settings[name]) for name in ("base_lr", "momentum", "weight_decay") if name in settings}
        # no display: nobody reads it, and each display runs the net once more
        options = replace(self.solver, max_iter=iterations, snapshot=iterations, display=0, seed=seed, **rates)  # type: ignore[arg-type]
        message = solver(options, beside + NET, beside + "snap", has_test=False)
        return {NET: _NOTE + to_text(net), SOLVER: _NOTE + to_text(message)}

    def deploy(self, pool3: bool) -> Prototxt:
        """The tower by itself."""
        return prototxt.parse(to_text(deploy(replace(self.arch, pool3=pool3))), "NetParameter", "deploy.prototxt")


def read_run(run: Path) -> tuple[RunNets, OpenedStore]:
    """The nets of a run as ``siamplex prototxt`` wrote them, and its pair store.

    Raises InputError or PrototxtError where they are missing or were changed: a cell's nets are generated anew, so that
    a change would be lost.
    """
    store = open_store(run / "pairs")
    paths = {
        "deploy": run / "prototxt" / "deploy.prototxt",
        "net": run / "prototxt" / "train_val_stage1_indexed.prototxt",
        "solver": run / "solvers" / "stage1_indexed.prototxt",
    }
    own = {
        name: prototxt.read(path, "SolverParameter" if name == "solver" else "NetParameter")
        for name, path in paths.items()
    }
    arch = _architecture(own["deploy"], own["net"], int(store.store.options["size"]))
    p = own["solver"].message
    if str(p.type or "SGD") != "SGD" or str(p.lr_policy) != "step" or int(p.iter_size) != 1 or p.clip_gradients >= 0:
        found = f"{p.type or 'SGD'}, {p.lr_policy}, iter_size {p.iter_size}, clip_gradients {p.clip_gradients:g}"
        raise InputError(paths["solver"], "a solver as siamplex prototxt writes it (SGD, step)", found)
    data = next(layer for layer in own["net"].message.layer if layer.type == "Data")
    b, g, r = (float(m) for m in store.mean)
    options = SolverOptions(
        base_lr=_plain(p.base_lr), stepsize=int(p.stepsize), gamma=_plain(p.gamma), momentum=_plain(p.momentum),
        weight_decay=_plain(p.weight_decay), max_iter=int(p.max_iter), seed=max(0, int(p.random_seed)),
    )  # fmt: skip
    nets = RunNets(arch, options, int(data.data_param.batch_size), len(store.index), (b, g, r), store.scale)
    return nets, store


def _plain(value: float) -> float:
    """A float32 as the shortest decimal number that is it: 0.0001, not 0.00009999999747."""
    return float(f"{value:.7g}")


def _architecture(deployed: Prototxt, net: Prototxt, size: int) -> Architecture:
    """The architecture that both nets were written from.  Raises InputError where they were not."""
    expected = "the nets of siamplex prototxt"
    layers = {layer.name: layer for layer in deployed.message.layer}
    try:
        convolutions = [layers[f"conv{n}"].convolution_param for n in (1, 2, 3)]
        dense = [layers[name].inner_product_param for name in ("fc4", "fc5", "fc6")]
        learning = next(layer for layer in net.message.layer if layer.name == "fc4").param
        loss = next(layer for layer in net.message.layer if layer.type == "ContrastiveLoss").contrastive_loss_param
        ratios = [layer.dropout_param.dropout_ratio for layer in net.message.layer if layer.type == "Dropout"]
        arch = Architecture(
            size=size,
            width=_width([int(p.num_output) for p in (*convolutions, *dense[:2])], (96, 256, 384, 1024, 256)),
            conv2_group=int(convolutions[1].group),
            pool3="pool3" in layers,
            dropout=_plain(ratios[0]) if ratios else 0.0,
            margin=_plain(loss.margin),
            embedding=int(dense[2].num_output),
            lrn_alpha=_plain(layers["norm1"].lrn_param.alpha),
            new_lr_mult=_plain(learning[0].lr_mult),
        )
    except (KeyError, StopIteration, IndexError, ValueError) as error:
        raise InputError(deployed.path, expected, f"others ({error!r})") from None
    if to_text(deploy(arch)) != to_text(deployed.message):
        raise InputError(deployed.path, f"{expected}, which the cells' nets are varied from", "one changed by hand")
    first = tower(arch, "data", freeze_conv=True)
    theirs = [layer for layer in net.message.layer if layer.name in {one.name for one in first}]
    if [to_text(layer) for layer in theirs] != [to_text(layer) for layer in first]:
        raise InputError(net.path, f"{expected}, which the cells' nets are varied from", "one changed by hand")
    return arch


def _width(found: Sequence[int], full: Sequence[int]) -> float:
    """The factor of fewest digits that makes ``full`` numbers of units the ``found`` ones.  Raises ValueError."""
    if list(found) == list(full):
        return 1.0
    low = max(Fraction(units - 1, of) for units, of in zip(found, full, strict=True) if units > 2)
    high = min(Fraction(units + 1, of) for units, of in zip(found, full, strict=True))
    for digits in range(1, 12):
        step = 10**digits
        for numerator in range(ceil(low * step), floor(high * step) + 1):
            width = numerator / step
            if width > 0 and [Architecture(width=width).units(of) for of in full] == list(found):
                return width
    raise ValueError(f"units {list(found)}")


def common(nets: RunNets, store: OpenedStore) -> dict[str, Any]:
    """What all cells of a run share, as JSON values that distinguish one run from another."""
    arch, options = nets.arch, store.store.options
    return {
        "size": arch.size, "width": arch.width, "conv2_group": arch.conv2_group, "embedding": arch.embedding,
        "lrn_alpha": arch.lrn_alpha, "stepsize": nets.solver.stepsize, "gamma": nets.solver.gamma,
        "mean": list(nets.mean), "resize": options["resize"], "balance": bool(options["balance"]),
        "seed of pairs": int(options["seed"]),
        "images": [[e.image, e.subject, e.emotion, e.sha256] for e in store.index.entries],
    }  # fmt: skip
