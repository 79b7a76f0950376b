"""Layer types that packages add: found by their metadata, trained, refused in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siamplex.cli import main
from siamplex.engine.net import plugins
from siamplex.engine.net.layer import Context
from siamplex.engine.net.layer import LayerSpec as Spec
from siamplex.engine.net.layer_types import create, known_types
from siamplex.engine.net.net import Net
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import PrototxtError
from siamplex.run import doctor
from siamplex.schema import extensions, messages, prototxt
from siamplex.schema.weights import read_caffemodel
from tests.engine.conftest import make_net, write_lmdb

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "triplet_loss"
Package = Callable[..., None]
_DECLARED: dict[str, Any] = {}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Makes a package visible: its entry points, its modules by name and text."""
    made: list[str] = []
    monkeypatch.setattr(plugins, "_classes", {})
    extensions._declared.update(_DECLARED)

    def make(points: dict[str, str], modules: dict[str, str], name: str = "some-layers") -> None:
        folder = tmp_path / f"site_{name}"
        info = folder / f"{name.replace('-', '_')}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        lines = "\n".join(f"{type_name} = {value}" for type_name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{lines}\n")
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
            made.append(module)
        monkeypatch.syspath_prepend(str(folder))

    yield make
    _DECLARED.update(extensions._declared)  # protobuf keeps what it was told; other tests are not to see it
    extensions._declared.clear()
    for module in made:
        sys.modules.pop(module, None)


@pytest.fixture
def triplets(package: Package) -> None:
    """The example package, as its pyproject would install it."""
    project = (EXAMPLE / "pyproject.toml").read_text()
    section = re.search(rf'\[project\.entry-points\."{plugins.GROUP}"\]\n(.*?)\n\n', project, re.DOTALL)
    assert section
    points = dict(line.replace('"', "").split(" = ") for line in section.group(1).splitlines())
    package(points, {"siamplex_triplet_loss": (EXAMPLE / "siamplex_triplet_loss.py").read_text()})


NET = """name: "triplets"
layer {{ name: "data" type: "Data" top: "data" data_param {{ source: "{source}" batch_size: 6 backend: LMDB }}
  transform_param {{ scale: 0.01 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "slice" type: "Slice" bottom: "fc" top: "a" top: "p" top: "n" slice_param {{ axis: 0 }} }}
layer {{ name: "loss" type: "TripletLoss" bottom: "a" bottom: "p" bottom: "n" top: "loss"
  triplet_loss_param {{ margin: {margin} }} }}
"""


@pytest.fixture
def net_file(tmp_path: Path) -> Path:
    stream = np.random.default_rng(3)
    write_lmdb(tmp_path / "data", [(stream.integers(0, 256, (1, 4, 4), dtype=np.uint8), 0) for _ in range(12)])
    path = tmp_path / "net.prototxt"
    path.write_text(NET.format(source=tmp_path / "data", margin=0.4))
    return path


def test_the_example_trains(triplets, net_file, tmp_path):
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        f'net: "{net_file}" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 max_iter: 30 display: 10 '
        f'random_seed: 4 snapshot: 15 snapshot_prefix: "{tmp_path}/snap"'
    )
    run = Solver(solver, TrainOptions(outside=True, quiet=True))

    def loss() -> float:
        with torch.no_grad():
            return float(run.net.forward(Context(train=True))[0])

    before = loss()
    run.solve()
    rows = (tmp_path / "snap_losses.csv").read_text().splitlines()
    assert len(rows) > 1 and loss() < before / 2
    assert set(read_caffemodel(tmp_path / "snap_iter_30.caffemodel")) == {"fc"}
    resumed = Solver(solver, TrainOptions(outside=True, quiet=True, snapshot=tmp_path / "snap_iter_15.solverstate",
                                          snapshot_prefix=str(tmp_path / "again")))  # fmt: skip
    resumed.solve()
    for mine, theirs in zip(resumed.net.parameters, run.net.parameters, strict=True):
        assert torch.equal(mine.tensor, theirs.tensor)


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3, 1), (1, 1)])
def test_the_examples_gradient_and_value(triplets, shape):
    net = (
        "layer { name: 'it' type: 'TripletLoss' bottom: 'a' bottom: 'b' bottom: 'c' triplet_loss_param { margin: 2 } }"
    )
    source = prototxt.parse(net, "NetParameter")
    layer = create(Spec(source.message.layer[0], source, ("layer", 0)))
    layer.setup([shape] * 3)
    stream = np.random.default_rng(1)
    arrays = [stream.normal(size=shape) for _ in range(3)]
    bottoms = [torch.tensor(array, requires_grad=True) for array in arrays]

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        return layer.forward(tensors, [], Context(train=True))[0]

    assert torch.autograd.gradcheck(run, bottoms, eps=1e-6, atol=1e-7)
    near, far = (((arrays[0] - other) ** 2).reshape(shape[0], -1).sum(axis=1) for other in arrays[1:])
    assert run(*bottoms).item() == pytest.approx(np.maximum(near - far + 2, 0).sum() / (2 * shape[0]))


