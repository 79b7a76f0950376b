"""The shortcut for a frozen prefix: features computed once for each image, the weight behind them in its dual form.

It replaces the layers of the prefix (:mod:`~siamplex.engine.fast.prefix`) by lookups in a feature table.  It is applied
only where the numbers stay the same.  The solver's log names it, and ``--no-shortcut`` turns it off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast import gram_file
from siamplex.engine.fast.feature_table import FeatureTable, PreparedRows
from siamplex.engine.fast.gram import GramWeight
from siamplex.engine.fast.prefix import Feature, Prefix, find_prefix, signature
from siamplex.engine.fast.table_start import TableStart
from siamplex.engine.fast.tails import ActiveStart, Start, Tail, follow
from siamplex.engine.fast.threads import ThreadChoice, choice
from siamplex.engine.layers.data import Data
from siamplex.engine.layers.embed import Embed
from siamplex.engine.layers.inner_product import InnerProduct
from siamplex.engine.net.layer import Context
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node, Parameter
from siamplex.schema.weights import Written

_MAX_ROWS = 8192
_MAX_BYTES = 2 << 30  # of features in a table

Tops = list[torch.Tensor]
Part = tuple[int, int]  # channels of a stored sample
Growth = tuple[int, str, int]  # net number, data layer, record: the batch that added rows to a table


class Shortcut:
    """Replaces the frozen prefix of a train net and its test nets: feature tables, dual forms, table growth log.

    It is the :class:`~siamplex.engine.net.plan.Plan` of the fast paths.
    """

    def __init__(self, prepared: PreparedRows | None = None) -> None:
        self.prepared = prepared  # precomputed rows; there is then only one table
        self.grams: dict[int, GramWeight] = {}  # by index of the parameter
        self.tables: dict[Any, FeatureTable] = {}  # by signature
        self.nets: list[Net] = []
        self.batches: dict[tuple[int, str], LookedUp] = {}  # by net and data layer
        self.growths: list[Growth] = []
        self.threads: ThreadChoice | None = None

    def describe(self) -> str:
        """One line for the log."""
        rows = sum(len(table) for table in self.tables.values())
        names = ", ".join(gram.parameter.label for gram in self.grams.values())
        what = f"the features of each image are computed once ({rows} so far)"
        return what + (f" and {names} is kept in its dual form" if names else "")

    def replay(self, growths: Sequence[Sequence[Any]]) -> None:
        """Replay the table growth log, so that a resumed run has the same rows in the same order.

        The order of rows matters because it changes the last bits of sums.  Seek the data layers afterwards.
        """
        for net, name, position in growths:
            self.batches[(id(self.nets[net]), name)].look_again(int(position))
        for gram in self.grams.values():
            gram.refresh()

    def settle(self) -> None:
        """Materialise all weights that are kept in their dual form."""
        if self.threads:
            self.threads.rest()
        for gram in self.grams.values():
            gram.settle()

    @property
    def keepers(self) -> Mapping[int, GramWeight]:
        """The weights in their dual form, by index of the parameter."""
        return self.grams

    def tower(self, net: Net, nodes: Sequence[Node]) -> TableStart | None:
        """The start of a tower whose prefix is in a table; None where no node of it reads a table."""
        prefix = find_prefix(net)
        for at, node in enumerate(nodes):
            feature = prefix.entries.get((node.name, 0))
            table = self.tables.get(signature(feature, prefix)) if feature else None
            if table is not None:
                weights = {id(gram.parameter.tensor): gram for gram in self.grams.values()}
                gram = weights.get(id(node.params[0].tensor)) if node.params else None
                return TableStart(at, table, gram, net.shapes[node.bottoms[0]][1:], net.device)
        return None

    def write_state(self, path: Path) -> Written | None:
        """Write the dual forms without materialising their weights; None where there are none."""
        return gram_file.write(path, self.grams) if self.grams else None

    def read_state(self, path: Path) -> None:
        """Restore the dual forms.  Raises InputError."""
        gram_file.read(path, self.grams)

    def retire(self) -> None:
        """Materialise all weights and let the nets run in full again."""
        self.settle()
        for net in self.nets:
            net.stand_ins.clear()


def take_shortcut(
    net: Net,
    test_nets: Sequence[Net],
    velocity: Callable[[int], torch.Tensor | None],
    momentum: float | None,
    prepared: PreparedRows | None = None,
) -> Shortcut | None:
    """Replace the frozen prefix of ``net``, and of those ``test_nets`` that have the same prefix.

    ``velocity`` gives a parameter's V, None for zero.  ``momentum`` is the solver's, None where its
    update does not keep weights in the span of their inputs.  ``prepared`` holds the precomputed products of all images
    of an indexed store, in its order; the prefix then never runs.  Returns None where nothing can be gained.
    """
    prefix = find_prefix(net)
    if not prefix.entries or _moves(prefix, velocity, net):
        return None
    shortcut = Shortcut(prepared)
    _attach(net, prefix, shortcut)
    if momentum is not None:
        for index, parameter in enumerate(net.parameters):
            table = _only_over_table(net, prefix, parameter, shortcut)
            if table is not None:
                shortcut.grams[index] = GramWeight(parameter, table, velocity(index), momentum)
        _use_grams(net, prefix, shortcut, trains=True)
        if shortcut.grams:
            shortcut.threads = choice(net.device)
    for test in test_nets:
        other = find_prefix(test)
        known = other.entries and all(signature(f, other) in shortcut.tables for f in other.entries.values())
        weights = [gram.parameter for gram in shortcut.grams.values()]
        if known and all(_only_over_table(test, other, weight, shortcut) is not None for weight in weights):
            _attach(test, other, shortcut)
            _use_grams(test, other, shortcut)
    return shortcut


def _moves(prefix: Prefix, velocity: Callable[[int], torch.Tensor | None], net: Net) -> bool:
    """Whether a frozen parameter still has a velocity (from a snapshot of another stage)."""
    chains = [node for feature in prefix.entries.values() for node in feature.chain]
    frozen = {id(p) for node in chains for p in node.params}
    return any(velocity(i) is not None for i, p in enumerate(net.parameters) if id(p) in frozen)


def _width(feature: Feature, net: Net) -> int:
    name = feature.chain[-1].tops[0] if feature.chain else ""
    return int(np.prod(net.shapes[name][1:])) if name else 1


def _table(net: Net, prefix: Prefix, feature: Feature, shortcut: Shortcut) -> FeatureTable:
    key = signature(feature, prefix)
    if key not in shortcut.tables and shortcut.prepared is not None:
        assert not shortcut.tables  # twins are one function of their images
        shortcut.tables[key] = FeatureTable.of(shortcut.prepared)
    if key not in shortcut.tables:
        layer = prefix.data[feature.data].layer
        assert isinstance(layer, Data)
        transform, part = layer.transform, feature.part

        def prepare(samples: npt.NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(transform.apply_part(samples, part)).to(net.device)

        limit = min(_MAX_ROWS, _MAX_BYTES // (4 * _width(feature, net)))
        table = FeatureTable(feature.chain, prepare, limit)
        first = feature.chain[0].layer if feature.chain else None
        whole = layer.source.shape[1:] == (1, 1) and part[1] - part[0] == 1
        if isinstance(first, Embed) and whole and transform.is_identity(part) and first.params.input_dim <= limit:
            # add all images of an indexed store now, in store order, so that a resumed run has the same rows
            table.fill_in_order(int(first.params.input_dim), layer.source.dtype)
        shortcut.tables[key] = table
    return shortcut.tables[key]


def _attach(net: Net, prefix: Prefix, shortcut: Shortcut) -> None:
    """Replace the prefix of a net: its data layers look samples up in tables, its other layers are skipped."""
    shortcut.nets.append(net)
    tables = {where: _table(net, prefix, feature, shortcut) for where, feature in prefix.entries.items()}
    for name, node in prefix.data.items():
        uses = {(f.part, id(tables[w])): tables[w] for w, f in prefix.entries.items() if f.data == name}
        if uses:
            batch = shortcut.batches[(id(net), name)] = LookedUp(net, node, uses, shortcut)
            net.stand_ins.nodes[name] = batch.read
    net.stand_ins.skipped |= prefix.nodes
    for (name, index), feature in prefix.entries.items():
        shape = net.shapes[net.node(name).bottoms[index]][1:]
        batch = shortcut.batches[(id(net), feature.data)]
        net.stand_ins.read(name, index, _bottom(batch, tables[(name, index)], feature.part, shape))


class LookedUp:
    """Replaces a Data layer: it reads each batch and looks up the table rows of its images.

    ``uses`` are the tables by (channels, id of the table).
    """

    def __init__(self, net: Net, node: Node, uses: dict[tuple[Part, int], FeatureTable], shortcut: Shortcut) -> None:
        self._net, self._node, self._uses, self._shortcut = net, node, uses, shortcut
        self._rows: dict[tuple[Part, int], torch.Tensor] = {}
        self._whole = self._rows  # of the whole batch, the shares of all processes

    def read(self, context: Context) -> Tops:
        """The Data layer's tops: an empty tensor for the samples, and the labels."""
        layer = self._node.layer
        assert isinstance(layer, Data)
        if self._shortcut.threads and context.train:
            self._shortcut.threads.tick()
        position = layer.source.position
        values, labels = layer.source.uniform_batch(int(layer.params.batch_size))
        self._look_up(values, position)  # the whole batch, so that every process has the same table
        self._whole = self._rows
        share = layer.spec.share
        self._rows = {key: share.of(rows) for key, rows in self._rows.items()}
        labels = share.of(labels)
        nothing = torch.empty(0, device=self._net.device)
        return [nothing, torch.from_numpy(labels)][: len(self._node.tops)]

    def look_again(self, position: int) -> None:
        """Look up the batch that starts at record ``position``, as :meth:`Shortcut.replay` needs it."""
        layer = self._node.layer
        assert isinstance(layer, Data)
        self._look_up(layer.source.at(position, int(layer.params.batch_size)), position)

    def _look_up(self, values: npt.NDArray[Any], position: int) -> None:
        before = [len(table) for table in self._uses.values()]
        for (part, name), table in self._uses.items():
            self._rows[(part, name)] = table.lookup(values[:, part[0] : part[1]]).to(self._net.device)
        if [len(table) for table in self._uses.values()] != before:
            self._shortcut.growths.append((self._shortcut.nets.index(self._net), self._node.name, position))

    def coming(self, table: FeatureTable, part: Part) -> torch.Tensor:
        """Rows that training needs: those of the whole store where it is in the table, else those of this batch."""
        layer = self._node.layer
        assert isinstance(layer, Data)
        whole = layer.source.all() if table.in_order else None
        if whole is None:
            return self._whole[(part, id(table))]
        return table.lookup(np.unique(whole[0][:, part[0] : part[1]]).reshape(-1, 1, 1, 1)).to(self._net.device)

    def rows(self, table: FeatureTable, part: Part) -> torch.Tensor:
        """Table rows (N,) of the channels ``part`` of this batch."""
        return self._rows[(part, id(table))]


