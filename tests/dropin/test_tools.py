"""`siamplex caffe` in the place of convert_imageset, compute_image_mean, extract_features and the upgrades."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from siamplex.cli import main
from siamplex.dropin.gflags import parse
from siamplex.errors import UsageError
from siamplex.schema import messages, prototxt
from siamplex.schema.datum import decode
from siamplex.schema.weights import read_caffemodel, read_mean_file, write_caffemodel
from tests.engine.conftest import write_lmdb

# --- flags


@pytest.mark.parametrize(
    ("arguments", "gray", "width", "words"),
    [
        (["-gray", "a", "b"], True, 0, ["a", "b"]),
        (["--gray", "a", "--resize_width", "7"], True, 7, ["a"]),
        (["a", "-gray=true", "-resize_width=7", "b"], True, 7, ["a", "b"]),
        (["--gray=false", "a"], False, 0, ["a"]),
        (["-gray", "-nogray", "a"], False, 0, ["a"]),
        (["-gray=1", "-logtostderr", "-v=1", "--minloglevel", "2", "-noalsologtostderr", "a"], True, 0, ["a"]),
        (["a", "--", "-gray", "b"], False, 0, ["a", "-gray", "b"]),
        (["-gray", "true"], True, 0, ["true"]),  # a switch takes its value behind '=' alone
        (["-", "--gray=NO"], False, 0, ["-"]),
    ],
)
def test_flags_as_gflags_reads_them(arguments, gray, width, words):
    line = parse("tool", arguments, {"gray": False, "resize_width": 0})
    assert (line.on("gray"), line.number("resize_width"), line.words) == (gray, width, words)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-grey"], "unknown command line flag 'grey' .known: gray, resize_width"),
        (["-resize_width=x"], "-resize_width: expected a whole number, found 'x'"),
        (["-resize_width"], "flag '-resize_width' is missing its value"),
        (["-gray=maybe"], "-gray: expected true or false, found 'maybe'"),
        (["-nogray=true"], "flag '-nogray' takes no value"),
    ],
)
def test_flags_that_are_none(arguments, said):
    with pytest.raises(UsageError, match=said):
        parse("tool", arguments, {"gray": False, "resize_width": 0})


# --- convert_imageset


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures of 8 x 6 in two kinds, one file that is none, and their list."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root" / "sub dir").mkdir(parents=True)
    stream = np.random.default_rng(2)
    for name in ("a.png", "sub dir/b.png", "c.jpeg", "d.bmp"):
        assert cv2.imwrite(str(tmp_path / "root" / name), stream.integers(0, 256, (8, 6, 3), dtype=np.uint8))
    (tmp_path / "root" / "e.png").write_text("no picture")
    (tmp_path / "list.txt").write_text("a.png 3\nsub dir/b.png 0\ne.png 1\nc.jpeg 7\r\nd.bmp -2\nf.png 1")
    return tmp_path


def records(folder: str | Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn, txn.cursor() as cursor:
        return [(bytes(key), bytes(value)) for key, value in cursor]


def convert(*arguments: str) -> int:
    return main(["caffe", "convert_imageset", *arguments])


def test_keys_labels_and_bytes(images, capsys):
    assert convert("root/", "list.txt", "db") == 0
    found = records("db")
    assert [key for key, _ in found] == [
        b"00000000_a.png", b"00000001_sub dir/b.png", b"00000003_c.jpeg", b"00000004_d.bmp",
    ]  # fmt: skip
    picture = cv2.imread("root/a.png").transpose(2, 0, 1).tobytes()
    # channels, height, width, data, label, encoded: false, which the tool writes too
    expected = b"\x08\x03\x10\x08\x18\x06\x22" + bytes([144, 1]) + picture + b"\x28\x03\x38\x00"
    assert found[0][1] == expected
    assert [decode(value)[1] for _, value in found] == [3, 0, 7, -2]
    err = capsys.readouterr().err
    assert "A total of 6 images." in err and "Processed 4 files." in err
    assert "Could not open or find file root/e.png" in err and "Could not open or find file root/f.png" in err
    assert "2 of 6 could not be read" in err


def test_gray_and_resize(images):
    assert convert("-gray=true", "--resize_width=4", "--resize_height", "5", "root/", "list.txt", "db") == 0
    values, label = decode(records("db")[0][1])
    expected = cv2.resize(cv2.imread("root/a.png", cv2.IMREAD_GRAYSCALE), (4, 5))
    np.testing.assert_array_equal(values, expected[None])
    assert label == 3
    assert convert("-resize_width=4", "root/", "list.txt", "one_alone") == 0  # no effect, as in the tool
    assert decode(records("one_alone")[0][1])[0].shape == (3, 8, 6)


def test_encoded_as_they_are_or_anew(images):
    assert convert("--encoded", "root/", "list.txt", "as_is") == 0
    for (key, value), name in zip(records("as_is"), ("a.png", "sub dir/b.png", "c.jpeg", "d.bmp"), strict=True):
        datum = messages.Datum.FromString(value)
        assert datum.encoded and datum.data == (images / "root" / name).read_bytes() and key.endswith(name.encode())
        assert not datum.HasField("channels")
    assert convert("--encode_type=jpg", "root/", "list.txt", "jpg") == 0
    found = [messages.Datum.FromString(value) for _, value in records("jpg")]
    assert found[2].data == (images / "root" / "c.jpeg").read_bytes()  # .jpeg is jpg
    assert found[0].data == cv2.imencode(".jpg", cv2.imread("root/a.png"))[1].tobytes()
    assert convert("--encoded", "--resize_width=3", "--resize_height=3", "root/", "list.txt", "small") == 0
    assert decode(records("small")[0][1])[0].shape == (3, 3, 3)
    assert convert("--encode_type=odd", "root/", "list.txt", "odd") == 2
    assert not Path("odd").exists()


def test_shuffled_they_are_all_there(images, capsys):
    (images / "many.txt").write_text("".join(f"{'ad'[i % 2]}.{('png', 'bmp')[i % 2]} {i}\n" for i in range(40)))
    assert convert("--shuffle", "root/", "many.txt", "db") == 0
    labels = [decode(value)[1] for _, value in records("db")]
    assert sorted(labels) == list(range(40)) and labels != list(range(40))
    assert [key[:9] for key, _ in records("db")] == [b"%08d_" % i for i in range(40)]


def test_it_is_what_a_data_layer_reads(images):
    from siamplex.engine.net.layer import Context
    from siamplex.engine.net.net import Net

    for name, flags in (("plain", []), ("enc", ["-encoded"])):
        assert convert(*flags, "root/", "list.txt", name) == 0
        source = f"data_param {{ source: '{name}' batch_size: 4 backend: LMDB }}"
        text = f"layer {{ name: 'd' type: 'Data' top: 'x' top: 'y' {source} }}"
        net = Net(prototxt.parse(text, "NetParameter"), "TEST")
        _, blobs = net.forward(Context(train=False))
        assert blobs["x"].shape == (4, 3, 8, 6) and blobs["y"].tolist() == [3, 0, 7, -2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["root/", "list.txt"], "expected ROOTFOLDER/ LISTFILE DB_NAME, found 2"),
        (["-backend=leveldb", "root/", "list.txt", "db"], "leveldb is read and not written; take lmdb"),
        (["-backend=odd", "root/", "list.txt", "db"], "unknown database backend 'odd'"),
        (["root/", "no.txt", "db"], "no.txt: expected a list of image files"),
        (["root", "list.txt", "db"], "end ROOTFOLDER with '/'"),
        (["root/", "empty.txt", "db"], "expected images that can be read, found an empty list"),
        (["root/", "list.txt", "there"], "there: expected no such file or folder yet"),
        (["-check_size", "root/", "sizes.txt", "db"], "expected a picture of 8 x 6 x 3 .-check_size., found 5 x 5 x 3"),
        (["root/", "large.txt", "db"], "expected labels below 2.31, found 99999999999 in line 1"),
        (["root/", "long.txt", "db"], "could not|keys of 1 to 511 bytes|cannot be read"),
        (["root/", "zero.txt", "db"], "a zero byte in line 1"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(images, capsys, arguments, said):
    (images / "empty.txt").write_text("")
    (images / "there").mkdir()
    cv2.imwrite(str(images / "root" / "five.png"), np.zeros((5, 5, 3), np.uint8))
    (images / "sizes.txt").write_text("a.png 1\nfive.png 1\n")
    (images / "large.txt").write_text("a.png 99999999999\n")
    (images / "long.txt").write_text(f"{'./' * 300}a.png 1\n")
    (images / "zero.txt").write_bytes(b"a\0.png 1\n")
    assert convert(*arguments) == 2
    err = capsys.readouterr().err
    assert re.search(said, err) and "Traceback" not in err
    assert not (images / "db").exists() and not any((images / "there").iterdir())
    assert not [path for path in images.iterdir() if "part" in path.name]


def test_more_than_the_map_first_holds(images, monkeypatch):
    from siamplex.dropin import new_database

    monkeypatch.setattr(new_database, "_ROOM", 1 << 16)
    monkeypatch.setattr(new_database, "_RECORDS", 100)
    (images / "many.txt").write_text("".join(f"a.png {i}\n" for i in range(1500)))
    assert convert("root/", "many.txt", "db") == 0
    assert [decode(value)[1] for _, value in records("db")] == list(range(1500))


# --- compute_image_mean


def test_the_mean_to_the_last_bit(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stream = np.random.default_rng(4)
    samples = [stream.integers(0, 256, (2, 3, 5), dtype=np.uint8) for _ in range(77)]
    write_lmdb(tmp_path / "db", [(s, 0) for s in samples])
    assert main(["caffe", "compute_image_mean", "--backend=lmdb", "db", "mean.binaryproto"]) == 0
    total = np.zeros((2, 3, 5), np.float32)
    for sample in samples:
        total = total + sample.astype(np.float32)
    expected = (total / np.float32(77)).astype("<f4")
    head = b"\x08\x01\x10\x02\x18\x03\x20\x05\x2a" + bytes([120])  # num, channels, height, width, packed data
    assert Path("mean.binaryproto").read_bytes() == head + expected.tobytes()
    np.testing.assert_array_equal(read_mean_file("mean.binaryproto"), expected)
    err = capsys.readouterr().err
    assert "Processed 77 files." in err and "Number of channels: 2" in err
    means = [float(line.rpartition(" ")[2]) for line in err.splitlines() if "mean_value channel" in line]
    np.testing.assert_allclose(means, expected.reshape(2, -1).mean(axis=1), rtol=1e-5)


def test_the_mean_of_floats_and_of_encoded_images(tmp_path, monkeypatch, capsys, images):
    write_lmdb(tmp_path / "floats", [(np.full((1, 2, 2), v, np.float32), 0) for v in (0.25, 0.5)])
    assert main(["caffe", "compute_image_mean", "floats", "m"]) == 0
    np.testing.assert_array_equal(read_mean_file("m"), np.full((1, 2, 2), 0.375, np.float32))
    assert convert("-encoded", "root/", "list.txt", "enc") == 0
    assert main(["caffe", "compute_image_mean", "enc", "m"]) == 0
    assert "Decoding Datum" in capsys.readouterr().err and read_mean_file("m").shape == (3, 8, 6)


def test_a_mean_that_cannot_be(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_lmdb(tmp_path / "db", [(np.zeros((1, 2, 2), np.uint8), 0), (np.zeros((1, 3, 2), np.uint8), 0)])
    with lmdb.open(str(tmp_path / "empty")):
        pass
    write_lmdb(tmp_path / "odd", [(np.zeros((1, 2, 2), np.uint8), 0)])
    with lmdb.open(str(tmp_path / "odd")) as env, env.begin(write=True) as txn:
        txn.put(b"1", b"\xff\xff")
    for arguments, said in (
        (["db", "m"], "db record 1: expected 4 values as in the first, found 6"),
        (["empty", "m"], "a database with records, found none"),
        (["odd", "m"], "odd record 1: expected a Datum"),
        (["no", "m"], "no: expected an LMDB folder"),
        ([], "expected INPUT_DB"),
        (["-backend=x", "db"], "unknown database backend 'x'"),
    ):
        assert main(["caffe", "compute_image_mean", *arguments]) == 2
        assert said in capsys.readouterr().err
    assert not Path("m").exists()


# --- extract_features

NET = """layer {{ name: "d" type: "Data" top: "x" top: "y"
  data_param {{ source: "{source}" batch_size: 3 backend: LMDB }} }}
layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {{ num_output: 2 kernel_size: 3 }} }}
layer {{ name: "r" type: "ReLU" bottom: "c" top: "c" }}
layer {{ name: "f" type: "InnerProduct" bottom: "c" top: "f" inner_product_param {{ num_output: 4 }} }}
layer {{ name: "l" type: "SoftmaxWithLoss" bottom: "f" bottom: "y" top: "l" }}
"""


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, dict[str, list[np.ndarray]]]:
    monkeypatch.chdir(tmp_path)
    stream = np.random.default_rng(6)
    samples = stream.integers(0, 9, (5, 1, 5, 6), dtype=np.uint8)
    write_lmdb(tmp_path / "db", [(s, 1) for s in samples])
    Path("net.prototxt").write_text(NET.format(source="db"))
    arrays = {
        "c": [stream.normal(size=(2, 1, 3, 3)).astype(np.float32), stream.normal(size=2).astype(np.float32)],
        "f": [stream.normal(size=(4, 24)).astype(np.float32), stream.normal(size=4).astype(np.float32)],
    }
    layers = [(messages.LayerParameter(name=name), values) for name, values in arrays.items()]
    write_caffemodel("net.caffemodel", "n", layers)
    return samples.astype(np.float64), arrays


def test_features_as_datums(trained, capsys):
    samples, arrays = trained
    line = "extract_features net.caffemodel net.prototxt c,f,y out_c,out_f,out_y 3 lmdb CPU".split()
    assert main(["caffe", *line]) == 0
    order = [0, 1, 2, 3, 4, 0, 1, 2, 3]  # nine samples of five, round and round
    windows = np.lib.stride_tricks.sliding_window_view(samples[:, 0], (3, 3), axis=(1, 2))
    maps = np.einsum("nhwij,kij->nkhw", windows, arrays["c"][0][:, 0]) + arrays["c"][1][:, None, None]
    maps = maps.clip(min=0)
    for name, expected, shape in (
        ("c", maps, (2, 3, 4)),
        ("f", maps.reshape(5, -1) @ arrays["f"][0].T + arrays["f"][1], (4, 1, 1)),
        ("y", np.ones((5, 1)), (1, 1, 1)),
    ):
        found = records(f"out_{name}")
        assert [key for key, _ in found] == [b"%010d" % i for i in range(9)]
        for (_, value), number in zip(found, order, strict=True):
            datum = messages.Datum.FromString(value)
            assert (datum.channels, datum.height, datum.width) == shape
            assert not datum.HasField("label") and not datum.HasField("encoded") and not datum.HasField("data")
            np.testing.assert_allclose(datum.float_data, expected[number].ravel(), rtol=1e-5, atol=1e-5)
    first = messages.Datum.FromString(records("out_f")[0][1])
    body = b"".join(b"\x35" + struct.pack("<f", v) for v in first.float_data)  # not packed, as the tool's
    assert records("out_f")[0][1] == b"\x08\x04\x10\x01\x18\x01" + body
    err = capsys.readouterr().err
    assert "Extracted features of 9 query images for feature blob f" in err and "Successfully extracted" in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("net.caffemodel net.prototxt c out 3", "expected six arguments or more, found 5"),
        ("net.caffemodel net.prototxt c,f out 3 lmdb", "2 blobs with 1 databases"),
        ("net.caffemodel net.prototxt c,f out,out 3 lmdb", "found one named twice"),
        ("net.caffemodel net.prototxt c out x lmdb", "NUM_MINI_BATCHES: expected a whole number, found 'x'"),
        ("net.caffemodel net.prototxt c out 3 leveldb", "leveldb is read and not written"),
        ("net.caffemodel net.prototxt z out 3 lmdb", "no blob 'z' (there are: x, y, c, f, l)"),
        ("net.caffemodel net.prototxt c db 3 lmdb", "db: expected no such file or folder yet"),
        ("no.caffemodel net.prototxt c out 3 lmdb", "no.caffemodel"),
        ("other.caffemodel net.prototxt c out 3 lmdb", "layer 'f'"),
        ("net.caffemodel net.prototxt c out 3 lmdb GPU x", "DEVICE_ID: expected a whole number, found 'x'"),
    ],
)
def test_features_that_cannot_be(trained, capsys, line, said):
    _, arrays = trained
    write_caffemodel("other.caffemodel", "n", [(messages.LayerParameter(name="c"), arrays["c"])])
    assert main(["caffe", "extract_features", *line.split()]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err and not Path("out").exists()


# --- upgrades

V0 = """input: "x" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "x" top: "p" }
layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 5 blobs_lr: 1. weight_decay: 0.5 }
  bottom: "p" top: "c" }
