"""Draws a representative sample of the pairs of a split.

The same share of the pairs of each two emotions is drawn (to within one pair), so that same and different pairs keep
their proportion.  Within two emotions pairs are drawn uniformly, without repetition.  Every image is in a pair.  Where
an emotion has enough same pairs, they connect all of its images: a random path through them is among the pairs.  Time
and memory grow with the number of pairs drawn, not with the number of all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from siamplex.pairs.pairing import Pairs
from siamplex.randomness import numpy_stream

Ints = npt.NDArray[np.int64]
Couple = tuple[str, str]


def numbers(sizes: Mapping[str, int]) -> dict[Couple, int]:
    """How many pairs there are of each two emotions, of so many images each."""
    names = sorted(sizes)
    return {
        (a, b): sizes[a] * (sizes[a] - 1) // 2 if a == b else sizes[a] * sizes[b]
        for i, a in enumerate(names)
        for b in names[i:]
    }


def same_and_different(sizes: Mapping[str, int]) -> tuple[int, int]:
    """How many same and how many different pairs there are."""
    found = numbers(sizes)
    same = sum(count for (a, b), count in found.items() if a == b)
    return same, sum(found.values()) - same


def total(sizes: Mapping[str, int], balance: bool = False) -> int:
    """How many pairs a split has in all; with ``balance`` as many different as same ones."""
    same, different = same_and_different(sizes)
    return 2 * min(same, different) if balance else same + different


def apportion(count: int, weights: Sequence[int]) -> list[int]:
    """``count`` divided by ``weights`` into whole shares: rounded down, the rest to the largest remainders."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    shares = [count * w // whole for w in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(count * weights[i] % whole), i))
    for i in by_remainder[: count - sum(shares)]:
        shares[i] += 1
    return shares


def quotas(count: int, sizes: Mapping[str, int], balance: bool = False) -> dict[Couple, int]:
    """How many of ``count`` pairs are drawn of each two emotions; ``count`` at most :func:`total`."""
    found = numbers(sizes)
    same, different = same_and_different(sizes)
    weights = [(different if a == b else same) * n if balance else n for (a, b), n in found.items()]
    return dict(zip(found, apportion(count, weights), strict=True))


def least(sizes: Mapping[str, int], balance: bool = False) -> int:
    """The least number of pairs that can hold every image, and both same and different pairs if there are any."""
    whole = total(sizes, balance)
    low, high = 0, whole
    while low < high:
        middle = (low + high) // 2
        if suffices(middle, sizes, balance):
            high = middle
        else:
            low = middle + 1
    while low < whole and not suffices(low, sizes, balance):  # rounding may make a larger number suffice less
        low += 1
    return low


def suffices(count: int, sizes: Mapping[str, int], balance: bool = False) -> bool:
    """Whether ``count`` pairs, shared out by :func:`quotas`, have room for every image and for both kinds of pairs."""
    drawn = quotas(count, sizes, balance)
    ends = dict.fromkeys(sizes, 0)
    for (a, b), number in drawn.items():
        ends[a] += number
        ends[b] += number
    same, different = same_and_different(sizes)
    kinds = [sum(n for (a, b), n in drawn.items() if (a == b) == kind) for kind in (True, False)]
    return all(ends[e] >= sizes[e] for e in sizes) and (kinds[0] > 0 or not same) and (kinds[1] > 0 or not different)


