from __future__ import annotations

from pathlib import Path

import pytest

from siamplex.engine.net.net import Net
from siamplex.errors import UsageError
from siamplex.nets.architecture import Architecture
from siamplex.nets.generate import NetOptions, RunLayout, generate, whole_split, write
from siamplex.nets.solver import SolverOptions, solver
from siamplex.nets.train_val import deploy
from siamplex.schema import prototxt

ROOT = Path(__file__).resolve().parents[2]
TEXTS = generate(NetOptions(), RunLayout())


@pytest.mark.parametrize("path", sorted(TEXTS))
def test_checked_in_files_are_what_the_generator_writes(path):
    assert (ROOT / path).read_text(encoding="utf-8") == TEXTS[path]


def test_nothing_else_is_checked_in():
    there = {f"{d}/{p.name}" for d in ("prototxt", "solvers") for p in (ROOT / d).iterdir()}
    assert there == set(TEXTS)


def test_the_papers_shapes():
    net = Net(prototxt.parse(TEXTS["prototxt/deploy.prototxt"], "NetParameter"), "TEST")
    shapes = {name: shape[1:] for name, shape in net.shapes.items()}
    assert shapes["data"] == (3, 227, 227)
    assert shapes["conv1"] == (96, 55, 55) and shapes["pool1"] == (96, 27, 27)
    assert shapes["conv2"] == (256, 27, 27) and shapes["pool2"] == (256, 13, 13)
    assert shapes["conv3"] == (384, 13, 13)
    assert (shapes["fc4"], shapes["fc5"], shapes["fc6"]) == ((1024,), (256,), (2,))
    weights = {p.label: tuple(p.tensor.shape) for p in net.parameters}
    assert weights["conv2[0]"] == (256, 48, 5, 5) and weights["fc4[0]"] == (1024, 64896)


def layers(stage, layout, **options):
    text = generate(NetOptions(**options), RunLayout())[f"prototxt/train_val_stage{stage}_{layout}.prototxt"]
    return {
        layer.name: layer for layer in prototxt.parse(text, "NetParameter").message.layer if layer.name != "pair_data"
    }


@pytest.mark.parametrize("layout", ["indexed", "stacked"])
def test_stage_1_freezes_the_convolutions_and_stage_2_nothing(layout):
    for stage, rates in ((1, [0, 0]), (2, [1, 2])):
        found = layers(stage, layout)
        for name in ("conv1", "conv2", "conv3", "conv1_p", "conv2_p", "conv3_p"):
            assert [p.lr_mult for p in found[name].param] == rates
        for name in ("fc4", "fc5", "fc6", "fc4_p", "fc5_p", "fc6_p"):
            assert [p.lr_mult for p in found[name].param] == [1, 2]
            assert found[name].inner_product_param.weight_filler.type == "xavier"


@pytest.mark.parametrize("layout", ["indexed", "stacked"])
def test_twins_share_everything_by_name(layout):
    found = layers(2, layout)
    for name, layer in found.items():
        if layer.param and not name.endswith("_p"):
            assert [p.name for p in layer.param] == [p.name for p in found[f"{name}_p"].param]
    loss = found["loss"]
    assert list(loss.bottom) == ["fc6", "fc6_p", "sim"] and loss.contrastive_loss_param.margin == 1
    assert {"drop4", "drop5", "drop4_p", "drop5_p"} <= set(found)


def test_options_reach_the_nets():
    arch = Architecture(conv2_group=1, pool3=True, dropout=0, margin=2, embedding=3)
    found = layers(1, "stacked", arch=arch)
    assert found["conv2"].convolution_param.group == 1 and "pool3" in found
    assert not any(layer.type == "Dropout" for layer in found.values())
    assert found["fc6"].inner_product_param.num_output == 3
    assert found["loss"].contrastive_loss_param.margin == 2
    small = Net(prototxt.parse(prototxt.to_text(deploy(Architecture(width=0.25, size=99))), "NetParameter"), "TEST")
    assert small.shapes["conv1"][1] == 24 and small.shapes["fc4"] == (1, 256)


def test_solvers_have_the_papers_settings():
    solver = prototxt.parse(TEXTS["solvers/stage1_indexed.prototxt"], "SolverParameter").message
    assert solver.base_lr == pytest.approx(1e-4) and solver.lr_policy == "step"
    assert solver.stepsize == 5000 and solver.max_iter == 5000
    assert solver.net == "prototxt/train_val_stage1_indexed.prototxt"


@pytest.mark.parametrize(("pairs", "count", "batch"), [(1, 1, 1), (128, 1, 128), (129, 2, 65), (1128, 9, 126)])
def test_a_test_goes_through_the_validation_split_once(pairs, count, batch):
    assert whole_split(pairs) == (count, batch)
    assert pairs <= count * batch < pairs + count


def test_scale_and_rates_of_new_layers():
    texts = generate(NetOptions(arch=Architecture(new_lr_mult=10), scale=1 / 128), RunLayout())
    for stage in (1, 2):
        net = prototxt.parse(texts[f"prototxt/train_val_stage{stage}_stacked.prototxt"], "NetParameter").message
        data = [layer.transform_param for layer in net.layer if layer.name == "pair_data"]
        assert [(p.scale, list(p.mean_value)) for p in data] == [(1 / 128, [104, 117, 123] * 2)] * 2
        rates = {layer.name: [p.lr_mult for p in layer.param] for layer in net.layer}
        assert rates["fc4"] == rates["fc6_p"] == [10, 20] and rates["conv1"] == [stage - 1, 2 * (stage - 1)]
    assert "transform_param" not in texts["prototxt/train_val_stage1_indexed.prototxt"]
    assert "times 0.0078125" in texts["prototxt/deploy.prototxt"]


def test_without_a_validation_split_there_is_no_test_phase():
    texts = generate(NetOptions(), RunLayout(has_val=False))
    assert "TEST" not in texts["prototxt/train_val_stage1_indexed.prototxt"]
    assert "test_iter" not in texts["solvers/stage1_indexed.prototxt"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Architecture, {"conv2_group": 3}),
        (Architecture, {"dropout": 1.0}),
        (Architecture, {"size": 10}),
        (Architecture, {"margin": 0}),
        (Architecture, {"width": 0}),
        (Architecture, {"new_lr_mult": 0}),
        (SolverOptions, {"momentum": 1.0}),
        (SolverOptions, {"base_lr": 0}),
        (SolverOptions, {"max_iter": 0}),
        (NetOptions, {"batch_size": 0}),
    ],
)
def test_refuses(kind, options):
    with pytest.raises(UsageError):
        kind(**options)


def test_files_that_say_the_same_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(write(TEXTS)) == 9
    assert write(TEXTS) == []
    Path("solvers/stage1_indexed.prototxt").write_text("changed")
    assert [p.as_posix() for p in write(TEXTS)] == ["solvers/stage1_indexed.prototxt"]


@pytest.mark.parametrize(("iterations", "interval"), [(5000, 250), (500, 250), (30, 15), (1, 1)])
def test_a_short_stage_is_tested_too(iterations, interval):
    made = solver(SolverOptions(max_iter=iterations), "net.prototxt", "snap", has_test=True)
    assert made.test_interval == interval
