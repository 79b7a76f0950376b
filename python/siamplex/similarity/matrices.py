"""Matrices of people's judgements: confusions of a forced choice, similarities or dissimilarities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siamplex.corpus.emotion_words import code_of
from siamplex.errors import InputError
from siamplex.schema.csv_files import read_lines
from siamplex.similarity.rdm import Matrix, Rdm, from_products

WAYS = ("profile", "mutual")  # from confusions to dissimilarities
KINDS = ("auto", "confusion", "similarity", "dissimilarity")
_MAX_ITEMS = 500
_ROUNDING = 0.03  # of a row's sum: six shares with two digits


@dataclass(frozen=True)
class Judgements:
    """A square table ``values`` (K, K) of named items, and the kind of matrix it is."""

    names: tuple[str, ...]
    values: Matrix
    kind: str

    def rdm(self, by: str = "profile") -> Rdm:
        """Dissimilarities.

        Confusions (rows are stimuli, columns answers) are first normalised to row shares p.  ``profile``: 1 - the
        correlation of two rows; items are alike if they draw the same answers.  ``mutual``: 1 - (p_ij + p_ji) / (p_ii +
        p_jj), at least 0; items are alike if they are mistaken for each other.  Similarities are subtracted from their
        largest value.
        """
        if self.kind == "dissimilarity":
            values = (self.values + self.values.T) / 2
        elif self.kind == "similarity":
            values = self.values.max() - (self.values + self.values.T) / 2
        elif by == "profile":
            centred = self.values / self.values.sum(axis=1, keepdims=True)
            centred = centred - centred.mean(axis=1, keepdims=True)
            values = from_products(centred @ centred.T, self.names, "correlation").values
        else:
            share = self.values / self.values.sum(axis=1, keepdims=True)
            right = np.diag(share)
            mixed = (share + share.T) / np.maximum(right[:, None] + right[None], 1e-12)
            values = np.maximum(1 - mixed, 0)
        values = values.copy()
        np.fill_diagonal(values, 0)
        return Rdm(self.names, values)


def read_judgements(path: Path, kind: str = "auto") -> Judgements:
    """Read a CSV: a header of item names (its first cell is free), then a row a named item.

    Emotions may be named by code, noun or adjective.  With ``auto``, a table with a zero diagonal is read as
    dissimilarities, and one whose rows sum to 1 or 100, or whose diagonal holds each row's largest value, as
    confusions.  Raises InputError, also if a table could be one of several kinds.
    """
    table = read_lines(path, "a matrix as CSV")
    lines = list(table)
    if len(lines) < 4 or len(lines) > _MAX_ITEMS + 1:
        raise InputError(path, f"a header and 3 to {_MAX_ITEMS} rows", f"{len(lines)} lines")
    width = max(at for _, row in lines for at, cell in enumerate(row, 1) if cell)  # without columns of nothing
    rows = [row[:width] for _, row in lines]
    names = tuple(_name(cell) for cell in rows[0][1:])
    values = np.empty((len(names), len(names)))
    if len(rows) - 1 != len(names) or len(set(names)) != len(names):
        raise InputError(path, "as many rows as columns, each named once", f"{len(rows) - 1} rows, {len(names)} names")
    for (number, _), row in zip(lines[1:], rows[1:], strict=True):
        if len(row) != len(names) + 1 or _name(row[0]) not in names:
            raise InputError(f"{path} line {number}", f"one of {', '.join(names)} and {len(names)} numbers", str(row))
        try:
            values[names.index(_name(row[0]))] = [table.number(cell) for cell in row[1:]]
        except ValueError as error:
            raise InputError(f"{path} line {number}", "numbers", str(error)) from None
    if sorted(_name(row[0]) for row in rows[1:]) != sorted(names):
        raise InputError(path, "a row for each column", "a row twice")
    if not np.isfinite(values).all():
        raise InputError(path, "finite numbers", "others")
    return Judgements(names, values, _kind(path, values, kind))


def _name(text: str) -> str:
    """An item's name: of an emotion its code, however it is written."""
    return code_of(text) or text.strip()


def _kind(path: Path, values: Matrix, kind: str) -> str:
    if kind == "auto":
        kind = _recognised(path, values)
    diagonal = np.diag(values)
    if kind != "similarity" and (values < 0).any():
        raise InputError(path, f"a {kind} matrix without negative numbers", f"{values.min():g}")
    if kind == "confusion" and not values.sum(axis=1).all():
        raise InputError(path, "answers in every row", "a row of zeros")
    if kind == "dissimilarity" and diagonal.any():
        raise InputError(path, "dissimilarities with a zero diagonal", f"{diagonal.max():g}")
    return kind


def _recognised(path: Path, values: Matrix) -> str:
    """The kind of matrix, by its numbers.  Raises InputError if it could be one of several."""
    diagonal = np.diag(values)
    symmetric = np.allclose(values, values.T, atol=1e-6 * np.abs(values).max(initial=1e-300))
    shares = (values >= 0).all() and _whole(values.sum(axis=1))
    if not diagonal.any():
        if shares and not symmetric:
            raise _ambiguous(path, "a zero diagonal and rows that sum to one: wrong answers alone, or dissimilarities?")
        return "dissimilarity"
    if shares:
        return "confusion"  # of a forced choice, also where an emotion is mostly taken for another
    if (values >= 0).all() and _whole(values.sum(axis=0)):
        raise _ambiguous(path, "columns that sum to one: rows must be what was shown, columns what was answered")
    if symmetric and np.ptp(diagonal) == 0:
        raise _ambiguous(path, "a symmetric table with one value on the diagonal: similarities?")
    if (diagonal >= values.max(axis=1)).all() and (values >= 0).all():
        return "confusion"
    raise _ambiguous(path, "none of these")


def _whole(sums: Matrix) -> bool:
    """Whether all sums are 1, or 100, but for rounding."""
    return any(bool((np.abs(sums - total) <= _ROUNDING * total).all()) for total in (1, 100))


def _ambiguous(path: Path, found: str) -> InputError:
    expected = "a zero diagonal, rows that sum to 1 or 100, or a diagonal with each row's largest value"
    return InputError(path, expected, f"{found} (--kind says which it is)")