"""
TODAY = """layer {
  name: "input"
  type: "Input"
  top: "x"
  input_param {
    shape {
      dim: 2
      dim: 3
      dim: 9
      dim: 9
    }
  }
}
layer {
  name: "c"
  type: "Convolution"
  bottom: "x"
  top: "c"
  param {
    lr_mult: 1
    decay_mult: 0.5
  }
  convolution_param {
    num_output: 4
    pad: 2
    kernel_size: 5
  }
}
"""


def lines_of(path: str) -> list[str]:
    """With numbers in one form: protobuf's versions write 1 and 1.0."""
    return [line.replace("1.0", "1") for line in Path(path).read_text().splitlines()]


def test_a_net_is_brought_up_to_date(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("old.prototxt").write_text(V0)
    assert main(["caffe", "upgrade_net_proto_text", "old.prototxt", "new.prototxt"]) == 0
    assert lines_of("new.prototxt") == TODAY.splitlines()
    err = capsys.readouterr().err
    assert "Wrote upgraded NetParameter text proto to new.prototxt" in err and "already" not in err
    assert main(["caffe", "upgrade_net_proto_text", "new.prototxt", "again.prototxt"]) == 0
    assert "File already in latest proto format: new.prototxt" in capsys.readouterr().err
    assert lines_of("again.prototxt") == TODAY.splitlines()
    Path("old.prototxt").write_text(V0.replace('"conv"', '"fft"'))
    assert main(["caffe", "upgrade_net_proto_text", "old.prototxt", "bad.prototxt"]) == 2
    assert "old.prototxt:4: layer 'c': only a conv" in capsys.readouterr().err and not Path("bad.prototxt").exists()


def test_a_caffemodel_is_brought_up_to_date(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net = messages.NetParameter(name="old")
    array = np.arange(6, dtype=np.float32)
    v1 = net.layers.add(name="fc", type=14, bottom=["x"], top=["y"], blobs_lr=[1, 2])
    blob = v1.blobs.add(num=1, channels=1, height=2, width=3)
    blob.data.extend(array.tolist())
    Path("old.caffemodel").write_bytes(net.SerializeToString())
    assert main(["caffe", "upgrade_net_proto_binary", "old.caffemodel", "new.caffemodel"]) == 0
    new = messages.NetParameter.FromString(Path("new.caffemodel").read_bytes())
    assert not new.layers and new.layer[0].type == "InnerProduct" and [p.lr_mult for p in new.layer[0].param] == [1, 2]
    for name in ("old.caffemodel", "new.caffemodel"):
        np.testing.assert_array_equal(read_caffemodel(name)["fc"][0].ravel(), array)
    assert "already" not in capsys.readouterr().err
    assert main(["caffe", "upgrade_net_proto_binary", "new.caffemodel", "again.caffemodel"]) == 0
    assert "already in latest" in capsys.readouterr().err
    assert Path("again.caffemodel").read_bytes() == Path("new.caffemodel").read_bytes()
    Path("cut.caffemodel").write_bytes(Path("old.caffemodel").read_bytes()[:-3])
    Path("text.prototxt").write_text(V0)
    for wrong in ("cut.caffemodel", "text.prototxt", "none"):
        assert main(["caffe", "upgrade_net_proto_binary", wrong, "x"]) == 2
        assert f"{wrong}: expected a" in capsys.readouterr().err and not Path("x").exists()


@pytest.mark.parametrize(
    ("old", "new"), [("SGD", "SGD"), ("NESTEROV", "Nesterov"), ("ADAGRAD", "AdaGrad"), ("RMSPROP", "RMSProp"),
                     ("ADADELTA", "AdaDelta"), ("ADAM", "Adam"), ("5", "Adam")]
)  # fmt: skip
def test_a_solver_is_brought_up_to_date(tmp_path, monkeypatch, capsys, old, new):
    monkeypatch.chdir(tmp_path)
    Path("old.prototxt").write_text(f'net: "n.prototxt"\nbase_lr: 0.01\nsolver_type: {old}\n')
    assert main(["caffe", "upgrade_solver_proto_text", "old.prototxt", "new.prototxt"]) == 0
    p = prototxt.read("new.prototxt", "SolverParameter").message
    assert p.type == new and not p.HasField("solver_type") and p.net == "n.prototxt"
    assert "already" not in capsys.readouterr().err
    Path("old.prototxt").write_text('type: "SGD"\nsolver_type: SGD\nbase_lr: 1\n')
    assert main(["caffe", "upgrade_solver_proto_text", "old.prototxt", "both.prototxt"]) == 2
    assert "old.prototxt:2: give solver_type" in capsys.readouterr().err and not Path("both.prototxt").exists()


def test_help_names_the_tools(capsys):
    with pytest.raises(SystemExit):
        main(["caffe", "-help"])
    out = capsys.readouterr().out
    for tool in ("convert_imageset", "compute_image_mean", "extract_features", "upgrade_net_proto_text"):
        assert tool in out
