"""The corpus of a planned run, before anything is drawn or opened: images, subjects, pairs of each split."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from siamplex.corpus.emotions import EMOTIONS, PAPER_COUNTS
from siamplex.corpus.index import CorpusIndex, Entry, check_wanted, is_table, list_corpus
from siamplex.corpus.layout import find
from siamplex.errors import UsageError
from siamplex.faces.corpus import allot, scaled_counts
from siamplex.pairs.build import PairOptions, count_up


@dataclass(frozen=True)
class Corpus:
    """The index as it will be, the split of each subject, and how many pairs each split has."""

    index: CorpusIndex
    split: Mapping[str, str]
    pairs: Mapping[str, int]

    @property
    def drawn(self) -> bool:
        """Whether every face is drawn."""
        return all(entry.synthetic for entry in self.index.entries)

    @property
    def pair_count(self) -> int:
        """Pairs of all splits."""
        return sum(self.pairs.values())

    def emotions(self, *splits: str) -> set[str]:
        """Emotions shown in some splits."""
        return {e.emotion for e in self.index.entries if self.split[e.subject] in splits}

    def images(self, split: str) -> int:
        """Images of a split."""
        return sum(self.split[e.subject] == split for e in self.index.entries)


def index_of(
    faces: Path | None,
    actors: int,
    seed: int,
    folder: Path,
    layout: str | None = None,
    emotions: Collection[str] | None = None,
) -> CorpusIndex:
    """The index of the user's ``faces``, or of those that will be drawn into ``folder``; as ``siamplex index`` will.

    Raises InputError or UsageError where drawing or indexing would, except for faults that only pictures' content
    shows.
    """
    if faces is not None:
        if layout and is_table(faces):
            raise UsageError("INDEX_FLAGS: --layout: expected a folder of images, found a table")
        index = list_corpus(faces, find(layout) if layout else None, emotions or EMOTIONS)
        check_wanted(index, emotions, faces)
        return index
    portraits = allot(scaled_counts(PAPER_COUNTS, actors), actors, seed)
    entries = [
        Entry(p.name, folder / f"{p.name}.BMP", f"{p.number:02d}{p.sex}", p.emotion, True, "") for p in portraits
    ]
    index = CorpusIndex(tuple(e for e in entries if e.emotion in (emotions or EMOTIONS)), {})
    check_wanted(index, emotions, folder)
    return index


def corpus_of(index: CorpusIndex, options: PairOptions, split_file: Path | None, folder: Path) -> Corpus:
    """Split and pair an index, as ``siamplex pairs`` will.  Raises InputError or UsageError where it would."""
    split, pairs = count_up(index, options, split_file, folder)
    return Corpus(index, split, pairs)
