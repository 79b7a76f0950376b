"""HDF5Data, its source, and files that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from siamplex.engine.layer import Context, Share
from siamplex.engine.solver import Solver, TrainOptions
from siamplex.errors import InputError, PrototxtError
from siamplex.schema import prototxt
from siamplex.schema.bounds import Bounds
from tests.engine.conftest import make_layer, make_net

ROWS = (5, 3)


def write(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def listed(folder: Path, *names: object) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path


@pytest.fixture
def two_files(tmp_path):
    """Rows 0 to 4 in one file, 5 to 7 in another: doubles (2, 2), whole numbers."""
    start, files = 0, []
    for number, rows in enumerate(ROWS):
        values = np.arange(start, start + rows)
        files.append(
            write(
                tmp_path / f"{number}.h5",
                data=values[:, None, None] + np.zeros((1, 2, 2)),
                label=values.astype(np.int64),
            )
        )
        start += rows
    return listed(tmp_path, *files)


def layer_of(source: Path, settings: str = "batch_size: 3", tops: str = "top: 'data' top: 'label'", more: str = ""):
    return make_layer(f"type: 'HDF5Data' {tops} hdf5_data_param {{ source: '{source}' {settings} }} {more}")


def labels_of(layer, batches: int, **context: int) -> list[list[int]]:
    return [layer.forward([], [], Context(train=True, **context))[1].int().tolist() for _ in range(batches)]


def pass_of(layer, seed: int) -> list[int]:
    """Labels of the next two batches."""
    return [label for labels in labels_of(layer, 2, seed=seed) for label in labels]


def test_rows_in_turn_from_file_to_file(two_files):
    layer = layer_of(two_files)
    assert layer.setup([]) == [(3, 2, 2), (3,)]
    found = [layer.forward([], [], Context(train=True)) for _ in range(4)]
    assert [labels.tolist() for _, labels in found] == [[0, 1, 2], [3, 4, 5], [6, 7, 0], [1, 2, 3]]
    for data, labels in found:
        assert data.dtype == labels.dtype and str(data.dtype) == "torch.float32"
        np.testing.assert_array_equal(data.numpy(), labels.numpy()[:, None, None] + np.zeros((1, 2, 2)))


def test_a_batch_larger_than_all_and_files_listed_twice(two_files, tmp_path):
    layer = layer_of(two_files, "batch_size: 19", "top: 'label'")
    assert layer.setup([]) == [(19,)]
    assert layer.forward([], [], Context(train=True))[0].tolist() == [*range(8), *range(8), 0, 1, 2]
    twice = layer_of(listed(tmp_path, "  " + str(tmp_path / "1.h5"), f"{tmp_path / '1.h5'} {tmp_path / '0.h5'}", ""))
    twice.setup([])
    assert labels_of(twice, 3) == [[5, 6, 7], [5, 6, 7], [0, 1, 2]]


def test_shares_of_a_batch_and_the_old_form(two_files):
    text = f'layers {{ type: HDF5_DATA top: "label" hdf5_data_param {{ source: "{two_files}" batch_size: 6 }} }}'
    parts = [make_net(text, share=Share(rank, 3)).forward(Context(train=True))[1]["label"] for rank in range(3)]
    assert [part.tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(PrototxtError, match="4 processes do not share 6 evenly"):
        make_net(text, share=Share(0, 4))


def test_shuffled_files_and_rows(two_files):
    """Each pass has every row once, file by file, in an order of its own that comes from the seed."""
    layer = layer_of(two_files, "batch_size: 4 shuffle: true")
    layer.setup([])
    passes = [pass_of(layer, 7) for _ in range(12)]
    groups = {tuple(range(5)), tuple(range(5, 8))}
    first = set()
    for one in passes:
        assert sorted(one) == list(range(8))
        cut = 5 if one[0] < 5 else 3
        assert {tuple(sorted(one[:cut])), tuple(sorted(one[cut:]))} == groups
        first.add(one[0] < 5)
    assert first == {True, False} and len({tuple(one) for one in passes}) > 10
    again = layer_of(two_files, "batch_size: 4 shuffle: true")
    again.setup([])
    again.source.seek(24)
    assert pass_of(again, 7) == passes[3]  # a resumed run reads what it would have read
    again.source.seek(24)
    assert pass_of(again, 8) != passes[3]


def test_what_is_read_counts_not_where_it_lies(two_files, tmp_path):
    prints = []
    for names in (("0.h5", "1.h5"), ("a.h5", "1.h5"), ("1.h5", "0.h5"), ("b.h5", "1.h5")):
        if names[0] in ("a.h5", "b.h5"):
            (tmp_path / names[0]).write_bytes((tmp_path / "0.h5").read_bytes())
        if names[0] == "b.h5":
            with h5py.File(tmp_path / "b.h5", "a") as file:
                file["label"][4] = 9
        layer = layer_of(listed(tmp_path, *(tmp_path / name for name in names)))
        layer.setup([])
        prints.append(layer.source.fingerprint())
    assert prints[0] == prints[1] and len(set(prints)) == 3


NET = """name: "h" layer {{ name: "d" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ source: "{source}"
  batch_size: 3 shuffle: true }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {{ num_output: 8
  weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}
"""


def test_a_run_resumes_where_it_read(two_files, tmp_path):
    (tmp_path / "net.prototxt").write_text(NET.format(source=two_files))
    text = f'net: "{tmp_path}/net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 9 snapshot: 4 random_seed: 2 '
    (tmp_path / "s.prototxt").write_text(text + f'snapshot_prefix: "{tmp_path}/whole"')
    Solver(tmp_path / "s.prototxt", TrainOptions(quiet=True)).solve()
    (tmp_path / "s.prototxt").write_text(text + f'snapshot_prefix: "{tmp_path}/cut"')
    options = TrainOptions(quiet=True, snapshot=tmp_path / "whole_iter_4.solverstate")
    resumed = Solver(tmp_path / "s.prototxt", options)
    assert resumed.data_layers().__next__()[1].source.position == 12
    resumed.solve()
    models = [(tmp_path / f"{name}_iter_9.caffemodel").read_bytes() for name in ("whole", "cut")]
    assert models[0] == models[1]


# --- what is refused


def refused(tmp_path, message, names=("x.h5",), **datasets):
    for name in names:
        write(tmp_path / name, **datasets)
    with pytest.raises(InputError, match=message):
        layer_of(listed(tmp_path, *(tmp_path / name for name in names))).setup([])


def test_refuses_what_the_files_lack(tmp_path):
    two = np.zeros((2, 3))
    refused(tmp_path, r"x.h5: expected a dataset 'label', found data, labels", data=two, labels=two)
    refused(tmp_path, r"x.h5: expected 2 rows in 'label', as 'data' has, found 3", data=two, label=np.zeros(3))
    refused(tmp_path, r"x.h5: expected rows in 'label', found shape \(\)", data=two, label=np.float32(1))
    refused(tmp_path, r"x.h5: expected rows in 'data', found shape \(0, 3\)", data=np.zeros((0, 3)), label=two)
    refused(tmp_path, r"'label', which holds no numbers but object", data=two, label=np.array(["a", "b"], object))
    refused(tmp_path, r"'label', which holds no numbers but bool", data=two, label=np.array([True, False]))
    write(tmp_path / "a.h5", data=two, label=two)
    write(tmp_path / "b.h5", data=np.zeros((4, 5)), label=np.zeros((4, 3)))
    with pytest.raises(InputError, match=r"b.h5: expected rows of shape \(3,\) in 'data', as in .*a.h5, found \(5,\)"):
        layer_of(listed(tmp_path, tmp_path / "a.h5", tmp_path / "b.h5")).setup([])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_group("group")
    with pytest.raises(InputError, match="'group', which is no dataset"):
        layer_of(listed(tmp_path, tmp_path / "a.h5"), tops="top: 'group'").setup([])
    with pytest.raises(InputError, match="expected a dataset 'group/data', found data, group, label"):
        layer_of(listed(tmp_path, tmp_path / "a.h5"), tops="top: 'group/data'").setup([])


def test_refuses_what_the_list_names(two_files, tmp_path):
    lines = [tmp_path / "0.h5", "", tmp_path / "gone.h5"]
    with pytest.raises(InputError, match=r"list.txt:3: expected an HDF5 file, found '.*gone.h5': nothing there"):
        layer_of(listed(tmp_path, *lines)).setup([])
    (tmp_path / "a b.h5").write_bytes((tmp_path / "0.h5").read_bytes())
    with pytest.raises(InputError, match=r"list.txt:1: .*\(names end at white space, as in Caffe: '.*a b.h5'\)"):
        layer_of(listed(tmp_path, tmp_path / "a b.h5")).setup([])
    with pytest.raises(InputError, match=r"list.txt:1: expected an HDF5 file, found no file"):
        layer_of(listed(tmp_path, tmp_path)).setup([])
    with pytest.raises(InputError, match=r"list.txt: expected a whole HDF5 file, found a text file"):
        layer_of(listed(tmp_path, tmp_path / "list.txt")).setup([])
    for made, found in ((b"", "an empty file"), (b"\n \n", "an empty file|found none in it")):
        (tmp_path / "list.txt").write_bytes(made)
        with pytest.raises(PrototxtError, match=rf"it.prototxt:1: layer 'it' .*source '.*list.txt': .*({found})"):
            layer_of(tmp_path / "list.txt").setup([])
    with pytest.raises(PrototxtError, match="expected a text file that lists HDF5 files, found an HDF5 file"):
        layer_of(tmp_path / "0.h5").setup([])
    with pytest.raises(PrototxtError, match=r"it.prototxt:1: .*source '.*none.txt': .*found nothing there"):
        layer_of(tmp_path / "none.txt").setup([])


@pytest.mark.parametrize(
    ("settings", "more", "message"),
    [
        ("", "", "batch_size must be positive"),
        ("batch_size: 2", "transform_param { scale: 2 }", "does not transform data: leave transform_param out"),
        ("batch_size: 2", "bottom: 'x'", "expected 0 bottoms, found 1"),
    ],
)
def test_refuses_settings(two_files, settings, more, message):
    with pytest.raises(PrototxtError, match=f"it.prototxt:1: layer 'it' .HDF5Data.: {message}"):
        layer_of(two_files, settings, more=more)


def test_refuses_what_leads_out_of_a_file(tmp_path):
    """Links and storage of other files, and arrays far larger than what is stored of them."""
    secret = write(tmp_path / "secret.h5", data=np.ones((2, 3)))
    (tmp_path / "raw").write_bytes(b"\1" * 48)

    def external(file):
        file["data"] = h5py.ExternalLink(str(secret), "data")

    def soft(file):
        file["other"], file["data"] = np.ones((2, 3)), h5py.SoftLink("/other")

    def stored_elsewhere(file):
        file.create_dataset("data", (2, 3), "f8", external=[(str(tmp_path / "raw"), 0, 48)])

    def virtual(file):
        layout = h5py.VirtualLayout((2, 3), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "data", (2, 3))
        file.create_virtual_dataset("data", layout)

    def never_written(file):
        file.create_dataset("data", (1 << 20, 1 << 10), "f4")

    def hollow(file):
        file.create_dataset("data", (1 << 20, 1 << 10), "f4", chunks=(1, 1 << 10), compression="gzip")[0] = 1

    words = {
        external: "a link that leads elsewhere",
        soft: "a link that leads elsewhere",
        stored_elsewhere: "lies in other files",
        virtual: "lies in other files",
        never_written: "with 0 bytes stored",
        hollow: "bytes stored",
    }
    for make, said in words.items():
        with h5py.File(tmp_path / "x.h5", "w") as file:
            make(file)
        with pytest.raises(InputError, match=f"x.h5: expected a whole HDF5 file, found .*{said}"):
            layer_of(listed(tmp_path, tmp_path / "x.h5"), tops="top: 'data'").setup([])


def test_compressed_files_are_read(tmp_path):
    values = np.zeros((1000, 50), np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("data", data=values, compression="gzip", chunks=(100, 50), shuffle=True)
    layer = layer_of(listed(tmp_path, tmp_path / "x.h5"), tops="top: 'data'")
    assert layer.setup([]) == [(3, 50)]
    assert not layer.forward([], [], Context(train=True))[0].any()


def test_damaged_files_are_refused_in_one_line(two_files, tmp_path):
    whole = (tmp_path / "0.h5").read_bytes()
    stream = np.random.default_rng(0)
    said = set()
    for number in range(120):
        data = bytearray(whole[: stream.integers(8, len(whole))] if number % 2 else whole)
        for at in stream.integers(0, len(data), 6 * (number % 3)):
            data[at] = stream.integers(256)
        (tmp_path / "x.h5").write_bytes(bytes(data))
        try:
            layer = layer_of(listed(tmp_path, tmp_path / "x.h5"))
            layer.setup([])
            layer.forward([], [], Context(train=True))
        except InputError as error:
            assert "\n" not in str(error) and "x.h5: expected" in str(error)
            said.add(error.found)
    assert len(said) > 5


def test_paths_stay_within_bounds(two_files, tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    (inner / "list.txt").write_text("../0.h5\n")
    text = "layer { name: 'd' type: 'HDF5Data' top: 'data' hdf5_data_param { source: 'list.txt' batch_size: 1 } }"
    (inner / "net.prototxt").write_text(text)
    from siamplex.engine.net import Net

    source = prototxt.read(inner / "net.prototxt", "NetParameter", Bounds.of(inner / "net.prototxt"))
    with pytest.raises(InputError, match=r"list.txt:1: expected paths within .*--allow-outside lifts this.*\.\./0.h5"):
        Net(source, "TRAIN")
    assert make_net(text).shapes["data"] == (1, 2, 2)
