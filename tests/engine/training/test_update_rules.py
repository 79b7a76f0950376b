"""Caffe's solver types step by step, against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest

from siamplex.engine.training.occupied import REMOVE
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.engine.training.update_rules import KEPT, check, rule_of, type_of
from siamplex.errors import PrototxtError
from siamplex.schema import prototxt
from siamplex.schema.weights import read_caffemodel, read_solverstate


def solver_of(text: str):
    return prototxt.parse(
        f'net: "n" base_lr: 0.1 lr_policy: "fixed" max_iter: 9 {text}', "SolverParameter", "s.prototxt"
    )


def reference(kind: str, w, g, lr, steps, m=0.9, n=0.99, r=0.95, delta=1e-3):
    """W after some steps of the same gradient."""
    h, u = np.zeros_like(w), np.zeros_like(w)
    for t in range(1, steps + 1):
        if kind == "Nesterov":
            before = h
            h = m * h + lr * g
            w = w - ((1 + m) * h - m * before)
        elif kind == "AdaGrad":
            h = h + g**2
            w = w - lr * g / (np.sqrt(h) + delta)
        elif kind == "RMSProp":
            h = r * h + (1 - r) * g**2
            w = w - lr * g / (np.sqrt(h) + delta)
        elif kind == "AdaDelta":
            h = m * h + (1 - m) * g**2
            d = g * np.sqrt((u + delta) / (h + delta))
            u = m * u + (1 - m) * d**2
            w = w - lr * d
        else:
            h, u = m * h + (1 - m) * g, n * u + (1 - n) * g**2
            w = w - lr * np.sqrt(1 - n**t) / (1 - m**t) * h / (np.sqrt(u) + delta)
    return w


@pytest.mark.parametrize("kind", [k for k in KEPT if k != "SGD"])
def test_the_rule_is_its_formula(kind):
    import torch

    settings = {"AdaGrad": "delta: 1e-3", "RMSProp": "rms_decay: 0.95 delta: 1e-3", "Nesterov": "momentum: 0.9"}
    text = settings.get(kind, "momentum: 0.9 momentum2: 0.99 delta: 1e-3")
    step = rule_of(solver_of(f'type: "{kind}" {text}'))
    stream = np.random.default_rng(1)
    w, g = stream.normal(size=7), stream.normal(size=7)
    tensor = torch.tensor(w, dtype=torch.float64)
    kept = [torch.zeros(7, dtype=torch.float64) for _ in range(KEPT[kind])]
    for iteration in range(5):
        step(tensor, kept, torch.tensor(g), 0.1, iteration)
    np.testing.assert_allclose(tensor.numpy(), reference(kind, w, g, 0.1, 5), rtol=1e-5)


@pytest.mark.parametrize("kind", [k for k in KEPT if k != "SGD"])
@pytest.mark.parametrize("conv", [0, 1])
def test_stopped_and_resumed_ends_as_unbroken(twin_solver, tmp_path, kind, conv):
    text = {"AdaGrad": "", "RMSProp": ""}.get(kind, "momentum: 0.9")
    path = twin_solver(conv=conv, more=f'type: "{kind}" iter_size: 2 delta: 0.05')
    path.write_text(path.read_text().replace("momentum: 0.9", text).replace("base_lr: 0.05", "base_lr: 0.01"))
    ends = []
    for shortcut in (True, False):
        Solver(path, TrainOptions(quiet=True, shortcut=shortcut, existing=REMOVE)).solve()
        ends.append(read_caffemodel(tmp_path / "snap_iter_12.caffemodel"))
        whole = {n: [np.array(a) for a in arrays] for n, arrays in ends[-1].items()}
    assert all(np.allclose(a, b, atol=2e-4) for n in ends[0] for a, b in zip(ends[0][n], ends[1][n], strict=True))
    options = TrainOptions(quiet=True, shortcut=False, snapshot=tmp_path / "snap_iter_6.solverstate")
    state = read_solverstate(tmp_path / "snap_iter_6.solverstate")
    assert len(state.history) == KEPT[kind] * len(Solver(path, options).net.parameters)
    Solver(path, options).solve()
    again = read_caffemodel(tmp_path / "snap_iter_12.caffemodel")
    assert all(np.array_equal(a, b) for n in whole for a, b in zip(whole[n], again[n], strict=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('type: "sgd"', r"s\.prototxt:1: solver type 'sgd' is not known; 'SGD' is \(known: SGD, Nesterov, AdaGrad"),
        ('type: "SGD" solver_type: ADAM', "give type or solver_type, not both"),
        ('type: "Adam" momentum: 1', "momentum 1 makes Adam's steps infinite"),
        ('type: "Adam" momentum2: 2', "momentum2 2 lies beyond 1"),
        ('type: "RMSProp" rms_decay: 1', "rms_decay 1 does not lie from 0 up to 1"),
    ],
)
def test_types_and_settings_that_are_refused(text, said):
    with pytest.raises(PrototxtError, match=said):
        check(solver_of(text))


@pytest.mark.parametrize("text", ['type: "SGD" momentum: 1', 'type: "Adam" momentum: 2', 'type: "Adam" momentum2: 1'])
def test_odd_settings_that_caffe_takes(text):
    check(solver_of(text))


@pytest.mark.parametrize(("old", "new"), [("NESTEROV", "Nesterov"), ("ADADELTA", "AdaDelta"), ("SGD", "SGD")])
def test_the_old_field_names_the_same(old, new):
    assert type_of(solver_of(f"solver_type: {old}")) == new
    assert type_of(solver_of("")) == "SGD"
