"""A layer that never learns holds what a file has, or what its prototxt meant; never what a filler left by itself."""

from __future__ import annotations

import inspect
import re
import shutil

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.engine.net import layer as layers
from siamplex.engine.net.layer_types import known_types
from siamplex.engine.net.phase import net_state
from siamplex.engine.net.unfilled import FILLERS, STATISTICS, unfilled
from siamplex.engine.training.snapshot import Manifest
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import PrototxtError
from siamplex.schema import messages, prototxt
from siamplex.schema.weights import read_caffemodel, write_caffemodel

FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
FROZEN_WEIGHT = "param { lr_mult: 0 }"


def layer(settings: str, name: str = "it", kind: str = "Convolution", params: str = FROZEN, more: str = "") -> str:
    field = FILLERS[kind][0]
    return f'layer {{ name: "{name}" type: "{kind}" {params} {field} {{ {settings} }} {more} }}\n'


def holes(text: str, filled=(), learning=True, phase="TRAIN"):
    net = prototxt.parse(text, "NetParameter").message
    return [(u.layer, u.holds) for u in unfilled(net, net_state(phase, net.state), filled, learning)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (layer(""), [("it", "constant 0")]),  # no filler: zeros
        (layer('weight_filler { type: "constant" }'), [("it", "constant 0")]),
        (layer('weight_filler { type: "xavier" }'), [("it", "xavier")]),
        (layer('weight_filler { type: "gaussian" std: 1 }', params=FROZEN_WEIGHT), [("it", "gaussian")]),
        (layer('weight_filler { type: "bilinear" }'), []),  # upsampling, as BVLC's nets freeze it
        (layer('weight_filler { type: "constant" value: 0.5 }'), []),
        (layer('weight_filler { type: "bilinear" } bias_filler { type: "uniform" }'), [("it", "uniform")]),
        (layer('weight_filler { type: "xavier" }', params="param { lr_mult: 1 } param { lr_mult: 0 }"), []),  # no bias
        (layer('weight_filler { type: "xavier" }', params=""), []),  # it learns
        (layer("bias_term: false", kind="Embed", params=FROZEN_WEIGHT), [("it", "constant 0")]),
        (layer("", more="include { phase: TEST }"), []),
    ],
)  # fmt: skip
def test_what_was_meant_and_what_was_not(text, found):
    assert holes(text) == found
    assert holes(text, filled={"it"}) == []


@pytest.mark.parametrize("kind", ["Scale", "Bias", "PReLU", "BatchNorm"])
def test_types_that_begin_otherwise(kind):
    """Scale begins with 1 and PReLU with 0.25, which change nothing or little; Bias with 0; statistics are gathered."""
    if not hasattr(messages.LayerParameter(), "batch_norm_param"):
        pytest.skip("the schema does not have these layers yet")
    text = f'layer {{ name: "it" type: "{kind}" {FROZEN_WEIGHT} }}'
    assert holes(text) == ([("it", "constant 0")] if kind == "Bias" else [])
    statistics = 'layer { name: "it" type: "BatchNorm" batch_norm_param { use_global_stats: true } }'
    assert holes(statistics) == [("it", "statistics of nothing")]
    assert holes(f'layer {{ name: "it" type: "{kind}" }}', learning=False) != []


@pytest.mark.parametrize(("kind", "count"), [("LSTM", 3), ("RNN", 5)])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("expose", [False, True])
def test_recurrent_layers(kind, count, static, expose):
    """Each frozen weight is named; a bias may be any constant."""
    fillers = 'weight_filler { type: "xavier" } bias_filler { value: 0 }'
    states = ("h", "c")[: 1 + (kind == "LSTM")] if expose else ()
    bottoms = " ".join(f'bottom: "{name}"' for name in ("x", "cont", *(("s",) if static else ()), *states))
    biases = {1, count + static - 1} if kind == "RNN" else {1}
    for frozen in range(count + static):
        rules = " ".join(f"param {{ lr_mult: {int(index != frozen)} }}" for index in range(count + static))
        settings = f"recurrent_param {{ {fillers} expose_hidden: {str(expose).lower()} }}"
        text = f'layer {{ name: "it" type: "{kind}" {bottoms} {rules} {settings} }}'
        assert holes(text) == ([] if frozen in biases else [("it", "xavier")])
        assert holes(text, {"it"}) == []
    assert holes(text.replace("xavier", "constant").replace("lr_mult: 1", "lr_mult: 0")) == [("it", "constant 0")]


