"""tools/compare_layers.py against a stand-in for Caffe's Python module that runs siamplex itself."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from siamplex.engine.net.layer import LAYERS
from siamplex.engine.net.layer_types import known_types
from siamplex.schema import prototxt
from tests.conftest import ROOT

TOOLS = ROOT / "tools"
# a module caffe whose nets are siamplex's; FAULT is what it does wrong
STAND_IN = """
import os, sys
import numpy as np
import torch
from siamplex.engine.net import net
from siamplex.engine.net.layer import Context
from siamplex.engine.net.layer_types import known_types
from siamplex.schema import prototxt
TRAIN, TEST = "TRAIN", "TEST"
def set_mode_cpu(): pass
def layer_type_list(): return known_types()
class Blob:
    def __init__(self, shape):
        self.shape, self.data, self.diff = shape, np.zeros(shape, np.float32), np.zeros(shape, np.float32)
class Net:
    def __init__(self, path, phase):
        self.net = net.Net(prototxt.parse(open(path).read(), "NetParameter", "net.prototxt"), phase)
        if FAULT == "refuses" and phase == "TEST":
            os.write(2, b"F1 caffe.cpp:1] Check failed: no\\n")
            os.abort()
        self.blobs = {name: Blob(shape) for name, shape in self.net.shapes.items()}
        self.params = {node.name: [Blob(p.tensor.shape) for p in node.params] for node in self.net.nodes}
    def forward(self):
        given = {name: torch.tensor(self.blobs[name].data, requires_grad=True) for name in self.net.inputs}
        for node in self.net.nodes:
            for parameter, blob in zip(node.params, self.params[node.name]):
                parameter.tensor.copy_(torch.tensor(blob.data))
                parameter.tensor.requires_grad_(True)
        self.given = given
        self.loss, self.made = self.net.forward(Context(self.net.phase == "TRAIN"), given)
        for name, values in self.made.items():
            self.blobs[name].data[...] = values.detach().numpy() * (1.01 if FAULT == "values" else 1)
    def backward(self):
        loss = self.loss
        for name in self.net.outputs:
            loss = loss + (self.made[name] * torch.tensor(self.blobs[name].diff)).sum()
        loss.backward()
        for name, values in self.given.items():
            self.blobs[name].diff[...] = values.grad.numpy() * (2 if FAULT == "gradients" else 1)
        for node in self.net.nodes:
            for parameter, blob in zip(node.params, self.params[node.name]):
                blob.diff[...] = parameter.tensor.grad.numpy()
"""


@pytest.fixture
def cases(monkeypatch):
    """The module that draws cases."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("layer_cases")


def read_alone() -> list[str]:
    """The layer types that read no files."""
    return [name for name in known_types() if name not in ("Data", "HDF5Data", "ImageData")]


@pytest.mark.parametrize("kind", read_alone())
def test_each_type_is_drawn_right_and_wrong(cases, kind, monkeypatch):
    compare = importlib.import_module("compare_layers")
    message = LAYERS[kind].param_field
    if message:
        assert set(cases.SETTINGS[message]) == LAYERS[kind].supported, "every field is drawn"
    taken, texts = 0, set()
    for number in range(40):
        case = cases.draw(kind, message, number, 0)
        texts.add(case.text)
        assert prototxt.parse(case.text, "NetParameter", "net.prototxt").message.layer[-1].type == kind
        outcome = compare.by_siamplex(case, "TEST")
        assert not outcome.refused.startswith("CRASH"), case.text
        assert not outcome.refused or outcome.refused.startswith("net.prototxt:")
        taken += not outcome.refused
    assert len(texts) > 2 and case.text == cases.draw(kind, message, 39, 0).text
    assert 8 <= taken < 40 if kind != "MemoryData" else taken == 0  # whose values only a program can hand over


def compared(folder: Path, fault: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output of the tool over the stand-in."""
    (folder / "caffe.py").write_text(f"FAULT = {fault!r}\n{STAND_IN}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "python")])}
    done = subprocess.run(
        [sys.executable, TOOLS / "compare_layers.py", "--python", sys.executable, *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_caffe_that_computes_the_same_agrees(tmp_path):
    code, said = compared(tmp_path, "", "--types", "TanH,InnerProduct", "--cases", "12")
    lines = said.splitlines()
    assert code == 0, said
    assert [line.split()[:5] for line in lines] == [
        [kind, "24", "of", "24", "agree"] for kind in ("TanH", "InnerProduct")
    ]


@pytest.mark.parametrize(
    ("fault", "what"),
    [("values", "; top "), ("gradients", "; gradient of a bottom "), ("refuses", "; only Caffe refuses ")],
)
def test_another_caffe_is_found(tmp_path, fault, what):
    code, said = compared(tmp_path, fault, "--types", "TanH", "--cases", "12", "--show", "1")
    assert code == 1
    first, *shown = said.splitlines()
    assert what in first
    assert any("layer { name: 'it' type: 'TanH'" in line for line in shown)
    assert ("Check failed: no" in said) == (fault == "refuses")


def test_unknown_types_and_a_python_without_caffe(tmp_path):
    assert compared(tmp_path, "", "--types", "Nothing")[0] == 2
    (tmp_path / "caffe.py").write_text("raise ImportError('no caffe')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "python")])}
    command = [sys.executable, TOOLS / "compare_layers.py", "--python", sys.executable, "--types", "TanH"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode != 0 and "does it import caffe" in done.stderr


def test_what_counts_as_near(cases):
    compare = importlib.import_module("compare_layers")
    a = np.array([1, np.nan, np.inf], np.float32)
    assert compare.near(a, a * np.float32(1.00001))
    assert not compare.near(a, a * np.float32(1.001))
    assert not compare.near(a, np.array([1, 0, np.inf], np.float32))
    assert not compare.near(a, np.array([1, np.nan, -np.inf], np.float32))
