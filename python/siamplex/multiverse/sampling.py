"""The order in which a grid's trainings are done: a sequence of which every prefix is balanced.

Trainings are added one at a time.  Each dimension takes one of its least frequent values, so that after any number of
trainings the values of a dimension are equally frequent to within one.  Of several such candidates, the one whose pairs
of values are rarest is taken.  So ``--cells 300`` continues ``--cells 150``, and a multiverse that stops early is still
balanced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from siamplex.multiverse.grid import PREFIX, Grid, Training
from siamplex.multiverse.store import PAPER, SHUFFLED, UNTRAINED, Value
from siamplex.randomness import numpy_stream

_CANDIDATES = 48
_TRIES = 400  # in vain, after which what is left of the grid is taken in its own order


def balanced(grid: Grid, control: str = PAPER) -> Iterator[Training]:
    """All trainings of a grid with that control, each once, in an order of which every prefix is balanced."""
    levels: dict[str, tuple[Value, ...]] = dict(grid.trained)
    if control == UNTRAINED:
        levels = {name: levels[name] for name in PREFIX}
    levels |= {"seed": grid.seeds, "fold": tuple(range(grid.folds))}
    names, sizes = list(levels), [len(values) for values in levels.values()]
    for chosen in _sequence(sizes, grid.sample_seed, control):
        found = {name: levels[name][at] for name, at in zip(names, chosen, strict=True)}
        seed, fold = int(found.pop("seed")), int(found.pop("fold"))
        yield Training(control, seed, fold, tuple(sorted(found.items())))


def _sequence(sizes: Sequence[int], seed: int, purpose: str) -> Iterator[tuple[int, ...]]:
    """Every tuple with its n-th number below ``sizes[n]`` once."""
    stream = numpy_stream(seed, "multiverse", purpose or "ordinary")
    counts = [np.zeros(size, np.int64) for size in sizes]
    pairs: Counter[tuple[int, int, int, int]] = Counter()
    varied = [at for at, size in enumerate(sizes) if size > 1]
    taken: set[tuple[int, ...]] = set()
    total = int(np.prod([float(size) for size in sizes]))
    while len(taken) < total:
        chosen = _next(counts, pairs, varied, taken, sizes, stream)
        if chosen is None:  # hardly anything is left
            yield from (one for one in np.ndindex(*sizes) if one not in taken)
            return
        taken.add(chosen)
        for at, value in enumerate(chosen):
            counts[at][value] += 1
        for a, b in combinations(varied, 2):
            pairs[(a, chosen[a], b, chosen[b])] += 1
        yield chosen


def _next(
    counts: Sequence[np.ndarray],
    pairs: Mapping[tuple[int, int, int, int], int],
    varied: Sequence[int],
    taken: set[tuple[int, ...]],
    sizes: Sequence[int],
    stream: np.random.Generator,
) -> tuple[int, ...] | None:
    """The free candidate whose pairs of values are rarest; None where none was found."""
    rare = [np.flatnonzero(count == count.min()) for count in counts]
    best, least = None, np.inf
    found = 0
    for attempt in range(_TRIES):
        free = attempt >= _TRIES // 2  # the rarest values together are taken already: any that are left will do
        among = [np.arange(size) for size in sizes] if free else rare
        candidate = tuple(int(stream.choice(values)) for values in among)
        if candidate in taken:
            continue
        # how often two values came together, set against how often they would by chance: squares, as of a chi-square
        cost = sum(
            (2 * pairs.get((a, candidate[a], b, candidate[b]), 0) + 1) * sizes[a] * sizes[b]
            for a, b in combinations(varied, 2)
        )
        if cost < least:
            best, least = candidate, cost
        found += 1
        if found == _CANDIDATES:
            break
    return best


def sequence(grid: Grid) -> Iterator[Training]:
    """Ordinary trainings interleaved with those on shuffled labels, in the grid's proportion throughout."""
    ordinary, shuffled, due = balanced(grid), balanced(grid, SHUFFLED), 0.0
    for training in ordinary:
        yield training
        due += grid.shuffled
        while due >= 1 - 1e-9:
            due -= 1
            extra = next(shuffled, None)
            if extra is not None:
                yield extra


def sample(grid: Grid, ordinary: int) -> list[Training]:
    """The first part of :func:`sequence` with so many ordinary trainings (or all), and the untrained towers."""
    chosen: list[Training] = []
    count = 0
    for training in sequence(grid):
        if training.control == PAPER and count == ordinary:
            break
        count += training.control == PAPER
        chosen.append(training)
    return chosen + untrained(grid)


def untrained(grid: Grid) -> list[Training]:
    """The towers that are not trained: as many as the grid says, or as there are."""
    return [training for training, _ in zip(balanced(grid, UNTRAINED), range(grid.untrained), strict=False)]