def test_twins_share_what_either_has():
    shared = 'param { name: "w" lr_mult: 0 }'
    text = layer("bias_term: false", "a", "Embed", shared) + layer(
        "bias_term: false", "b", "Embed", 'param { name: "w" }'
    )
    assert holes(text) == [("a", "constant 0")]
    assert holes(text, {"a"}) == holes(text, {"b"}) == []


def test_a_net_that_only_runs_must_hold_all():
    learns = layer('weight_filler { type: "xavier" }', params="")
    assert holes(learns, learning=False) == [("it", "xavier")]
    assert holes(learns, {"it"}, learning=False) == []
    assert holes(layer('weight_filler { type: "bilinear" }'), learning=False) == []
    assert holes(layer('weight_filler { type: "bilinear" }', params=""), learning=False) == [("it", "bilinear")]


def test_every_layer_type_with_arrays_is_known():
    """A new type with arrays belongs in FILLERS or STATISTICS."""
    with_arrays = {
        name
        for name in known_types()
        if any("self.blobs" in inspect.getsource(c) for c in layers.LAYERS[name].__mro__[:-2] if c is not layers.Layer)
    }
    assert {"Convolution", "InnerProduct", "Embed"} <= with_arrays <= {*FILLERS, *STATISTICS}


# --- by the commands

TABLE = "images.caffemodel"


def solver_of(run, stage=1):
    return f"{run.name}/solvers/stage{stage}_indexed.prototxt"