def test_its_field_goes_in_and_out_as_text(triplets, net_file):
    message = prototxt.read(net_file, "NetParameter").message
    text = prototxt.to_text(message)
    assert "  triplet_loss_param {\n    margin: 0.4" in text and "[" not in text
    again = prototxt.parse(text, "NetParameter").message
    assert again == message
    assert extensions.settings(again.layer[3], "triplet_loss_param").margin == pytest.approx(0.4)
    assert messages.NetParameter.FromString(again.SerializeToString()) == message


def test_a_fault_in_its_field_has_its_line(triplets, net_file):
    for wrong, said in (
        ("mragin: 1", r"net\.prototxt:8: layer 'loss' \(TripletLoss\): field 'mragin' of TripletLossParameter"),
        ("margin: -1", r"net\.prototxt:8: layer 'loss' \(TripletLoss\): margin -1 is negative"),
        ("margin: x", r"net\.prototxt:8: layer 'loss' \(TripletLoss\): Couldn't parse float"),
    ):
        net_file.write_text(
            net_file.read_text().split("triplet_loss_param")[0] + f"triplet_loss_param {{ {wrong} }} }}"
        )
        with pytest.raises(PrototxtError, match=said):
            Net(prototxt.read(net_file, "NetParameter"), "TRAIN")


def test_without_it_type_name_line_and_stock_layers(net_file):
    said = r"net\.prototxt:7: layer 'loss': type 'TripletLoss' is not supported: .*stock layers that express it: Slice"
    with pytest.raises(PrototxtError, match=said + r".*; a plug-in can add it \(docs/plugins\.md\)"):
        prototxt.read(net_file, "NetParameter")
    text = "layer { name: 'p'\n type: 'Python' top: 'y' python_param { module: 'm' layer: 'TripletLossLayer' } }"
    with pytest.raises(PrototxtError, match=r":2: layer 'p': type 'Python' \(TripletLossLayer\) .*Slice.*Python\.m"):
        make_net(text)


FIELDS = "from siamplex.layer_api import Fields; declares = "
LAYER = """
import torch
from siamplex.layer_api import Layer
class It(Layer):
    {body}
    def setup(self, bottoms):
        {setup}
    def forward(self, bottoms, params, context):
        {forward}
"""


def layer_text(body: str = "pass", setup: str = "return [bottoms[0]]", forward: str = "return [bottoms[0]]") -> str:
    return LAYER.format(body=body, setup=setup, forward=forward)


ONE = "input: 'x' input_shape { dim: 2 dim: 3 }\nlayer { name: 'it' type: 'Odd' bottom: 'x' top: 'y' }"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("1 / 0", r"cannot be imported: ZeroDivisionError: division by zero \(.*broken\.py:1\)"),
        ("import not_there_at_all", "cannot be imported: ModuleNotFoundError"),
        ("def It(:", "cannot be imported: SyntaxError"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit"),
        ("x = 1", "cannot be imported: AttributeError"),
        ("class It: pass", "expected a subclass of siamplex.layer_api.Layer"),
        ("It = 5", "expected a subclass of siamplex.layer_api.Layer, found 5"),
        (layer_text("declares = 'x_param'"), "expected siamplex.layer_api.Fields in declares"),
        (
            layer_text(FIELDS + "Fields('loss_param', [])"),
            "one of Caffe's own",
        ),
        (
            layer_text(FIELDS + "Fields('q_param', ['flat a 1'])"),
            "no type flat",
        ),
        (layer_text(FIELDS + "Fields('Q', [])"), "'Q' is no name of a field"),
        (layer_text(setup="return 5"), r"setup failed: TypeError: .*\(.*broken\.py|setup failed: TypeError"),
        (layer_text(setup="return []"), "setup failed: ValueError: 0 shapes for 1 tops"),
        (layer_text(setup="return [bottoms[3]]"), r"setup failed: IndexError: .*broken\.py:7\)"),
        (layer_text("def configure(self): self.no"), r"configure failed: AttributeError: .*broken\.py:5\)"),
        (layer_text(forward="return []"), r"forward failed: ValueError: tops of shapes \[\], setup said \[\(2, 3\)\]"),
        (layer_text(forward="return [bottoms[0].sum()]"), "forward failed: ValueError: tops of shapes"),
        (
            layer_text(forward="raise ValueError('two\\nlines')"),
            r"forward failed: ValueError: two lines \(.*broken\.py:9",
        ),
    ],
)
def test_a_broken_plug_in_is_one_line(package, module, said):
    package({"Odd": "broken:It"}, {"broken": module})
    with pytest.raises(PrototxtError) as raised:
        make_net(ONE).forward(Context(train=True), {"x": torch.zeros(2, 3)})
    text = str(raised.value)
    assert re.search(said, text) and "\n" not in text
    assert re.match(r"net\.prototxt:2: layer 'it'.*plug-in 'Odd = broken:It' of some-layers 1\.5", text)


