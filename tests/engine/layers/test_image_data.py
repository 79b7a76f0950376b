"""ImageData, its list and its pictures."""

from __future__ import annotations

import ctypes
from pathlib import Path

import cv2
import numpy as np
import pytest

from siamplex.engine.net import image_source
from siamplex.engine.net.layer import Context, Share
from siamplex.engine.net.net import Net
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import InputError, PrototxtError, UsageError
from siamplex.schema import messages, prototxt
from siamplex.schema.bounds import Bounds
from tests.engine.conftest import make_layer, make_net, write_lmdb

STREAM = np.random.default_rng(0)


def write(path: Path, height: int = 6, width: int = 5, value: int | None = None) -> np.ndarray:
    """A random picture (H, W, 3), or one of a single value."""
    picture = STREAM.integers(0, 256, (height, width, 3), np.uint8)
    if value is not None:
        picture[:] = value
    assert cv2.imwrite(str(path), picture)
    return picture


def listed(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / "list.txt"
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


@pytest.fixture
def five(tmp_path):
    """Five pictures of 6x5, labels 0 to 4; one name has spaces."""
    names = ["0.png", "1.bmp", "with some spaces.png", "3.png", "4.png"]
    pictures = [write(tmp_path / name) for name in names]
    source = listed(tmp_path, *(f"{tmp_path / name} {i}" for i, name in enumerate(names)))
    return source, np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32)


def layer_of(source: Path, settings: str = "batch_size: 3", more: str = "", share: Share | None = None):
    tops = "top: 'data' top: 'label'"
    return make_layer(f"type: 'ImageData' {tops} image_data_param {{ source: '{source}' {settings} }} {more}")


def forward(layer, **context):
    data, labels = layer.forward([], [], Context(**{"train": True, **context}))
    return data.numpy(), labels.int().tolist()


def test_pictures_in_turn(five):
    source, pictures = five
    layer = layer_of(source)
    assert layer.setup([]) == [(3, 3, 6, 5), (3,)]
    for wanted in ([0, 1, 2], [3, 4, 0], [1, 2, 3]):
        data, labels = forward(layer)
        assert labels == wanted and data.dtype == np.float32
        np.testing.assert_array_equal(data, pictures[wanted])  # BGR, as OpenCV reads it
    assert layer.source.position == 9


def test_one_picture_a_batch_without_more(five):
    layer = make_layer(f"type: 'ImageData' top: 'x' top: 'y' image_data_param {{ source: '{five[0]}' }}")
    assert layer.setup([]) == [(1, 3, 6, 5), (1,)]


@pytest.mark.parametrize("color", [True, False])
def test_resized_and_grey(tmp_path, color):
    """As OpenCV's imread and its bilinear resize, whatever sizes there are."""
    sizes = [(6, 5), (9, 4), (20, 30)]
    for i, (height, width) in enumerate(sizes):
        write(tmp_path / f"{i}.png", height, width)
    source = listed(tmp_path, *(f"{tmp_path}/{i}.png {i}" for i in range(3)), end="\r\n")
    settings = f"batch_size: 3 new_height: 7 new_width: 4 is_color: {str(color).lower()}"
    layer = layer_of(source, settings, "transform_param { scale: 0.5 mean_value: 10 }")
    assert layer.setup([])[0] == (3, 3 if color else 1, 7, 4)
    data, _ = forward(layer)
    for i in range(3):
        flag = cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE
        wanted = cv2.resize(cv2.imread(f"{tmp_path}/{i}.png", flag), (4, 7)).reshape(7, 4, -1).transpose(2, 0, 1)
        np.testing.assert_allclose(data[i], (wanted.astype(np.float32) - 10) * 0.5)


def test_the_root_folder_stands_before_each_path_as_it_is(five, tmp_path):
    source = listed(tmp_path, "ith some spaces.png 7", " 0")
    layer = layer_of(source, f"root_folder: '{tmp_path}/w'")
    with pytest.raises(InputError, match=r"list.txt:2: expected a path, a space and a label, found ' 0'"):
        layer.setup([])
    layer = layer_of(listed(tmp_path, "ith some spaces.png 7"), f"root_folder: '{tmp_path}/w'")
    layer.setup([])
    assert forward(layer)[1] == [7]


def test_labels_of_every_kind_of_whole_number(five, tmp_path):
    lines = [f"{tmp_path}/0.png {label}" for label in ("-3", "+4", "007", "2147483647")]
    layer = layer_of(listed(tmp_path, *lines), "batch_size: 4")
    layer.setup([])
    assert layer.forward([], [], Context(train=True))[1].double().tolist() == [-3, 4, 7, float(np.float32(2**31 - 1))]


