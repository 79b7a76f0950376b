from __future__ import annotations

import json
import shutil
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamplex.corpus.emotions import EMOTIONS, PAPER_COUNTS
from siamplex.corpus.index import CorpusIndex, Entry
from siamplex.errors import InputError, StorageError, UsageError
from siamplex.pairs.build import PairOptions, build_pairs, open_store
from siamplex.pairs.images import stored_images
from siamplex.pairs.pairing import all_pairs
from siamplex.pairs.split import draw_split, read_split, write_split
from siamplex.pairs.store import stacked_bytes
from siamplex.pairs.table import format_table, pair_counts
from siamplex.schema import messages
from siamplex.schema.datum import decode
from siamplex.schema.lmdb_files import open_for_reading
from siamplex.schema.weights import read_caffemodel

PAPER_EMOTIONS = [e for e, n in sorted(PAPER_COUNTS.items()) for _ in range(n)]


def records(folder):
    # another test's net may hold the store open, and LMDB opens one only once in a process
    with open_for_reading(folder).begin() as txn:
        return [(bytes(k), bytes(v)) for k, v in txn.cursor()]


class TestPairing:
    @given(st.lists(st.sampled_from(EMOTIONS), min_size=2, max_size=25), st.integers(0, 5))
    def test_every_unordered_pair_once(self, emotions, seed):
        pairs = all_pairs(range(len(emotions)), emotions, seed, "x")
        found = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
        assert len(set(found)) == len(found) == comb(len(emotions), 2)
        assert all(a < b for a, b in found)
        assert [emotions[a] == emotions[b] for a, b in found] == pairs.same.tolist()

    def test_shuffled_by_the_seed(self):
        emotions = ["AN", "HA"] * 10
        one, again, other = (all_pairs(range(20), emotions, s, "x") for s in (1, 1, 2))
        assert np.array_equal(one.first, again.first) and not np.array_equal(one.first, other.first)

    def test_balance(self):
        emotions = ["AN"] * 5 + ["HA"] * 6 + ["SP"] * 7
        pairs = all_pairs(range(18), emotions, 0, "x", balance=True)
        same = comb(5, 2) + comb(6, 2) + comb(7, 2)
        assert pairs.same.sum() == same and len(pairs) == 2 * same

    def test_members_are_positions_in_the_corpus(self):
        pairs = all_pairs([3, 8, 9], ["AN"] * 10, 0, "x")
        assert {*pairs.first.tolist(), *pairs.second.tolist()} == {3, 8, 9}


class TestTable:
    def test_table_1_of_the_paper(self):
        counts = pair_counts(all_pairs(range(504), PAPER_EMOTIONS, 1, "all"), PAPER_EMOTIONS)
        assert sum(counts.values()) == 126_756 == comb(504, 2)
        for (a, b), found in counts.items():
            n, m = PAPER_COUNTS[a], PAPER_COUNTS[b]
            assert found == (comb(n, 2) if a == b else n * m)
        assert counts[("AN", "AN")] == 3741 and counts[("HA", "SA")] == 10_668

    def test_text(self):
        counts = pair_counts(all_pairs(range(504), PAPER_EMOTIONS, 1, "all"), PAPER_EMOTIONS)
        text = format_table(counts, "Table 1")
        assert text.splitlines()[2].split() == ["AN", "3,741", "7,134", "6,960", "11,049", "7,308", "3,828"]
        assert text.endswith("total 126,756 pairs: 22,655 same, 104,101 different")


def corpus(subjects):
    entries = tuple(Entry(f"{s}_{i}", None, s, e, False, "") for s in subjects for i, e in enumerate(EMOTIONS))
    return CorpusIndex(entries, {})


