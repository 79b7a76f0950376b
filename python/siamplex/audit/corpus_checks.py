"""Faces, their counts, and the subjects of each split."""

from __future__ import annotations

from collections import Counter

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.run_files import RunFiles
from siamplex.corpus.emotions import PAPER_COUNTS
from siamplex.pairs.split import SPLITS

_NEAR = 0.05  # "about" 80/10/10


def check_corpus(files: RunFiles) -> list[Finding]:
    """Which faces, how many of each emotion, how subjects are split."""
    found = Findings("corpus")
    index, split = files.store.index, files.store.split
    drawn = sum(entry.synthetic for entry in index.entries)
    kind = f"{drawn} of {len(index)} drawn (synthetic)" if drawn else f"{len(index)} photographs"
    why = "stand-ins show that the method runs; they are no evidence about people" if drawn else ""
    found.stated("faces", "photographs of NimStim", kind, not drawn, why)
    found.stated("images of each emotion", _words(PAPER_COUNTS), _words(index.counts()))
    subjects = Counter(split[s] for s in index.subjects)
    shares = {name: subjects[name] / len(index.subjects) for name in SPLITS}
    near = all(abs(shares[name] - paper.FRACTIONS[name]) <= _NEAR for name in SPLITS)
    counts = ", ".join(f"{name} {subjects[name]} ({shares[name]:.0%})" for name in SPLITS)
    found.stated("subjects of each split", "about 80/10/10 %", counts, near, "subjects are split, not images")
    return found.made


def _words(counts: object) -> str:
    assert isinstance(counts, dict) or hasattr(counts, "items")
    return ", ".join(f"{emotion} {count}" for emotion, count in sorted(counts.items()))