AS_ATOI = {
    "1.5": 1, "-0.2": 0, "-1.9": -1, "+2.": 2, ".5": 0, "-.5": 0, "7abc": 7, "1e3": 1, "0x10": 0, "\t3": 3, "3\t": 3,
    "12,5": 12, "2147483647.9": 2147483647, "-2147483648x": -2147483648, "0" * 5000 + "12.0": 12, "4-5": 4,
}  # fmt: skip


def test_labels_that_are_not_whole_numbers_are_read_as_c_reads_them():
    libc = ctypes.CDLL(None)
    for text, value in AS_ATOI.items():
        assert image_source.read_label(text) == value == libc.atoi(text.encode()), text


def test_one_note_tells_of_all_labels_that_are_not_whole_numbers(five, tmp_path):
    path = listed(tmp_path, *(f"{tmp_path}/0.png {label}" for label in ("1", "1.5", "7abc", "+2", "-0.2")))
    text = f"layer {{ name: 'd' type: 'ImageData' top: 'x' top: 'y'\nimage_data_param {{ source: '{path}' }} }}"
    net = make_net(text)
    said = "label '1.5' is read as 1, as in Caffe; 3 lines have such labels"
    assert net.notes == [f"net.prototxt:2: layer 'd' (ImageData): {path}:2: {said}"]
    assert [int(net.forward(Context(True))[1]["y"]) for _ in range(5)] == [1, 1, 7, 2, 0]
    listed(tmp_path, f"{tmp_path}/0.png 3.0")
    assert make_net(text).notes[0].endswith(f"{path}:1: label '3.0' is read as 3, as in Caffe; 1 line has such a label")
    listed(tmp_path, f"{tmp_path}/0.png -03")
    assert not make_net(text).notes


def test_shuffled_anew_in_each_pass_and_the_same_after_a_stop(five):
    layer = layer_of(five[0], "batch_size: 5 shuffle: true")
    layer.setup([])
    passes = [forward(layer, seed=3) for _ in range(30)]
    assert all(sorted(labels) == list(range(5)) for _, labels in passes)
    assert len({tuple(labels) for _, labels in passes}) > 15
    for data, labels in passes:
        np.testing.assert_array_equal(data, five[1][labels])
    again = layer_of(five[0], "batch_size: 5 shuffle: true")
    again.setup([])
    again.source.seek(35)
    assert forward(again, seed=3)[1] == passes[7][1]
    again.source.seek(35)
    others = [forward(again, seed=4)[1] for _ in range(4)]
    assert others != [labels for _, labels in passes[7:11]]


def test_rand_skip_begins_within_the_first_pass(five):
    starts = set()
    for seed in range(40):
        layer = layer_of(five[0], "batch_size: 2 rand_skip: 3")
        layer.setup([])
        first, second = forward(layer, seed=seed)[1], forward(layer, seed=seed)[1]
        starts.add(first[0])
        assert [*first, *second] == [(first[0] + i) % 5 for i in range(4)]
    assert starts == {0, 1, 2}
    with pytest.raises(PrototxtError, match=r"it.prototxt:1: .*rand_skip may skip 5 of 5 pictures, which"):
        layer_of(five[0], "rand_skip: 6").setup([])
    layer_of(five[0], "rand_skip: 5").setup([])


def test_crops_pictures_of_several_sizes(tmp_path):
    pictures = [write(tmp_path / f"{i}.png", *size) for i, size in enumerate([(6, 5), (4, 9), (5, 5)])]
    source = listed(tmp_path, *(f"{tmp_path}/{i}.png {i}" for i in range(3)))
    layer = layer_of(source, more="transform_param { crop_size: 4 mirror: true mean_value: 1 }")
    assert layer.setup([])[0] == (3, 3, 4, 4)
    seen = [set(), set(), set()]
    for iteration in range(60):
        layer.source.seek(0)
        data, _ = forward(layer, iteration=iteration)
        for i, sample in enumerate(data):
            seen[i].add(sample.tobytes())
    for picture, found in zip(pictures, seen, strict=True):
        x = picture.transpose(2, 0, 1).astype(np.float32) - 1
        windows = {
            x[:, top : top + 4, left : left + 4][:, :, ::step].tobytes()
            for top in range(x.shape[1] - 3)
            for left in range(x.shape[2] - 3)
            for step in (1, -1)
        }
        assert found <= windows and len(found) > len(windows) / 2
    layer.source.seek(0)
    data, _ = forward(layer, train=False)
    centre = pictures[1].transpose(2, 0, 1)[:, 0:4, 2:6].astype(np.float32) - 1
    assert np.array_equal(data[1], centre) or np.array_equal(data[1], centre[:, :, ::-1])


