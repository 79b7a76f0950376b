from __future__ import annotations

from collections import Counter
from itertools import combinations, islice

import pytest

from siamplex.multiverse.grid import DEFAULTS, read
from siamplex.multiverse.sampling import balanced, sample, sequence
from siamplex.multiverse.splits import folds, shuffled_labels


@pytest.fixture(scope="module")
def grid():
    return read(DEFAULTS, {})


@pytest.mark.parametrize("count", [7, 30, 60, 150])
def test_every_beginning_is_balanced(grid, count):
    some = [{**dict(t.settings), "seed": t.seed, "fold": t.fold} for t in islice(balanced(grid), count)]
    levels = {**grid.trained, "seed": grid.seeds, "fold": range(grid.folds)}
    for name, values in levels.items():
        counts = Counter(one[name] for one in some)
        assert max(counts.values()) - min(counts[value] for value in values) <= 1
    assert len({tuple(sorted(one.items())) for one in some}) == count


def test_pairs_of_values_are_balanced_too(grid):
    some = [{**dict(t.settings), "seed": t.seed} for t in islice(balanced(grid), 150)]
    levels = {name: values for name, values in {**grid.trained, "seed": grid.seeds}.items() if len(values) > 1}
    for a, b in combinations(levels, 2):
        counts = Counter((one[a], one[b]) for one in some)
        expected = 150 / (len(levels[a]) * len(levels[b]))
        # by chance they would be off by about the root of what is expected
        assert all(abs(counts[(x, y)] - expected) < 0.7 * expected**0.5 for x in levels[a] for y in levels[b])


def test_a_larger_sample_has_the_smaller_one(grid):
    assert sample(grid, 40)[:20] == sample(grid, 20)[:20]
    assert {t.id for t in sample(grid, 20)} <= {t.id for t in sample(grid, 40)}


def test_controls_come_in_proportion(grid):
    counts = Counter(t.control for t in sample(grid, 150))
    assert counts == {"": 150, "shuffled": 30, "untrained": 30}
    first = Counter(t.control for t in islice(sequence(grid), 36))
    assert first == {"": 30, "shuffled": 6}
    assert all(set(dict(t.settings)) == {"scale", "pool3"} for t in sample(grid, 5) if t.control == "untrained")


def test_the_whole_of_a_small_grid_comes_once(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text("seeds = [1, 2]\nfolds = 3\n[dimensions]\nbatch = [4, 8]\nmomentum = [0, 0.5, 0.9]\n")
    own = {name: values[0] for name, values in read(DEFAULTS, {}).dimensions.items()}
    small = read(path, own)
    found = [t.id for t in sample(small, small.size + 5)]
    assert len(found) == len(set(found)) == small.size == 36
    assert set(found) == {t.id for t in small.trainings()}


def test_each_subject_is_held_out_once(index):
    many = [f"{n:02}" for n in range(43)]
    found = folds(many, 10, seed=1)
    assert Counter(s for split in found for s, part in split.items() if part == "test") == dict.fromkeys(many, 1)
    assert Counter(s for split in found for s, part in split.items() if part == "val") == dict.fromkeys(many, 1)
    assert {sum(part == "test" for part in split.values()) for split in found} == {4, 5}
    assert folds(many, 10, seed=1) == found != folds(many, 10, seed=2)


def test_shuffled_labels_change_names_within_each_subject(index):
    shown = [entry.emotion for entry in index.entries]
    told = shuffled_labels(index, 3, "a")
    assert told != shown and told == shuffled_labels(index, 3, "a") != shuffled_labels(index, 4, "a")
    assert told != shuffled_labels(index, 3, "b")
    renamed = {}
    for subject in index.subjects:
        own = [(a, b) for entry, a, b in zip(index.entries, shown, told, strict=True) if entry.subject == subject]
        names = dict(own)
        # one name for all images of an emotion, and no name twice
        assert all(names[a] == b for a, b in own) and sorted(names) == sorted(names.values())
        renamed[subject] = tuple(sorted(names.items()))
    assert len(set(renamed.values())) > 1
