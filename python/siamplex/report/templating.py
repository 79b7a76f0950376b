"""The pages' Jinja environment: templates of this package, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def _groupby_in_order(items: Iterable[Any], name: str) -> list[tuple[Any, list[Any]]]:
    """(value, items) of runs of items with the same attribute, in the order given."""
    return [(value, list(members)) for value, members in groupby(items, lambda item: getattr(item, name))]


def environment() -> Environment:
    """Templates by name; an undefined name raises, and whatever is filled in is escaped for HTML."""
    made = Environment(
        loader=PackageLoader("siamplex.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    made.filters["groupby_in_order"] = _groupby_in_order
    return made