def test_a_batch_has_the_size_of_its_first_picture(tmp_path):
    pictures = [write(tmp_path / f"{i}.png", *size) for i, size in enumerate([(6, 5), (4, 9), (4, 9), (6, 5)])]
    source = listed(tmp_path, *(f"{tmp_path}/{i}.png {i}" for i in range(4)))
    layer = layer_of(source, "batch_size: 1")
    assert layer.setup([]) == [(1, 3, 6, 5), (1,)] and layer.sizes_vary
    for picture in pictures:
        np.testing.assert_array_equal(forward(layer)[0][0], picture.transpose(2, 0, 1))
    assert layer.place == (
        f"{source}:4, 6x5 pixels (height x width; new_height and new_width give all pictures one size)"
    )
    layer = layer_of(source, "batch_size: 2")
    layer.setup([])
    layer.source.seek(1)
    np.testing.assert_array_equal(forward(layer)[0], np.stack(pictures[1:3]).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(forward(layer)[0], np.stack([pictures[3], pictures[0]]).transpose(0, 3, 1, 2))


def test_a_mean_file(five, tmp_path):
    source, pictures = five
    mean = STREAM.integers(0, 99, (3, 6, 5)).astype(np.float32)
    blob = messages.BlobProto(num=1, channels=3, height=6, width=5, data=mean.reshape(-1))
    (tmp_path / "mean").write_bytes(blob.SerializeToString())
    layer = layer_of(source, more=f"transform_param {{ mean_file: '{tmp_path}/mean' }}")
    layer.setup([])
    np.testing.assert_array_equal(forward(layer)[0], pictures[:3] - mean)
    write(tmp_path / "4.png", 9, 9)
    wanted = r"list.txt:5: expected 6x5 pixels .height x width., as its mean_file has, found 9x9"
    for batch, crop in ((5, ""), (1, ""), (5, "crop_size: 3")):  # one picture a batch as well
        layer = layer_of(source, f"batch_size: {batch}", f"transform_param {{ {crop} mean_file: '{tmp_path}/mean' }}")
        layer.setup([])
        assert not layer.sizes_vary
        layer.source.seek(4 if batch == 1 else 0)
        with pytest.raises(InputError, match=wanted):
            forward(layer)
    with pytest.raises(PrototxtError, match=r"mean of .3, 6, 5. for samples .3, 4, 4."):
        layer_of(source, "new_height: 4 new_width: 4", f"transform_param {{ mean_file: '{tmp_path}/mean' }}").setup([])
    with pytest.raises(PrototxtError, match=r"mean_file '.*none': expected a readable mean file, found nothing there"):
        layer_of(source, more=f"transform_param {{ mean_file: '{tmp_path}/none' }}").setup([])


def test_as_a_database_of_the_same_pictures(five, tmp_path):
    """The same transformation as Data's, random crops too."""
    source, pictures = five
    folder = write_lmdb(tmp_path / "l", [(p.astype(np.uint8), i) for i, p in enumerate(pictures)])
    more = "transform_param { crop_size: 4 mirror: true scale: 0.1 mean_value: 1 mean_value: 2 mean_value: 3 }"
    ours = layer_of(source, more=more)
    stored = make_layer(
        f"type: 'Data' top: 'x' top: 'y' data_param {{ source: '{folder}' batch_size: 3 backend: LMDB }} {more}"
    )
    assert ours.setup([]) == stored.setup([])
    for iteration in range(4):
        a, b = (forward(layer, iteration=iteration, seed=5) for layer in (ours, stored))
        assert a[1] == b[1]
        np.testing.assert_array_equal(a[0], b[0])


def test_shares_of_a_batch(five):
    source, _ = five
    settings = f"image_data_param {{ source: '{source}' batch_size: 4 }}"
    text = f"layer {{ name: 'it' type: 'ImageData' top: 'x' top: 'y' {settings} }}"
    whole = make_net(text).forward(Context(train=True))[1]["x"]
    halves = [make_net(text, share=Share(rank, 2)).forward(Context(train=True))[1]["x"] for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    with pytest.raises(PrototxtError, match="3 processes do not share 4 evenly"):
        make_net(text, share=Share(0, 3))


def test_reading_ahead_changes_nothing(five, monkeypatch):
    found = []
    for limit in (1 << 20, 0):
        monkeypatch.setattr(image_source, "_AHEAD", limit)
        layer = layer_of(five[0], "batch_size: 3 shuffle: true")
        layer.setup([])
        steps = [forward(layer, seed=1)[1] for _ in range(4)]
        layer.source.seek(1)
        steps += [forward(layer, seed=1)[1], forward(layer, seed=2)[1], layer.source.position]
        found.append(steps)
        assert (layer.source._ahead is None) == (limit > 0)
    assert found[0] == found[1]


NET = """name: "i" layer {{ name: "d" type: "ImageData" top: "data" top: "label" image_data_param {{ source: "{source}"
  batch_size: 2 shuffle: true rand_skip: 3 }} transform_param {{ scale: 0.004 mirror: true }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {{ num_output: 5
  weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}
"""


def test_a_run_resumes_where_it_read_and_is_known_by_its_pictures(five, tmp_path):
    (tmp_path / "net.prototxt").write_text(NET.format(source=five[0]))
    text = f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot: 4 display: 1 '
    path = tmp_path / "s.prototxt"
    path.write_text(text + f'random_seed: 2 snapshot_prefix: "{tmp_path}/whole"')
    Solver(path, TrainOptions(quiet=True)).solve()
    path.write_text(text + f'random_seed: 2 snapshot_prefix: "{tmp_path}/cut"')
    state = tmp_path / "whole_iter_4.solverstate"
    Solver(path, TrainOptions(quiet=True, snapshot=state)).solve()
    models = [(tmp_path / f"{name}_iter_9.caffemodel").read_bytes() for name in ("whole", "cut")]
    assert models[0] == models[1]
    losses = [dict(row[:2] for row in read_losses(tmp_path / f"{name}_losses.csv")) for name in ("whole", "cut")]
    assert losses[1] == {n: losses[0][n] for n in range(4, 10)}
    cut = Solver(path, TrainOptions(quiet=True, snapshot=tmp_path / "cut_iter_8.solverstate")).start.course
    assert len(cut.segments) == 1
    write(tmp_path / "0.png")
    with pytest.raises(UsageError, match="other records of train:d"):
        Solver(path, TrainOptions(quiet=True, snapshot=tmp_path / "cut_iter_8.solverstate"))


# --- what is refused


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", "expected a path, a space and a label, found an empty line"),
        ("0.png", r"expected a path, a space and a label, found '0.png'"),
        ("0.png\t3", r"expected a path, a space and a label, found '0.png\\t3'"),
        ("0.png three", "expected a number of 32 bits as label behind the last space, found 'three'"),
        ("0.png -", "expected a number of 32 bits as label behind the last space, found '-'"),
        ("0.png .", "expected a number of 32 bits as label behind the last space, found '.'"),
        ("0.png nan", "expected a number of 32 bits as label behind the last space, found 'nan'"),
        ("0.png 3 ", r"expected a number of 32 bits as label behind the last space, found '' .it ends in a space."),
        ("0.png 99999999999", "expected a number of 32 bits as label behind the last space, found '99999999999'"),
        ("0.png 2147483648", "expected a number of 32 bits as label behind the last space, found '2147483648'"),
        ("0.png -2147483649.5", "expected a number of 32 bits as label behind the last space, found '-2147483649.5'"),
        ("0.png ٣", "expected a number of 32 bits as label behind the last space, found '٣'"),
        ("0.png 1٣", "expected a number of 32 bits as label behind the last space, found '1٣'"),
        ("none.png 3", "expected a picture, found 'none.png': nothing there"),
        ("0.png 3 4", "expected a picture, found '0.png 3': nothing there"),
        (". 3", "expected a picture, found no file '.'"),
        ("a\0b.png 3", "expected a text file of pictures and labels, found a binary file"),
    ],
)
def test_refuses_a_line(five, tmp_path, monkeypatch, line, found):
    monkeypatch.chdir(tmp_path)
    listed(tmp_path, "0.png 1", line, "1.bmp 2")
    with pytest.raises((InputError, PrototxtError), match=found) as error:
        layer_of(Path("list.txt")).setup([])
    assert str(error.value).startswith("list.txt:2: " if "\0" not in line else "it.prototxt:1: layer 'it' (ImageData)")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"no picture at all", "expected a still image, found "),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "expected a still image, found "),
        (b"", "expected an image of 1 to .* bytes, found .*0 bytes"),
    ],
)
def test_refuses_a_picture_that_cannot_be_read(five, tmp_path, content, found):
    (tmp_path / "4.png").write_bytes(content)
    layer = layer_of(five[0], "batch_size: 5")
    layer.setup([])
    with pytest.raises(InputError, match=rf"list.txt:5: {found}") as error:
        forward(layer)
    assert "4.png" in str(error.value)
    (tmp_path / "0.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"list.txt:1: {found}"):
        layer_of(five[0]).setup([])


def test_refuses_pictures_of_other_sizes(five, tmp_path):
    write(tmp_path / "3.png", 5, 6)
    layer = layer_of(five[0], "batch_size: 5")
    layer.setup([])
    wanted = r"list.txt:4: expected 6x5 .*first picture of its batch has \(.*list.txt:1\).*new_width resize.*found 5x6"
    with pytest.raises(InputError, match=wanted):
        forward(layer)
    write(tmp_path / "3.png", 3, 6)
    layer = layer_of(five[0], "batch_size: 5", "transform_param { crop_size: 4 }")
    layer.setup([])
    with pytest.raises(InputError, match=r"list.txt:4: expected at least 4x4 pixels, crop_size, found 3x6"):
        forward(layer)
    with pytest.raises(PrototxtError, match="crop_size 7 of 6x5 samples"):
        layer_of(five[0], more="transform_param { crop_size: 7 }").setup([])


@pytest.mark.parametrize(
    ("settings", "more", "message"),
    [
        ("new_height: 4", "", "give both new_height and new_width, or neither"),
        ("new_width: 4 new_height: 0", "", "give both new_height and new_width, or neither"),
        ("batch_size: 0", "", "batch_size must be positive"),
        ("", "top: 'z'", "expected 2 tops, found 3"),
        ("", "bottom: 'z'", "expected 0 bottoms, found 1"),
    ],
)
def test_refuses_settings(five, settings, more, message):
    with pytest.raises(PrototxtError, match=f"it.prototxt:1: layer 'it' .ImageData.: {message}"):
        layer_of(five[0], settings, more)


def test_refuses_a_source_that_is_no_list(five, tmp_path):
    for name, found in (("0.png", "a PNG image"), ("gone.txt", "nothing there"), ("", "an? .*folder")):
        with pytest.raises(PrototxtError, match=rf"prototxt:1: .*: expected a text file of pictures .*, found {found}"):
            layer_of(tmp_path / name).setup([])
    with pytest.raises(PrototxtError, match="found an empty file"):
        layer_of(listed(tmp_path)).setup([])


def test_paths_stay_within_bounds(five, tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    (inner / "list.txt").write_text("../0.png 1\n")
    text = "layer { name: 'd' type: 'ImageData' top: 'x' top: 'y' image_data_param { source: 'list.txt' } }"
    (inner / "net.prototxt").write_text(text)
    source = prototxt.read(inner / "net.prototxt", "NetParameter", Bounds.of(inner / "net.prototxt"))
    with pytest.raises(InputError, match=r"list.txt:1: expected paths within .*--allow-outside lifts this.*\.\./0.png"):
        Net(source, "TRAIN")
    assert make_net(text).shapes["x"] == (1, 3, 6, 5)


def test_the_old_form(five):
    """There the transformation stands in image_data_param, and counts."""
    text = f"""layers {{ name: "d" type: IMAGE_DATA top: "x" top: "y" image_data_param {{ source: "{five[0]}"
  batch_size: 2 new_height: 4 new_width: 4 scale: 0.5 crop_size: 3 }} }}"""
    net = make_net(text, "TEST")
    assert net.shapes["x"] == (2, 3, 3, 3) and not net.notes
    data = net.forward(Context(train=False))[1]["x"].numpy()
    resized = cv2.resize(five[1][1].transpose(1, 2, 0).astype(np.uint8), (4, 4))[:3, :3].transpose(2, 0, 1)
    np.testing.assert_array_equal(data[1], resized * np.float32(0.5))


def test_old_fields_are_said_to_have_no_effect(five):
    layer = layer_of(five[0], "batch_size: 1 mirror: true crop_size: 3")
    assert layer.setup([])[0] == (1, 3, 6, 5)
    assert [note.split(": ")[2].split(" of ")[0] for note in layer.notes] == ["crop_size", "mirror"]
