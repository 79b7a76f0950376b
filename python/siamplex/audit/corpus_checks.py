"""Faces, their counts, and the subjects of each split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.run_files import RunFiles
from siamplex.corpus.emotions import EMOTIONS, NAMES, PAPER_COUNTS, in_order
from siamplex.geometry.orders import FEWEST, order_agreement, paper_order
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
    emotions = index.emotions
    words = ", ".join(NAMES[e] for e in emotions)
    found.stated("emotions", ", ".join(NAMES[e] for e in EMOTIONS), words, None, not_comparable(emotions))
    found.stated("images of each emotion", _words(PAPER_COUNTS), _words(index.counts()))
    subjects = Counter(split[s] for s in index.subjects)
    shares = {name: subjects[name] / len(index.subjects) for name in SPLITS}
    near = all(abs(shares[name] - paper.FRACTIONS[name]) <= _NEAR for name in SPLITS)
    counts = ", ".join(f"{name} {subjects[name]} ({shares[name]:.0%})" for name in SPLITS)
    found.stated("subjects of each split", "about 80/10/10 %", counts, near, "subjects are split, not images")
    return found.made


def not_comparable(emotions: Sequence[str]) -> str:
    """What cannot be compared with the paper where a run has other emotions; empty for the paper's six."""
    missing, more = [e for e in EMOTIONS if e not in emotions], [e for e in emotions if e not in EMOTIONS]
    words = []
    if missing:
        words.append(f"without {' and '.join(NAMES[e] for e in missing)} Table 1 is another")
        known = order_agreement(paper_order(emotions))
        if len(known.compared) < FEWEST:
            words.append("the order round the circle cannot be compared (it takes four of the paper's emotions)")
        else:
            words.append(
                f"the order round the circle is compared over {len(known.compared)} emotions (chance "
                f"{known.chance_one}, of either order {known.chance_either}; the paper's 1/60, 1/30)"
            )
        couples = [c for c in (("SP", "FE"), ("AN", "DI")) if not set(c) <= set(emotions)]
        words += [f"no overlap of {NAMES[a]} and {NAMES[b]}" for a, b in couples]
    if more:
        names = " and ".join(NAMES[e] for e in in_order(more))
        words.append(f"{names} {'has' if len(more) == 1 else 'have'} no place in the paper's order, circle and counts")
        words.append("shares of same and different pairs, accuracies and losses are of more emotions")
    return "; ".join(words)


def _words(counts: object) -> str:
    assert isinstance(counts, dict) or hasattr(counts, "items")
    return ", ".join(f"{emotion} {count}" for emotion, count in sorted(counts.items()))
