from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from siamplex.engine.snapshot import iteration_of, note_of
from siamplex.errors import InputError, StorageError
from siamplex.nets.architecture import Architecture
from siamplex.nets.train_val import deploy
from siamplex.schema import messages, prototxt
from siamplex.schema.weights import read_caffemodel, write_caffemodel
from siamplex.weights import alexnet
from siamplex.weights.initial import ungroup, write_initial
from siamplex.weights.substitute import NOTE, gabor_bank


@pytest.fixture
def tower(tmp_path):
    path = tmp_path / "deploy.prototxt"
    prototxt.write(path, deploy(Architecture(size=67, width=0.125)))
    return path


@pytest.fixture
def fake_alexnet(tmp_path, monkeypatch):
    """A caffemodel of AlexNet's first shapes that passes for the real one."""
    stream = np.random.default_rng(0)
    layers = []
    for name, shape in alexnet.SHAPES.items():
        blobs = [stream.normal(size=shape).astype(np.float32), stream.normal(size=shape[0]).astype(np.float32)]
        layers.append((messages.LayerParameter(name=name), blobs))
    path = tmp_path / "alexnet.caffemodel"
    write_caffemodel(path, "AlexNet", layers)
    import hashlib

    monkeypatch.setattr(alexnet, "SHA1", hashlib.sha1(path.read_bytes()).hexdigest())
    return path


def test_the_substitute_says_so(tower, tmp_path):
    made = write_initial(tower, tmp_path / "init.caffemodel", None, seed=1)
    assert made.note == NOTE and "not from AlexNet" in note_of(made.path)
    layers = read_caffemodel(made.path)
    assert set(layers) == {"conv1", "conv2", "conv3", "fc4", "fc5", "fc6"}
    first = layers["conv1"][0]
    np.testing.assert_allclose(first.sum(axis=(1, 2, 3))[::2][:4], 0, atol=1e-5)
    again = write_initial(tower, tmp_path / "again.caffemodel", None, seed=1)
    assert again.sha256 == made.sha256
    assert write_initial(tower, tmp_path / "other.caffemodel", None, seed=2).sha256 != made.sha256


def test_gabors_differ_in_direction_colour_and_phase():
    bank = gabor_bank(96, 11)
    assert bank.shape == (96, 3, 11, 11)
    flat = bank.reshape(96, -1) / np.linalg.norm(bank.reshape(96, -1), axis=1, keepdims=True)
    grey = flat[::2]
    overlap = np.abs(grey @ grey.T) - np.eye(48)
    assert overlap.max() < 0.999
    assert np.allclose(bank[0, 0], bank[0, 1])  # even: brightness
    assert not np.allclose(bank[1, 0], bank[1, 1])  # odd: colour


def test_alexnets_convolutions_are_taken(fake_alexnet, tmp_path):
    path = tmp_path / "deploy.prototxt"
    prototxt.write(path, deploy(Architecture(size=67)))
    made = write_initial(path, tmp_path / "init.caffemodel", fake_alexnet, seed=1)
    assert "bvlc_alexnet.caffemodel" in made.note
    given, found = read_caffemodel(fake_alexnet), read_caffemodel(made.path)
    for name in alexnet.SHAPES:
        for a, b in zip(given[name], found[name], strict=True):
            np.testing.assert_array_equal(a, b)
    assert json.loads((tmp_path / "init.json").read_text())["note"] == made.note


def test_ungrouped_kernels_compute_the_same():
    stream = np.random.default_rng(0)
    w = stream.normal(size=(8, 3, 5, 5)).astype(np.float32)
    x = torch.from_numpy(stream.normal(size=(1, 6, 9, 9)).astype(np.float32))
    full = ungroup(w, (8, 6, 5, 5))
    assert full.shape == (8, 6, 5, 5)
    conv = torch.nn.functional.conv2d
    torch.testing.assert_close(
        conv(x, torch.from_numpy(full)), conv(x, torch.from_numpy(w), groups=2), rtol=1e-4, atol=1e-4
    )


def test_a_tower_of_another_width_does_not_take_alexnet(fake_alexnet, tower, tmp_path):
    with pytest.raises(InputError, match="expected conv1 of AlexNet's shape"):
        write_initial(tower, tmp_path / "init.caffemodel", fake_alexnet, seed=1)
    assert not (tmp_path / "init.caffemodel").exists()


def test_another_file_is_not_alexnet(tmp_path, tower):
    (tmp_path / "a").write_bytes(b"not it")
    with pytest.raises(InputError, match="SHA-1 9116a64c0fbe4459d18f4bb6b56d647b63920377, found"):
        alexnet.verify(tmp_path / "a")
    with pytest.raises(InputError):
        write_initial(tower, tmp_path / "init.caffemodel", tmp_path / "a", seed=1)


def test_fetch_keeps_only_the_right_file(tmp_path, fake_alexnet, monkeypatch):
    alexnet.fetch(tmp_path / "got", fake_alexnet.as_uri())
    assert (tmp_path / "got").read_bytes() == fake_alexnet.read_bytes()
    (tmp_path / "wrong").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="SHA-1"):
        alexnet.fetch(tmp_path / "new", (tmp_path / "wrong").as_uri())
    with pytest.raises(StorageError, match="expected to download it"):
        alexnet.fetch(tmp_path / "new", (tmp_path / "nowhere").as_uri())
    assert not [p for p in tmp_path.iterdir() if "new" in p.name]


def test_a_file_given_by_hand_is_verified(tmp_path, fake_alexnet):
    alexnet.take(fake_alexnet, tmp_path / "w" / "bvlc_alexnet.caffemodel")
    (tmp_path / "bad").write_bytes(b"x")
    with pytest.raises(InputError):
        alexnet.take(tmp_path / "bad", tmp_path / "w2")
    assert not (tmp_path / "w2").exists()


def test_iterations_are_read_off_names(tmp_path):
    assert iteration_of(tmp_path / "snap_iter_4000.caffemodel") == 4000
    assert iteration_of(tmp_path / "init.caffemodel") == 0
    assert note_of(tmp_path / "unknown.caffemodel") == ""
