"""Gradients kept as factors: the same training, without the wide gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.fast.kernels import FastKernels
from siamplex.engine.fast.wide import WideGradients
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.schema.weights import read_caffemodel


def test_blocks_are_the_summed_gradient(monkeypatch):
    monkeypatch.setattr("siamplex.engine.fast.wide._ROWS", 3)
    weight, other = torch.randn(8, 5), torch.randn(2, 2)
    wide = WideGradients([weight, other, torch.randn(40)], least=40)
    assert wide.of(other) is None
    assert wide.take(weight) is None
    pairs = [(torch.randn(4, 8), torch.randn(4, 5)) for _ in range(2)]
    for pair in pairs:
        wide.of(weight).append(pair)
    blocks = list(wide.take(weight))
    assert [(rows.start, rows.stop) for rows, _ in blocks] == [(0, 3), (3, 6), (6, 8)]
    torch.testing.assert_close(torch.cat([b for _, b in blocks]), sum(g.t() @ x for g, x in pairs))
    assert wide.take(weight) is None


@pytest.mark.parametrize("more", ["", "iter_size: 2", "regularization_type: 'L1'"])
def test_training_is_the_same_with_and_without(twin_solver, tmp_path, monkeypatch, more):
    finals = []
    for least in (1, 1 << 40):
        monkeypatch.setattr(FastKernels.keep_factors, "__defaults__", (least,))
        solver = Solver(twin_solver(more=more, prefix=f"s{least}"), TrainOptions(quiet=True))
        solver.solve()
        assert (solver.sgd.wide.of(solver.net.node("fc").params[0].tensor) is not None) == (least == 1)
        finals.append(read_caffemodel(tmp_path / f"s{least}_iter_12.caffemodel"))
    start = Solver(twin_solver(more=more), TrainOptions(quiet=True)).net.node("fc").params[0].tensor
    assert np.abs(finals[0]["fc"][0] - start.detach().numpy()).max() > 1e-3
    for name, arrays in finals[0].items():
        for a, b in zip(arrays, finals[1][name], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_clipping_needs_whole_gradients(twin_solver):
    solver = Solver(twin_solver(more="clip_gradients: 1"), TrainOptions(quiet=True))
    solver.solve()
    assert solver.sgd.wide is None