def test_a_type_of_ours_is_not_replaced(package):
    package({"ReLU": "mine:It", "Odd": "mine:It"}, {"mine": layer_text()})
    net = ONE.replace("Odd", "ReLU")
    with pytest.raises(PrototxtError, match=r":2: layer 'it': plug-in 'ReLU = mine:It' of some-layers 1\.5 would"):
        make_net(net)
    assert "mine" not in sys.modules  # nothing of it ran
    make_net(ONE.replace("Odd", "Sigmoid"))  # others are not concerned
    assert "mine" not in sys.modules
    make_net(ONE)
    assert "mine" in sys.modules and "Odd" not in known_types()


def test_two_packages_with_one_type(package):
    package({"Odd": "one:It"}, {"one": layer_text()}, "a-package")
    package({"Odd": "two:It"}, {"two": layer_text()}, "b-package")
    with pytest.raises(PrototxtError, match=r"several plug-ins add 'Odd'.*[ab]-package.*[ab]-package 1\.5; keep one"):
        make_net(ONE)


def test_a_python_layer_by_module_and_class(package):
    body = "param_field = 'python_param'; supported = frozenset({'module', 'layer', 'param_str'})"
    forward = "return [bottoms[0] * float(self.params.param_str)]"
    package({"Python.nets.layers.Times": "mine:It"}, {"mine": layer_text(body, forward=forward)})
    net = make_net(
        "input: 'x' input_shape { dim: 2 } layer { name: 'it' type: 'Python' bottom: 'x' top: 'y' "
        "python_param { module: 'nets.layers' layer: 'Times' param_str: '2.5' } }"
    )
    _, blobs = net.forward(Context(train=True), {"x": torch.ones(2)})
    assert blobs["y"].tolist() == [2.5, 2.5]
    with pytest.raises(PrototxtError, match=r"type 'Python' \(Other\) .*Python\.nets\.layers\.Other"):
        make_net(
            "input: 'x' input_shape { dim: 2 } layer { name: 'it' type: 'Python' bottom: 'x' top: 'y' "
            "python_param { module: 'nets.layers' layer: 'Other' } }"
        )


def test_own_enums_messages_and_learned_arrays(package):
    body = (
        "from siamplex.layer_api import Fields; declares = Fields('odd_param', ['Way way 1 UP', 'repeated int32 at 2', "
        "'FillerParameter filler 3'], {'Way': {'UP': 1, 'DOWN': 2}}, number=1234)"
    )
    setup = "from siamplex.layer_api import BlobSpec; self.blobs = [BlobSpec((3,), self.params.filler)]; return bottoms"
    forward = "return [bottoms[0] + params[0] * self.params.way * len(self.params.at)]"
    package({"Odd": "mine:It"}, {"mine": layer_text(body, setup, forward)})
    settings = "odd_param: < way: DOWN, at: [1, 2, 3]; filler { value: 0.5 } >"
    net = make_net(ONE.replace("top: 'y'", f"top: 'y' {settings}"))
    assert [p.label for p in net.parameters] == ["it[0]"]
    _, blobs = net.forward(Context(train=True), {"x": torch.zeros(2, 3)})
    assert blobs["y"].tolist() == [[3.0] * 3] * 2
    head, arrays = next(iter(net.owned()))
    assert extensions.settings(head, "odd_param").way == 2 and arrays[0].shape == (3,)


def test_the_command_says_it_in_one_line(package, tmp_path, capsys):
    package({"Odd": "broken:It"}, {"broken": "1 / 0"})
    (tmp_path / "net.prototxt").write_text(ONE)
    assert main(["caffe", "time", "-model", str(tmp_path / "net.prototxt"), "-iterations=1"]) == 2
    assert len([line for line in capsys.readouterr().err.splitlines() if "plug-in" in line]) == 1


def test_doctor_lists_them_and_imports_none(triplets):
    found = [check.found for check in doctor.check_plug_ins()]
    assert "TripletLoss = siamplex_triplet_loss:TripletLoss of some-layers" in found
    assert "siamplex_triplet_loss" not in sys.modules
