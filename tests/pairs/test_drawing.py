from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamplex.corpus_index import CorpusIndex, Entry
from siamplex.emotions import EMOTIONS, PAPER_COUNTS
from siamplex.errors import UsageError
from siamplex.learning import classes_of
from siamplex.pairs.build import PairOptions, build_pairs, count_up, open_store, pair_up
from siamplex.pairs.drawing import apportion, draw_pairs, least, numbers, quotas, suffices, total
from siamplex.pairs.forecast import forecast
from siamplex.pairs.pairing import Pairs, all_pairs
from siamplex.pairs.store import write_indexed
from siamplex.pairs.table import full_counts, pair_counts
from siamplex.schema import messages
from siamplex.schema.lmdb_files import open_for_reading

PAPER = [e for e, n in sorted(PAPER_COUNTS.items()) for _ in range(n)]


def found(pairs):
    return list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@given(st.integers(0, 500), st.lists(st.integers(0, 10**9), min_size=1, max_size=9))
def test_shares_add_up_and_are_within_one(count, weights):
    shares = apportion(count, weights)
    if sum(weights):
        assert sum(shares) == count
        assert all(abs(s - count * w / sum(weights)) < 1 for s, w in zip(shares, weights, strict=True))


@given(st.lists(st.sampled_from(EMOTIONS), min_size=1, max_size=40))
def test_all_pairs_are_counted_without_making_them(emotions):
    made = pair_counts(all_pairs(range(len(emotions)), emotions, 0, "x"), emotions)
    assert full_counts(emotions) == made
    assert total(Counter(emotions)) == comb(len(emotions), 2)


@given(st.lists(st.integers(1, 12), min_size=2, max_size=6), st.integers(0, 10**6), st.integers(0, 4), st.booleans())
def test_what_is_drawn(sizes, number, seed, balance):
    emotions = [e for e, n in zip(EMOTIONS, sizes, strict=False) for _ in range(n)]
    members = list(range(3, 3 + len(emotions)))
    emotions = ["XX"] * 3 + emotions
    counts = Counter(emotions[3:])
    low, high = least(counts, balance), total(counts, balance)
    if not high or low > high or not suffices(high, counts, balance):
        return
    count = low + number % (high - low + 1)
    if not suffices(count, counts, balance):
        return
    pairs = draw_pairs(members, emotions, count, seed, "x", balance)
    drawn = found(pairs)
    assert len(set(drawn)) == len(drawn) == count and all(a < b for a, b in drawn)
    assert {i for pair in drawn for i in pair} == set(members)
    assert pairs.same.tolist() == [emotions[a] == emotions[b] for a, b in drawn]
    shares = {k: n for k, n in pair_counts(pairs, emotions).items() if "XX" not in k}
    assert shares == quotas(count, counts, balance)
    if balance:
        assert abs(2 * int(pairs.same.sum()) - count) <= 2 * len(shares)
    else:
        whole = numbers(counts)
        assert all(abs(n - count * whole[k] / high) < 1 for k, n in shares.items())
    again = draw_pairs(members, emotions, count, seed, "x", balance)
    assert found(again) == drawn


def test_the_least_is_the_least():
    for counts in (Counter(PAPER), Counter({"HA": 5, "SA": 4}), Counter({"HA": 2, "SA": 1, "AN": 9})):
        low = least(counts)
        assert suffices(low, counts) and not any(suffices(n, counts) for n in range(low))


class TestThePapersFaces:
    def test_shares_of_table_1_and_other_seeds(self):
        one, other = (draw_pairs(range(504), PAPER, 5000, seed, "train") for seed in (1, 2))
        whole = full_counts(PAPER)
        for couple, number in pair_counts(one, PAPER).items():
            assert abs(number - 5000 * whole[couple] / 126_756) < 1
        assert abs(one.same.mean() - 22_655 / 126_756) < 0.004
        assert set(found(one)) != set(found(other))

    def test_every_pair_is_as_likely(self):
        """Drawn 400 times, no pair of a kind comes more often than another by chance."""
        emotions = ["HA"] * 9 + ["SA"] * 9
        seen = Counter(p for seed in range(400) for p in found(draw_pairs(range(18), emotions, 76, seed, "x")))
        assert len(seen) == comb(18, 2)
        for kind in (True, False):
            times = [n for (a, b), n in seen.items() if (emotions[a] == emotions[b]) == kind]
            # 400 draws of about a half: six standard errors are 60
            assert max(times) - min(times) < 120 and abs(np.mean(times) - 400 * 76 / 153) < 5

    def test_same_pairs_join_each_emotion(self):
        pairs = draw_pairs(range(504), PAPER, 7000, 1, "train")
        classes = classes_of(504, pairs.first, pairs.second, pairs.same)
        assert len(set(classes.tolist())) == 6

    def test_few_pairs_still_use_every_image(self):
        low = least(Counter(PAPER))
        assert 252 <= low < 300
        pairs = draw_pairs(range(504), PAPER, low, 1, "train")
        assert len(np.unique(np.concatenate([pairs.first, pairs.second]))) == 504