def _bottom(batch: LookedUp, table: FeatureTable, part: Part, shape: tuple[int, ...]) -> Callable[[], torch.Tensor]:
    """A function that returns the features of the batch, in place of a bottom that the prefix would compute."""

    def run() -> torch.Tensor:
        found = batch.rows(table, part)
        return table.features.index_select(0, found).reshape(len(found), *shape)

    return run


def _only_over_table(net: Net, prefix: Prefix, parameter: Parameter, shortcut: Shortcut) -> FeatureTable | None:
    """The table whose rows are the only inputs of ``parameter``; None where it has other inputs or several tables."""
    tables = set()
    for node in net.nodes:
        if not any(p.tensor is parameter.tensor for p in node.params):
            continue
        layer = node.layer
        fits = isinstance(layer, InnerProduct) and layer.takes_factors and node.plain
        feature = prefix.entries.get((node.name, 0))
        if not fits or feature is None or node.params[0].tensor is not parameter.tensor:
            return None
        tables.add(shortcut.tables.get(signature(feature, prefix)))
    if len(tables) != 1 or parameter.lr_mult == 0:
        return None
    table = tables.pop()
    known = len(table) if table is not None else 0
    return table if table is not None and known < parameter.tensor.shape[1] else None


def _use_grams(net: Net, prefix: Prefix, shortcut: Shortcut, trains: bool = False) -> None:
    """Let InnerProduct layers over the tables compute their outputs from the weight's dual form."""
    for gram in shortcut.grams.values():
        users = [n for n in net.nodes if n.params and n.params[0].tensor is gram.parameter.tensor]
        parts = [prefix.entries[(node.name, 0)] for node in users]
        batches = [shortcut.batches[(id(net), feature.data)] for feature in parts]
        if trains:
            gram.coming = _coming(gram.table, [(b, f.part) for b, f in zip(batches, parts, strict=True)])
        if len(users) == 2 and batches[0] is batches[1]:
            pairs = follow(net, users[0], users[1])
            if len(pairs) > 1:
                Tail(net, pairs[1:], *_starts(net, users[0], gram, batches[0], (parts[0].part, parts[1].part)))
                net.stand_ins.skipped |= {node.name for node in users}
                continue
        for node, feature, batch in zip(users, parts, batches, strict=True):
            net.stand_ins.nodes[node.name] = _inner_product(node, gram, batch, feature.part)


def _coming(table: FeatureTable, batches: list[tuple[LookedUp, Part]]) -> Callable[[], torch.Tensor]:
    return lambda: torch.cat([batch.coming(table, part) for batch, part in batches])


def _bias(node: Node) -> torch.Tensor | None:
    return node.params[1].tensor if len(node.params) > 1 else None


def _starts(
    net: Net, node: Node, gram: GramWeight, batch: LookedUp, parts: tuple[Part, Part]
) -> tuple[Start, ActiveStart | None]:
    """Functions for the outputs of twin InnerProduct layers, first twins then second: all units, or active ones."""

    def rows() -> torch.Tensor:
        return torch.cat([batch.rows(gram.table, part) for part in parts])

    # several processes would have to agree on the active units
    alone = net.device.type == "cpu" and node.layer.spec.share.size == 1
    return lambda: gram.apply(rows(), _bias(node)), (
        (lambda: gram.apply_active(rows(), _bias(node))) if alone else None
    )


def _inner_product(node: Node, gram: GramWeight, batch: LookedUp, part: Part) -> Callable[[Context], Tops]:
    return lambda context: [gram.apply(batch.rows(gram.table, part), _bias(node))]