def test_the_image_table_left_out_is_refused_by_line(own_run, capsys):
    shutil.rmtree(own_run / "stage1")
    net = own_run / "prototxt/train_val_stage1_indexed.prototxt"
    assert main(["train", "--solver", solver_of(own_run), "--weights", "run/weights/init.caffemodel"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    named = re.search(r"error: run/prototxt/train_val_stage1_indexed\.prototxt:(\d+): layer 'images' \(Embed\)", said)
    assert named and 'name: "images"' in net.read_text().splitlines()[int(named.group(1))]
    assert "never learns (lr_mult 0) and stays as its filler made it, constant 0" in said
    assert "images.caffemodel of the pair store" in said and "--allow-unfilled" in said
    assert not (own_run / "stage1/snap_losses.csv").exists()
    # all convolutions left out: the first is named, and the others
    assert main(["train", "--solver", solver_of(own_run), "--weights", f"run/pairs/{TABLE}"]) == 2
    said = capsys.readouterr().err
    assert "layer 'conv1' (Convolution)" in said and "so do conv2, conv3" in said
    assert main(["train", "--solver", solver_of(own_run)]) == 2
    assert "found no file" in capsys.readouterr().err


def test_a_run_that_was_meant_goes_on_and_says_so(own_run, capsys):
    shutil.rmtree(own_run / "stage1")
    command = ["train", "--solver", solver_of(own_run), "--weights", "run/weights/init.caffemodel", "--allow-unfilled"]
    assert main([*command, "--lean-snapshots"]) == 0
    assert "not filled by any file: images (constant 0)" in capsys.readouterr().err
    # no file has the table: a lean snapshot keeps it
    assert "images" in read_caffemodel(own_run / "stage1/snap_iter_6.caffemodel")
    assert Manifest.read(own_run / "stage1/snap_iter_6.json").unfilled == ["images"]
    assert main(["audit", "run"]) == 1
    first, second = [x for x in (own_run / "audit/audit.txt").read_text().splitlines() if "frozen layers" in x]
    assert "all but images" in first and "differs" in first and "same" in second
    # the snapshot has the table, and the run goes on; what it was trained on is not forgotten
    command = [
        "train",
        "--solver",
        solver_of(own_run),
        "--snapshot",
        "run/stage1/snap_iter_3.solverstate",
        "--overwrite",
    ]
    assert main(command) == 0
    assert Manifest.read(own_run / "stage1/snap_iter_6.json").unfilled == ["images"]


def test_a_lean_snapshot_alone_is_refused(own_run, capsys):
    for stage in (1, 2):
        shutil.rmtree(own_run / f"stage{stage}")
    both = f"run/weights/init.caffemodel,run/pairs/{TABLE}"
    assert main(["train", "--solver", solver_of(own_run), "--weights", both, "--lean-snapshots"]) == 0
    lean = own_run / "stage1/snap_iter_6.caffemodel"
    assert "images" not in read_caffemodel(lean)
    capsys.readouterr()
    assert main(["train", "--solver", solver_of(own_run, 2), "--weights", "run/stage1/snap_iter_6.caffemodel"]) == 2
    said = capsys.readouterr().err
    assert "layer 'images'" in said and "a lean snapshot, which leaves image tables out" in said
    # resumed without its manifest, nothing tells where the table is
    (own_run / "stage1/snap_iter_3.json").unlink()
    resume = [
        "train",
        "--solver",
        solver_of(own_run),
        "--snapshot",
        "run/stage1/snap_iter_3.solverstate",
        "--overwrite",
    ]
    assert main(resume) == 2
    assert "layer 'images'" in capsys.readouterr().err
    test = [
        "caffe",
        "test",
        "-model=run/prototxt/train_val_stage1_indexed.prototxt",
        f"-weights={lean}",
        "-iterations=1",
    ]
    assert main(test) == 2
    assert "-allow_unfilled goes on with it" in capsys.readouterr().err
    assert main([*test, "-allow_unfilled"]) == 0
    test[3] += f",run/pairs/{TABLE}"
    assert main(test) == 0


def test_extract_and_similarity_name_the_layer(own_run, capsys):
    path = own_run / "part.caffemodel"
    held = read_caffemodel(own_run / "stage2/snap_iter_6.caffemodel")
    write_caffemodel(path, "part", [(messages.LayerParameter(name=n), a) for n, a in held.items() if n != "fc5"])
    where = ["--weights", str(path), "--deploy", "run/prototxt/deploy.prototxt", "--pairs", "run/pairs"]
    for command in (["extract", *where, "--out", "f.npz"], ["similarity", "run/features/stage2.npz", *where]):
        assert main(command) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert re.search(
            r"deploy\.prototxt:\d+: layer 'fc5' \(InnerProduct\) stays as its filler made it, xavier", said
        )
        assert "part.caffemodel" in said and "goes on" not in said


TEST_TABLE = """
layer {{ name: "seen" type: "Data" top: "seen" top: "whose" include {{ phase: TEST }}
  data_param {{ source: "{source}" batch_size: 2 backend: LMDB }} transform_param {{ scale: 0.001 }} }}
layer {{ name: "only_here" type: "InnerProduct" bottom: "seen" top: "only_here" include {{ phase: TEST }}
  inner_product_param {{ num_output: 2 }} }}
"""


def test_a_test_nets_own_layers_are_loaded_and_asked_for(twin_solver, pair_lmdb, tmp_path):
    """As Caffe does, and again when the run is resumed: snapshots do not hold them."""
    more = "test_interval: 4 test_iter: 1"
    path = twin_solver(more=more, net_more=TEST_TABLE.format(source=pair_lmdb))
    with pytest.raises(PrototxtError, match=r"layer 'only_here' \(InnerProduct\) stays as its filler made it"):
        Solver(path, TrainOptions(quiet=True))
    own = [np.full((2, 72), 3, np.float32), np.zeros(2, np.float32)]
    write_caffemodel(tmp_path / "own.caffemodel", "own", [(messages.LayerParameter(name="only_here"), own)])
    options = {"weights": (tmp_path / "own.caffemodel",), "quiet": True}
    solver = Solver(path, TrainOptions(**options))
    solver.solve()
    again = Solver(path, TrainOptions(snapshot=tmp_path / "snap_iter_6.solverstate", quiet=True))
    for found in (solver, again):
        assert (found.test_nets[0].node("only_here").params[0].tensor == 3).all()