def many(images, subjects=40):
    entries = tuple(
        Entry(f"i{i}", None, f"s{i % subjects}", EMOTIONS[i // subjects % 6], False, "") for i in range(images)
    )
    return CorpusIndex(entries, {})


class TestSplits:
    def test_pairs_are_shared_among_the_splits(self):
        index = many(4800)
        options = PairOptions(count=200_000)
        split, counts = count_up(index, options)
        assert sum(counts.values()) == 200_000
        whole = count_up(index, PairOptions())[1]
        assert all(abs(counts[n] - 200_000 * whole[n] / sum(whole.values())) < 1 for n in counts)
        for name, pairs in pair_up(index, options, split, counts):
            assert len(pairs) == counts[name]
            used = np.unique(np.concatenate([pairs.first, pairs.second]))
            assert [split[index.entries[i].subject] for i in used] == [name] * len(used)
            assert len(used) == sum(split[e.subject] == name for e in index.entries)

    def test_small_splits_get_what_they_need(self):
        index = many(1200)
        split = count_up(index, PairOptions())[0]
        sizes = [Counter(e.emotion for e in index.entries if split[e.subject] == n) for n in ("train", "val", "test")]
        low = sum(map(least, sizes))
        _, counts = count_up(index, PairOptions(count=low + 40))
        assert sum(counts.values()) == low + 40 and min(counts.values()) >= 60
        with pytest.raises(UsageError, match=f"--pairs: expected at least {low:,}, .* found 9"):
            count_up(index, PairOptions(count=9))

    def test_as_many_as_there_are_are_all(self, index, tmp_path):
        options = PairOptions(size=20, fractions=(0.6, 0.2, 0.2))
        split, counts = count_up(index, options)
        whole = dict(pair_up(index, options, split, counts))
        over = replace(options, count=10**9)
        assert count_up(index, over) == (split, counts)
        for name, pairs in pair_up(index, over, *count_up(index, over)):
            assert found(pairs) == found(whole[name])

    def test_a_store_is_written_and_says_how(self, index, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        from siamplex.cli import main
        from siamplex.corpus_index import write_index

        write_index(index, tmp_path / "run/index.csv")
        assert main("pairs --size 20 --fractions 0.6 0.2 0.2 --pairs 150".split()) == 0
        said = capsys.readouterr()
        assert "run/pairs: 150 pairs: about " in said.err and " of memory and " in said.err
        store = open_store(tmp_path / "run/pairs").store
        assert sum(part["pairs"] for part in store.lmdbs.values()) == 150 and store.options["count"] == 150
        assert main("pairs --size 20 --fractions 0.6 0.2 0.2 --pairs 3 --out new".split()) == 2
        assert main("pairs --size 20 --pairs 0 --out new".split()) == 2
        assert not (tmp_path / "new").exists()


def test_a_picture_gone_bad_leaves_the_old_store(index, tmp_path):
    options = PairOptions(size=20, fractions=(0.6, 0.2, 0.2))
    build_pairs(index, tmp_path / "p", options)
    before = {p: p.read_bytes() for p in sorted((tmp_path / "p").rglob("*")) if p.is_file()}
    bad = CorpusIndex((*index.entries[:-1], replace(index.entries[-1], sha256="0" * 64)), {})
    with pytest.raises(Exception, match="expected the file that was indexed"):
        build_pairs(bad, tmp_path / "p", replace(options, seed=2))
    assert {p: p.read_bytes() for p in sorted((tmp_path / "p").rglob("*")) if p.is_file()} == before


def test_records_are_datums(tmp_path):
    pairs = Pairs(np.array([0, 7, 19_999], np.int32), np.array([1, 16_000_001, 20_000], np.int32),
                  np.array([True, False, True]))  # fmt: skip
    write_indexed(tmp_path / "l", pairs)
    with open_for_reading(tmp_path / "l").begin() as txn:
        records = [bytes(v) for _, v in txn.cursor()]
    for record, first, second, same in zip(records, pairs.first, pairs.second, pairs.same, strict=True):
        datum = messages.Datum(channels=2, height=1, width=1, label=int(same))
        datum.float_data.extend((float(first), float(second)))
        assert record == datum.SerializeToString()


class TestForecast:
    @pytest.mark.parametrize("count", [None, 200])
    def test_disk_meets_what_is_written(self, index, tmp_path, count):
        options = PairOptions(size=35, fractions=(0.6, 0.2, 0.2), count=count)
        told = forecast(count_up(index, options)[1], len(index), 35, "indexed", count is not None)
        build_pairs(index, tmp_path / "p", options)
        content = json.loads((tmp_path / "p" / "pairs.json").read_text())
        written = content["table"]["bytes"] + sum(part["bytes"] for part in content["lmdbs"].values())
        assert told.table <= content["table"]["bytes"] < told.table + 100
        assert 0.6 * written < told.disk < 1.2 * written  # small stores are pages for the most part

    def test_many_images_are_told_before_anything_is_made(self):
        index = many(8000)
        counts = count_up(index, PairOptions())[1]
        told = forecast(counts, 8000, 227, "indexed", False)
        assert counts["train"] == comb(6400, 2) and told.pairs == sum(counts.values())
        assert 4.9e9 < 8000 * 3 * 227**2 * 4 < told.disk < 6.5e9
        assert "a real Caffe reads 2 GiB" in told.words()
        drawn = forecast({"train": 10**6}, 8000, 227, "indexed", True)
        assert drawn.memory < 0.4e9 and drawn.memory < told.memory / 2

    def test_twenty_thousand_images_are_counted_at_once(self):
        counts = count_up(many(20_000), PairOptions())[1]  # 130 million pairs, none made
        assert counts["train"] == comb(16_000, 2)

    @pytest.mark.slow
    def test_memory_grows_with_what_is_drawn_alone(self):
        """Half a million pairs of 20,000 images (200 million in all), in a process of their own."""
        code = """
import resource
from siamplex.pairs.drawing import draw_pairs
emotions = ["AN", "HA", "SA"] * 6667
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pairs = draw_pairs(range(20_000), emotions, 500_000, 1, "x")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / len(pairs))
"""
        each = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        assert each < 120