class TestSplit:
    def test_80_10_10_of_the_subjects(self):
        split = draw_split([f"{n:02d}F" for n in range(43)], seed=1)
        counts = {name: list(split.values()).count(name) for name in ("train", "val", "test")}
        assert counts == {"train": 35, "val": 4, "test": 4}

    @given(st.integers(3, 60), st.integers(0, 9))
    def test_every_subject_has_one_split_and_none_is_empty(self, count, seed):
        subjects = [f"s{n}" for n in range(count)]
        split = draw_split(subjects, seed=seed)
        assert sorted(split) == sorted(subjects) and set(split.values()) == {"train", "val", "test"}
        assert split == draw_split(subjects[::-1], seed=seed)

    @pytest.mark.parametrize(
        ("count", "fractions"), [(2, (0.8, 0.1, 0.1)), (9, (0.5, 0.1, 0.1)), (9, (1.2, -0.1, -0.1)), (5, (0, 0.5, 0.5))]
    )
    def test_refuses(self, count, fractions):
        if fractions == (0, 0.5, 0.5):
            with pytest.raises(UsageError):
                draw_split([f"s{n}" for n in range(count)], fractions)
            return
        with pytest.raises(UsageError):
            draw_split([f"s{n}" for n in range(count)], fractions)

    def test_a_given_file_is_honoured(self, tmp_path):
        index = corpus(["a", "b", "c"])
        given_split = {"a": "test", "b": "train", "c": "train"}
        write_split(given_split, tmp_path / "s.csv")
        assert read_split(tmp_path / "s.csv", index) == given_split

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("subject,split\na,train\nb,train\n", "expected a split for subject c, found none"),
            ("subject,split\na,train\na,test\nb,val\nc,val\n", "line 3: expected subject a in one split"),
            ("subject,split\na,holdout\n", "line 2: expected one of train, val, test, found 'holdout'"),
            ("subject,split\na,val\nb,test\nc,test\n", "the train split is empty"),
            ("who,where\n", "expected columns subject, split"),
        ],
    )
    def test_files_refused(self, tmp_path, text, message):
        (tmp_path / "s.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            read_split(tmp_path / "s.csv", corpus(["a", "b", "c"]))


class TestStore:
    def test_splits_share_no_subject(self, small_run):
        opened = open_store(small_run / "indexed")
        entries = opened.index.entries
        for name, lmdb_ in opened.store.lmdbs.items():
            members = {i for _, r in records(small_run / "indexed" / lmdb_["path"]) for i in decode(r)[0].ravel()}
            assert {opened.split[entries[int(i)].subject] for i in members} == {name}

    def test_both_layouts_hold_the_same_pairs(self, small_run):
        indexed = records(small_run / "indexed" / "train_indexed_lmdb")
        stacked = records(small_run / "stacked" / "train_stacked_lmdb")
        images = stored_images(open_store(small_run / "stacked"), small_run / "stacked")
        entries = open_store(small_run / "indexed").index.entries
        assert len(indexed) == len(stacked) == open_store(small_run / "indexed").store.lmdbs["train"]["pairs"]
        assert [k for k, _ in indexed] == [b"%08d" % i for i in range(len(indexed))]
        mean = np.array([104, 117, 123], np.float32)[:, None, None]
        for (_, a), (_, b) in zip(indexed[:200], stacked[:200], strict=True):
            (i, j), label = decode(a)[0].ravel().astype(int), decode(a)[1]
            pixels, other = decode(b)
            assert pixels.shape == (6, 35, 35) and pixels.dtype == np.uint8
            assert label == other == int(entries[i].emotion == entries[j].emotion)
            np.testing.assert_array_equal((pixels[:3] - mean) / 256, images[i])
            np.testing.assert_array_equal((pixels[3:] - mean) / 256, images[j])

    def test_the_table_is_an_embed_layer_of_all_images(self, small_run):
        path = small_run / "indexed" / "images.caffemodel"
        (table,) = read_caffemodel(path)["images"]
        assert table.shape == (48, 3 * 35 * 35)
        layer = messages.NetParameter.FromString(path.read_bytes()).layer[0]
        assert layer.type == "Embed" and layer.embed_param.input_dim == 48 and not layer.embed_param.bias_term
        images = stored_images(open_store(small_run / "indexed"), small_run / "indexed")
        again = stored_images(open_store(small_run / "stacked"), small_run / "stacked")
        np.testing.assert_array_equal(images, again)

    @pytest.mark.parametrize("scale", [1.0, 1 / 255])
    def test_another_scale_reaches_the_table_and_the_files_read_again(self, index, tmp_path, small_run, scale):
        stores = {}
        for layout in ("indexed", "stacked"):
            folder = tmp_path / layout
            build_pairs(index, folder, PairOptions(layout=layout, size=35, fractions=(0.6, 0.2, 0.2), scale=scale))
            stores[layout] = stored_images(open_store(folder), folder)
        np.testing.assert_array_equal(stores["indexed"], stores["stacked"])
        usual = stored_images(open_store(small_run / "indexed"), small_run / "indexed")
        np.testing.assert_allclose(stores["indexed"], usual * np.float32(256 * scale), rtol=1e-6)

    def test_a_store_of_before_the_scale_holds_pixels_as_they_are(self, small_run, tmp_path):
        folder = tmp_path / "old"
        shutil.copytree(small_run / "stacked", folder)
        text = json.loads((folder / "pairs.json").read_text())
        del text["options"]["scale"]
        (folder / "pairs.json").write_text(json.dumps(text))
        usual = stored_images(open_store(small_run / "stacked"), small_run / "stacked")
        np.testing.assert_array_equal(stored_images(open_store(folder), folder), usual * 256)

    @pytest.mark.parametrize("scale", [0, -1, float("nan"), "x"])
    def test_a_scale_that_is_none_is_refused(self, small_run, tmp_path, scale):
        folder = tmp_path / "bad"
        shutil.copytree(small_run / "stacked", folder)
        text = json.loads((folder / "pairs.json").read_text())
        text["options"]["scale"] = scale
        (folder / "pairs.json").write_text(json.dumps(text))
        with pytest.raises(InputError, match="description of a pair store"):
            open_store(folder)

    def test_39_gigabytes_are_said_and_the_disk_checked(self, index, tmp_path, monkeypatch, capsys):
        assert stacked_bytes(126_756, 227) == pytest.approx(39.5e9, rel=0.01)
        from siamplex.run import durable

        monkeypatch.setattr(durable, "free_bytes", lambda path: 10_000)
        with pytest.raises(StorageError, match=r"GB free for [\d,]+ stacked pairs"):
            build_pairs(index, tmp_path / "p", PairOptions(layout="stacked", size=35))
        assert "stacked pairs will take" in capsys.readouterr().err
        assert not list(tmp_path.glob("p/*lmdb"))

    def test_estimate_meets_what_is_written(self, small_run):
        entry = open_store(small_run / "stacked").store.lmdbs["train"]
        estimate = stacked_bytes(entry["pairs"], 35)
        assert 0.8 * estimate < entry["bytes"] < 1.05 * estimate

    def test_a_changed_image_is_noticed(self, index, tmp_path):
        from dataclasses import replace

        entries = (replace(index.entries[0], sha256="0" * 64), *index.entries[1:])
        with pytest.raises(InputError, match="expected the file that was indexed"):
            build_pairs(CorpusIndex(entries, {}), tmp_path / "p", PairOptions(size=35))
        assert not (tmp_path / "p" / "pairs.json").exists()

    def test_a_store_without_description_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"expected a pair store \(siamplex pairs\)"):
            open_store(tmp_path)
        (tmp_path / "pairs.json").write_text("[]")
        with pytest.raises(InputError, match="found a JSON list"):
            open_store(tmp_path)