def draw_pairs(
    members: Sequence[int], emotions: Sequence[str], count: int, seed: int, purpose: str, balance: bool = False
) -> Pairs:
    """``count`` pairs of ``members`` (positions in the corpus), shuffled by the seed.

    ``count`` from :func:`least` to :func:`total`.
    """
    stream = numpy_stream(seed, "drawn pairs", purpose)
    where = np.asarray(members, np.int64)
    labels = np.asarray(emotions)[where]
    groups = {str(e): where[labels == e] for e in np.unique(labels)}
    drawn = quotas(count, {e: len(g) for e, g in groups.items()}, balance)
    first, second = np.empty(count, np.int32), np.empty(count, np.int32)
    same = np.empty(count, np.bool_)
    spans: dict[Couple, slice] = {}
    at = 0
    for (a, b), number in drawn.items():
        span = spans[a, b] = slice(at, at + number)
        one, other = _of_one(stream, groups[a], number) if a == b else _of_two(stream, groups[a], groups[b], number)
        first[span], second[span], same[span] = one, other, a == b
        at += number
    for emotion, group in groups.items():
        _use_all(stream, emotion, group, first, second, spans)
    swap = first > second
    first[swap], second[swap] = second[swap], first[swap]
    order = stream.permutation(count)
    return Pairs(first[order], second[order], same[order])


def _of_one(stream: np.random.Generator, group: Ints, number: int) -> tuple[Ints, Ints]:
    """Pairs within a group: a path through all its images first, where that many are drawn."""
    n = len(group)
    taken = np.empty(0, np.int64)
    if number >= n - 1 > 0:
        path = stream.permutation(n)
        low, high = np.minimum(path[:-1], path[1:]), np.maximum(path[:-1], path[1:])
        taken = low * n + high

    def some(size: int) -> Ints:
        a, b = stream.integers(0, n, (2, size))
        a, b = a[a != b], b[a != b]
        return np.minimum(a, b) * n + np.maximum(a, b)

    def every() -> Ints:
        a, b = np.triu_indices(n, 1)
        return a * n + b

    keys = _distinct(stream, number, n * (n - 1) // 2, taken, some, every)
    return group[keys // n], group[keys % n]


def _of_two(stream: np.random.Generator, one: Ints, other: Ints, number: int) -> tuple[Ints, Ints]:
    """Pairs between two groups."""
    whole = len(one) * len(other)
    keys = _distinct(
        stream, number, whole, np.empty(0, np.int64),
        lambda size: stream.integers(0, whole, size), lambda: np.arange(whole, dtype=np.int64),
    )  # fmt: skip
    return one[keys // len(other)], other[keys % len(other)]


def _distinct(
    stream: np.random.Generator,
    number: int,
    whole: int,
    taken: Ints,
    some: Callable[[int], Ints],
    every: Callable[[], Ints],
) -> Ints:
    """``number`` distinct keys of ``whole``, the ``taken`` ones among them; ``some`` draws evenly, with repetition."""
    if 2 * number > whole:  # few are left out: all are less than twice as many
        return np.concatenate([taken, stream.permutation(np.setdiff1d(every(), taken))[: number - len(taken)]])
    keys = taken
    while len(keys) < number:
        missing = number - len(keys)
        more = stream.permutation(np.setdiff1d(some(missing + missing // 4 + 16), keys))
        keys = np.concatenate([keys, more[:missing]])
    return keys


def _use_all(
    stream: np.random.Generator,
    emotion: str,
    group: Ints,
    first: npt.NDArray[np.int32],
    second: npt.NDArray[np.int32],
    spans: Mapping[Couple, slice],
) -> None:
    """Let each unpaired image of an emotion replace one that is in several pairs."""
    places = []
    for (a, b), span in spans.items():
        for side, mine in ((first, a == emotion), (second, b == emotion)):
            if mine:
                places.append((side, span))
    uses = np.bincount(np.concatenate([side[span] for side, span in places]), minlength=int(group.max()) + 1)
    unused = group[uses[group] == 0].tolist()
    if not unused:
        return
    slots = np.concatenate([np.stack([np.full(s.stop - s.start, k), np.arange(s.start, s.stop)], axis=1)
                            for k, (_, s) in enumerate(places)])  # fmt: skip
    for k, at in stream.permutation(slots):
        side = places[k][0]
        if uses[side[at]] > 1:
            uses[side[at]] -= 1
            side[at] = unused.pop()
            if not unused:
                return
