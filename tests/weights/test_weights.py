from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.weights.conftest import as_npz

from siamplex.engine.training.snapshot import iteration_of, note_of
from siamplex.errors import InputError
from siamplex.nets.architecture import Architecture
from siamplex.nets.train_val import deploy
from siamplex.schema import prototxt
from siamplex.schema.weights import read_caffemodel
from siamplex.weights.convolution_files import regroup
from siamplex.weights.initial import ungroup, write_initial
from siamplex.weights.substitute import NOTE, convolution


@pytest.fixture
def tower(tmp_path):
    path = tmp_path / "deploy.prototxt"
    prototxt.write(path, deploy(Architecture(size=67, width=0.125)))
    return path


@pytest.fixture
def recognised(passing, tmp_path):
    """A file that passes for AlexNet's."""
    return as_npz(tmp_path / "alexnet.npz", passing)


def test_the_substitute_says_so(tower, tmp_path):
    made = write_initial(tower, tmp_path / "init.caffemodel", None, seed=1)
    assert made.note == NOTE and "not from AlexNet" in note_of(made.path)
    layers = read_caffemodel(made.path)
    assert set(layers) == {"conv1", "conv2", "conv3", "fc4", "fc5", "fc6"}
    for name in ("conv1", "conv2", "conv3"):
        weights, biases = convolution(name, layers[name][0].shape)
        np.testing.assert_array_equal(layers[name][0], weights)
        np.testing.assert_array_equal(layers[name][1], biases)
    again = write_initial(tower, tmp_path / "again.caffemodel", None, seed=1)
    assert again.sha256 == made.sha256
    assert write_initial(tower, tmp_path / "other.caffemodel", None, seed=2).sha256 != made.sha256


@pytest.mark.parametrize("groups", [2, 1])
def test_alexnets_convolutions_are_taken(passing, recognised, tmp_path, groups):
    path = tmp_path / "deploy.prototxt"
    prototxt.write(path, deploy(Architecture(size=67, conv2_group=groups)))
    made = write_initial(path, tmp_path / "init.caffemodel", recognised, seed=1)
    found = read_caffemodel(made.path)
    for name, (weights, biases) in passing.items():
        np.testing.assert_array_equal(regroup(found[name][0], weights.shape), weights)
        np.testing.assert_array_equal(found[name][1], biases)
    told = json.loads((tmp_path / "init.json").read_text())
    assert told["note"] == made.note and "AlexNet's by fingerprint" in made.note
    assert told["conv1-3"]["kind"] == "fingerprint" and told["conv1-3"]["precision"]["conv2"] == "in full"


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


def test_a_tower_of_another_width_does_not_take_alexnet(recognised, tower, tmp_path):
    with pytest.raises(InputError, match="expected conv1 of AlexNet's shape"):
        write_initial(tower, tmp_path / "init.caffemodel", recognised, seed=1)
    assert not (tmp_path / "init.caffemodel").exists()


def test_other_weights_only_when_accepted(made_up, tmp_path):
    other = as_npz(tmp_path / "other", made_up)
    path = tmp_path / "deploy.prototxt"
    prototxt.write(path, deploy(Architecture(size=67)))
    with pytest.raises(InputError, match="--accept-other-weights takes others"):
        write_initial(path, tmp_path / "init.caffemodel", other, seed=1)
    assert not (tmp_path / "init.caffemodel").exists()
    made = write_initial(path, tmp_path / "init.caffemodel", other, seed=1, accept_other=True)
    assert "other weights than AlexNet's" in note_of(made.path)


def test_iterations_are_read_off_names(tmp_path):
    assert iteration_of(tmp_path / "snap_iter_4000.caffemodel") == 4000
    assert iteration_of(tmp_path / "init.caffemodel") == 0
    assert note_of(tmp_path / "unknown.caffemodel") == ""
