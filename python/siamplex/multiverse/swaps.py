"""How far a circular order is from the paper's, over any of the paper's six emotions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from siamplex.geometry.orders import PAPER_ORDER, SWAPPED_ORDER, canonical, circular_orders

FEWEST = 4  # emotions below which there is but one circular order

Order = tuple[str, ...]


def papers_orders(emotions: Sequence[str]) -> tuple[Order, Order] | None:
    """The paper's order of some emotions, and the one with surprise and fear swapped; canonical.

    They are the same where surprise or fear is not among them.  None for fewer than four, whose circular order says
    nothing, and for emotions that the paper has not.
    """
    if len(set(emotions)) < FEWEST or not set(emotions) <= set(PAPER_ORDER):
        return None
    one, other = (canonical([e for e in order if e in emotions]) for order in (PAPER_ORDER, SWAPPED_ORDER))
    return one, other


def swaps_to_paper(order: Sequence[str]) -> int | None:
    """The least number of swaps of neighbours on the circle that turn ``order`` into the paper's.

    None where the paper has no such order (:func:`papers_orders`).  Of six emotions the farthest are 4 swaps away.
    """
    wanted = papers_orders(order)
    return _swaps(wanted[0])[canonical(order)] if wanted else None


def agreement(order: Sequence[str]) -> tuple[bool, bool] | None:
    """Whether an order is the paper's, and whether it is that or the one with surprise and fear swapped."""
    wanted = papers_orders(order)
    return (canonical(order) == wanted[0], canonical(order) in wanted) if wanted else None


def even_chances(emotions: Sequence[str]) -> tuple[Fraction, Fraction] | None:
    """Chances of the paper's order, and of either variant, if all orders are equally likely: 1/60, 1/30 for six."""
    wanted = papers_orders(emotions)
    if wanted is None:
        return None
    count = sum(1 for _ in circular_orders(sorted(set(emotions))))
    return Fraction(1, count), Fraction(len(set(wanted)), count)


@lru_cache(maxsize=8)
def _swaps(wanted: Order) -> dict[Order, int]:
    """Every order's number of swaps, found from ``wanted`` outwards."""
    found, front = {wanted: 0}, [wanted]
    while front:
        following = []
        for order in front:
            for i in range(len(order)):
                moved = list(order)
                j = (i + 1) % len(order)
                moved[i], moved[j] = moved[j], moved[i]
                other = canonical(moved)
                if other not in found:
                    found[other] = found[order] + 1
                    following.append(other)
        front = following
    return found
