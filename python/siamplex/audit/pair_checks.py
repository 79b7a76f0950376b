"""Checks of the training pairs: complete, without repetition, correctly labelled, no subject in two splits."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb

import numpy as np

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.run_files import RunFiles
from siamplex.audit.stored_pairs import StoredPairs

_POLARITY = "Caffe's label 1 (similar) is the paper's Y = 0 (same)"


def check_pairs(files: RunFiles, stored: Mapping[str, StoredPairs]) -> list[Finding]:
    """Compare the stored pairs with the index and the split."""
    found = Findings("pairs")
    _count(found, files, stored)
    _once(found, files, stored)
    _labels(found, files, stored)
    _subjects(found, files, stored)
    found.silent(
        "order of the pairs", f"shuffled once by seed {files.store.store.options['seed']}, then round and round"
    )
    return found.made


def _count(found: Findings, files: RunFiles, stored: Mapping[str, StoredPairs]) -> None:
    count = len(files.store.index)
    each = ", ".join(f"{name} {pairs.records:,}" for name, pairs in stored.items())
    why = (
        f"{paper.ALL_PAIRS:,} is C({paper.IMAGES}, 2), the pairs of all {paper.IMAGES} images; an 80 % split of "
        "the subjects leaves about two thirds of them, and pairs across splits belong to none"
    )
    found.inconsistent("number of pairs", f"{paper.ALL_PAIRS:,}", f"{comb(count, 2):,} of all {count}; {each}", why)


def _once(found: Findings, files: RunFiles, stored: Mapping[str, StoredPairs]) -> None:
    words, holds = [], True
    for name, pairs in stored.items():
        images = sum(files.store.split[e.subject] == name for e in files.store.index.entries)
        keys = np.minimum(pairs.first, pairs.second) * len(files.store.index) + np.maximum(pairs.first, pairs.second)
        twice = len(keys) - len(np.unique(keys)) if not pairs.unknown else 0
        itself = int((pairs.first == pairs.second).sum()) if not pairs.unknown else 0
        holds &= pairs.records == comb(images, 2) and not twice and not itself
        words.append(f"{name} {pairs.records:,} of {comb(images, 2):,}")
        if twice or itself:
            words[-1] += f", {twice} twice, {itself} of an image with itself"
    drawn = files.store.store.options.get("count")
    why = "; ".join(filter(None, [f"drawn on purpose: --pairs {drawn}" if drawn else "", _looked_at(stored)]))
    found.stated("every unordered pair, once", "all pairs", "; ".join(words), holds, why)


def _labels(found: Findings, files: RunFiles, stored: Mapping[str, StoredPairs]) -> None:
    emotions = np.array([e.emotion for e in files.store.index.entries])
    wrong, total, same = 0, 0, 0
    for pairs in stored.values():
        known = (pairs.first >= 0) & (pairs.second >= 0)
        truth = emotions[pairs.first[known]] == emotions[pairs.second[known]]
        wrong += int((pairs.label[known] != truth).sum())
        same += int(truth.sum())
        total += len(truth)
    if not total:
        found.unchecked("labels", "Y = 1 for different", "no record could be told by its images")
        return
    words = f"label 1 for same, {same / total:.1%} of the pairs"
    if wrong:
        words = f"{wrong:,} of {total:,} labels are not what the emotions say"
    why = _POLARITY + ("; all labels are reversed" if wrong == total else "")
    found.stated("labels", "Y = 1 for different, 0 for same", words, not wrong, why)


def _subjects(found: Findings, files: RunFiles, stored: Mapping[str, StoredPairs]) -> None:
    subjects = np.array([e.subject for e in files.store.index.entries])
    seen = {
        name: set(subjects[np.unique(np.concatenate([p.first, p.second])[np.concatenate([p.first, p.second]) >= 0])])
        for name, p in stored.items()
    }
    names = list(seen)
    both = {s for i, a in enumerate(names) for b in names[i + 1 :] for s in seen[a] & seen[b]}
    stray = {s for name in names for s in seen[name] if files.store.split[s] != name}
    words = "no subject in two splits"
    if both:
        words = f"{len(both)} in two splits: {', '.join(sorted(both)[:5])}"
    elif stray:
        words = f"{len(stray)} not in the split that split.csv says: {', '.join(sorted(stray)[:5])}"
    found.stated(
        "subjects apart", "test subjects are new to the net", words, not both and not stray, _looked_at(stored)
    )


def _looked_at(stored: Mapping[str, StoredPairs]) -> str:
    part = [f"{len(p.label):,} of {p.records:,} {name} records" for name, p in stored.items() if not p.complete]
    return f"looked at {', '.join(part)}; --all-records looks at all" if part else ""
