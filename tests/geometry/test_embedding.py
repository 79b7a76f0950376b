from __future__ import annotations

import csv

import numpy as np
import pytest

from siamplex.errors import InputError
from siamplex.geometry.embedding import read_embedding, write_embedding
from siamplex.geometry.extraction import embed
from siamplex.nets.architecture import Architecture
from siamplex.nets.train_val import deploy
from siamplex.pairs.build import open_store
from siamplex.schema import prototxt
from siamplex.weights.initial import write_initial


@pytest.fixture(scope="module")
def made(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("embed")
    prototxt.write(folder / "deploy.prototxt", deploy(Architecture(size=35, width=0.125)))
    write_initial(folder / "deploy.prototxt", folder / "init.caffemodel", None, seed=1)
    return folder


def run(small_run, made, layout="indexed", blob="fc6", batch=7):
    store = small_run / layout
    return embed(open_store(store), store, made / "deploy.prototxt", made / "init.caffemodel", blob, batch, "cpu")


def test_every_image_has_a_point_and_a_name(small_run, made):
    embedding = run(small_run, made)
    assert embedding.points.shape == (48, 2) and np.isfinite(embedding.points).all()
    assert len(np.unique(embedding.points, axis=0)) == 48
    assert embedding.images[0] == "01F_AN_O" and set(embedding.splits) == {"train", "val", "test"}
    assert any("synthetic" in note for note in embedding.facts["notes"])
    assert any("not from AlexNet" in note for note in embedding.facts["notes"])


def test_layout_and_batch_do_not_matter(small_run, made):
    one = run(small_run, made)
    np.testing.assert_allclose(run(small_run, made, batch=48).points, one.points, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run(small_run, made, layout="stacked").points, one.points, rtol=1e-4, atol=1e-5)
    assert run(small_run, made, blob="fc5").points.shape == (48, 32)


def test_files_go_round(small_run, made, tmp_path):
    embedding = run(small_run, made)
    write_embedding(embedding, tmp_path / "e")
    back = read_embedding(tmp_path / "e.npz")
    np.testing.assert_array_equal(back.points, embedding.points)
    assert (back.images, back.splits, back.facts) == (embedding.images, embedding.splits, embedding.facts)
    with (tmp_path / "e.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["image", "subject", "emotion", "split", "x", "y"]
    assert np.float32(rows[5]["x"]) == embedding.points[5, 0]


def test_what_does_not_fit_is_refused(small_run, made, tmp_path):
    prototxt.write(tmp_path / "deploy.prototxt", deploy(Architecture(size=67, width=0.125)))
    store = open_store(small_run / "indexed")
    with pytest.raises(InputError, match="expected shape"):
        embed(store, small_run / "indexed", tmp_path / "deploy.prototxt", made / "init.caffemodel", "fc6", 8, "cpu")
    data = (made / "init.caffemodel").read_bytes()
    (tmp_path / "cut.caffemodel").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="expected a whole caffemodel"):
        embed(store, small_run / "indexed", made / "deploy.prototxt", tmp_path / "cut.caffemodel", "fc6", 8, "cpu")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"\x93NUMPY\x01\x00"])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "e.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"expected an embedding \(siamplex extract\)"):
        read_embedding(tmp_path / "e.npz")


def test_no_pickles(tmp_path):
    np.savez(tmp_path / "e.npz", points=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError):
        read_embedding(tmp_path / "e.npz")
