"""Two processes under torchrun give the losses and weights of one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from siamplex.engine.net.layer import Share
from siamplex.engine.net.net import Net
from siamplex.engine.training.learning_table import read_learning
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.process_group import ProcessGroup, check_divisible, join_process_group
from siamplex.engine.training.result import BY_VALIDATION, Result
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import PrototxtError, UsageError
from siamplex.schema import prototxt
from siamplex.schema.weights import read_caffemodel, read_solverstate
from tests.engine.conftest import make_net


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def together(path, *more, processes=2):
    """Train under torchrun's own launcher, on this machine alone."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes),
               "--master-addr", "127.0.0.1", "--master-port", str(free_port()),
               "-m", "siamplex", "train", "--solver", str(path), "--allow-unfilled", *more]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.parametrize(
    ("conv", "more"),
    [
        (1, "iter_size: 2 test_interval: 4 test_iter: 2"),
        (0, "test_interval: 4 test_iter: 2"),
        (1, "clip_gradients: 0.05"),
    ],
)
def test_two_processes_train_as_one(twin_solver, tmp_path, conv, more):
    path = twin_solver(conv=conv, dropout=True, more=more, prefix="one")
    Solver(path, TrainOptions(quiet=True)).solve()
    path = twin_solver(conv=conv, dropout=True, more=more, prefix="two")
    done = together(path)
    assert done.returncode == 0, done.stderr
    one, two = (read_losses(tmp_path / f"{name}_losses.csv") for name in ("one", "two"))
    assert [r[0] for r in one] == [r[0] for r in two]
    np.testing.assert_allclose([r[1] for r in two], [r[1] for r in one], rtol=1e-4)
    a, b = (read_caffemodel(tmp_path / f"{name}_iter_12.caffemodel") for name in ("one", "two"))
    for name in a:
        for x, y in zip(a[name], b[name], strict=True):
            np.testing.assert_allclose(y, x, atol=1e-4 * np.abs(x).max() + 1e-7)
    states = [read_solverstate(tmp_path / f"{name}_iter_12.solverstate").history for name in ("one", "two")]
    for x, y in zip(*states, strict=True):
        np.testing.assert_allclose(y, x, atol=1e-4 * max(np.abs(x).max(), 1e-3))
    if "test_iter" in more:
        tests = [(tmp_path / f"{name}_test.csv").read_text().splitlines()[1:] for name in ("one", "two")]
        assert len(tests[0]) == len(tests[1]) == 4
        values = [[float(row.split(",")[3]) for row in rows] for rows in tests]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-4)
        one, two = (read_learning(tmp_path / f"{name}_learning.csv") for name in ("one", "two"))
        assert [row.iteration for row in one] == [row.iteration for row in two] == [0, 4, 8, 12]
        for x, y in zip(one, two, strict=True):
            assert y.training.loss == pytest.approx(x.training.loss, rel=1e-4)
            assert y.training.label_blind == pytest.approx(x.training.label_blind, rel=1e-4)


def test_two_processes_stop_early_together(twin_solver, tmp_path):
    """At rate 0 nothing is lower than the first test; taken up again, all of them know that the run has ended."""
    path = twin_solver(conv=0, dropout=True, more="test_interval: 2 test_iter: 2")
    path.write_text(path.read_text().replace("base_lr: 0.05", "base_lr: 0"))
    for said in ("stopped at iteration 4", "stopped early at iteration 4: its result is iteration 0"):
        done = together(path, "--early-stop", "--patience", "2", "--resume")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(said) == 1
        found = Result.read(tmp_path / "snap")
        assert (found.iteration, found.last, found.ended) == (0, 4, BY_VALIDATION)
    assert [row.iteration for row in read_learning(tmp_path / "snap_learning.csv")] == [0, 2, 4]


def test_two_processes_refuse_what_must_diverge(twin_solver, tmp_path):
    path = twin_solver(conv=0)
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace("scale: 0.01", "scale: 1"))
    done = together(path)
    assert done.returncode != 0 and "expected a rate at which the first steps can be taken" in done.stderr
    assert not list(tmp_path.glob("snap_iter*"))


def test_two_processes_go_on_where_one_stopped(twin_solver, tmp_path):
    path = twin_solver(conv=0, dropout=True, prefix="one")
    Solver(path, TrainOptions(quiet=True)).solve()
    done = together(path, "--snapshot", str(tmp_path / "one_iter_6.solverstate"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("resumed from") == 1  # one of them speaks
    again = read_losses(tmp_path / "one_losses.csv")
    assert [r[0] for r in again] == list(range(13))
    done = together(path, "--resume")  # nothing left to do: said once, by all of them
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("already stands at its last iteration, 12") == 1


def test_what_does_not_divide_is_refused(twin_solver, tmp_path):
    path = twin_solver()
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace("batch_size: 4", "batch_size: 3"))
    done = together(path)
    assert done.returncode != 0 and "2 processes do not share 3 evenly" in done.stderr


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ('type: "Reshape" bottom: "d" top: "t" reshape_param { shape { dim: -1 } }', "may depend on others"),
        ('type: "Slice" bottom: "d" top: "t" top: "u" slice_param { axis: 0 }', "takes batches apart"),
        ('type: "Concat" bottom: "d" bottom: "d" top: "t" concat_param { axis: 0 }', "takes batches apart"),
        ('type: "Slice" bottom: "d" top: "t" top: "u" slice_param { axis: -2 }', "takes batches apart"),
        ('type: "Flatten" bottom: "d" top: "t" loss_weight: 1', "no mean over samples"),
    ],
)
def test_nets_that_mix_samples_are_refused(layer, message):
    net = make_net(f'input: "d" input_shape {{ dim: 2 dim: 3 }} layer {{ name: "x" {layer} }}')
    with pytest.raises(PrototxtError, match=f"layer 'x' .*cannot be trained by several processes: .*{message}"):
        check_divisible(net)


def test_inputs_are_refused():
    with pytest.raises(UsageError, match="samples from Data layers alone"):
        check_divisible(make_net('input: "d" input_shape { dim: 2 dim: 3 }'))


def test_shares_add_up():
    rows = np.arange(12)
    assert np.concatenate([Share(rank, 3).of(rows) for rank in range(3)]).tolist() == rows.tolist()
    assert ProcessGroup().is_rank_zero and ProcessGroup().mean(2.5) == 2.5 and ProcessGroup().largest(3) == 3


@pytest.mark.parametrize("mirrored", ["", "mirror: true crop_size: 3"])
def test_a_share_has_the_whole_batchs_rows_and_masks(pair_lmdb, mirrored):
    """Data, random crops and dropout masks of two shares are those of the whole batch."""
    text = f"""layer {{ name: "d" type: "Data" top: "d" top: "y" transform_param {{ scale: 0.1 {mirrored} }}
      data_param {{ source: "{pair_lmdb}" batch_size: 4 backend: LMDB }} }}
      layer {{ name: "o" type: "Dropout" bottom: "d" top: "o" }}"""
    from siamplex.engine.net.layer import Context

    def run(**options):
        net = Net(prototxt.parse(text, "NetParameter"), "TRAIN", seed=4, **options)
        return net.forward(Context(True, seed=4, iteration=2))[1]["o"].numpy()

    halves = [run(share=Share(rank, 2)) for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves), run())


def test_one_gpu_for_each_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="expected cuda under torchrun"):
        join_process_group("cuda:1")
