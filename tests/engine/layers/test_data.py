"""Data, its source and its transform."""

from __future__ import annotations

import cv2
import lmdb
import numpy as np
import pytest
import torch

from siamplex.engine.net.data_source import DataSource
from siamplex.engine.net.layer import Context
from siamplex.errors import InputError, PrototxtError
from siamplex.schema import messages
from tests.engine.conftest import make_layer, write_lmdb


def layer_of(folder, settings="backend: LMDB", more=""):
    return make_layer(
        f"type: 'Data' top: 'x' top: 'y' data_param {{ source: '{folder}' batch_size: 3 {settings} }} {more}"
    )


@pytest.fixture
def rgb(tmp_path):
    stream = np.random.default_rng(0)
    samples = [(stream.integers(0, 256, (3, 5, 4), dtype=np.uint8), i) for i in range(5)]
    return write_lmdb(tmp_path / "rgb", samples), np.stack([s for s, _ in samples]).astype(np.float32)


def test_reads_in_order_and_wraps_round(rgb):
    folder, images = rgb
    layer = layer_of(folder)
    assert layer.setup([]) == [(3, 3, 5, 4), (3,)]
    first = layer.forward([], [], Context(train=True))
    second = layer.forward([], [], Context(train=True))
    np.testing.assert_array_equal(first[0].numpy(), images[:3])
    assert second[1].tolist() == [3, 4, 0]
    np.testing.assert_array_equal(second[0].numpy(), images[[3, 4, 0]])
    assert layer.source.position == 1


def test_seek_goes_on_from_there(rgb):
    folder, _ = rgb
    source = DataSource(folder)
    source.seek(4)
    assert source.batch(3)[1].tolist() == [4, 0, 1]
    source.seek(12)
    assert source.batch(1)[1].tolist() == [2]


def test_reading_ahead_changes_nothing(rgb, monkeypatch):
    """Order, position, seeking and other batch sizes are those of reading when asked."""
    folder, _ = rgb
    plain, ahead = DataSource(folder), DataSource(folder)
    steps = [("batch", 2), ("batch", 2), ("batch", 4), ("seek", 3), ("batch", 1), ("seek", 0), ("batch", 7)]

    def run(source):
        for what, number in steps:
            if what == "seek":
                source.seek(number)
            else:
                values, labels = source.batch(number)
                yield values.tobytes(), labels.tolist(), source.position

    expected = list(run(plain))
    monkeypatch.setattr("siamplex.engine.net.data_source._AHEAD", 0)
    assert list(run(ahead)) == expected
    assert ahead._ahead and not plain._ahead


def test_a_broken_record_read_ahead_is_named_when_its_batch_is_due(tmp_path, monkeypatch):
    monkeypatch.setattr("siamplex.engine.net.data_source._AHEAD", 0)
    folder = write_lmdb(tmp_path / "odd", [(np.zeros((1, 2, 2), np.uint8), 0)] * 3)
    with lmdb.open(str(folder)) as env, env.begin(write=True) as txn:
        txn.put(b"%08d" % 3, b"no datum")
    source = DataSource(folder)
    source.batch(2)
    with pytest.raises(InputError, match="record 3"):
        source.batch(2)


def test_two_readers_of_one_lmdb(rgb):
    folder, _ = rgb
    a, b = DataSource(folder), DataSource(folder)
    assert a.batch(2)[1].tolist() == b.batch(2)[1].tolist()


def test_mean_and_scale(rgb):
    folder, images = rgb
    layer = layer_of(folder, more="transform_param { scale: 0.5 mean_value: 1 mean_value: 2 mean_value: 3 }")
    layer.setup([])
    (x, _) = layer.forward([], [], Context(train=True))
    np.testing.assert_allclose(x.numpy(), (images[:3] - np.array([1, 2, 3])[:, None, None]) * 0.5)
    part = layer.transform.apply_part(images[:3, 1:].astype(np.uint8), (1, 3))
    np.testing.assert_array_equal(part, x.numpy()[:, 1:])
    assert layer.transform.part_signature((0, 1)) != layer.transform.part_signature((1, 2))


def test_crops_at_random_in_training_and_centrally_in_test(rgb):
    folder, images = rgb
    layer = layer_of(folder, more="transform_param { crop_size: 3 mirror: true }")
    assert layer.setup([])[0] == (3, 3, 3, 3)
    assert layer.transform.is_random
    windows = {
        images[0, :, r : r + 3, c : c + 3][:, :, ::step].tobytes()
        for r in range(3)
        for c in range(2)
        for step in (1, -1)
    }
    seen = set()
    for iteration in range(30):
        layer.source.seek(0)
        (x, _) = layer.forward([], [], Context(train=True, iteration=iteration))
        seen.add(x.numpy()[0].tobytes())
    assert seen <= windows and len(seen) > 6
    layer.source.seek(0)
    (x, _) = layer.forward([], [], Context(train=False))
    centre = images[0, :, 1:4, 0:3]
    assert np.array_equal(x.numpy()[0], centre) or np.array_equal(x.numpy()[0], centre[:, :, ::-1])


def test_float_records(tmp_path):
    folder = write_lmdb(tmp_path / "floats", [(np.array([[[1.5]], [[7.0]]], np.float32), 1)])
    (x, y) = (layer := layer_of(folder)).setup([]) and layer.forward([], [], Context(train=True))
    assert x.dtype == torch.float32
    assert x.numpy()[0].ravel().tolist() == [1.5, 7.0] and y.tolist() == [1, 1, 1]


def encoded(path, *pictures, suffix=".png"):
    data = [cv2.imencode(suffix, picture)[1].tobytes() for picture in pictures]
    records = [messages.Datum(data=d, encoded=True, label=1).SerializeToString() for d in data]
    with lmdb.open(str(path)) as env, env.begin(write=True) as txn:
        for number, record in enumerate(records):
            txn.put(b"%08d" % number, record)
    return path


GREY = np.arange(20, dtype=np.uint8).reshape(5, 4)
COLOURS = np.stack([GREY, GREY + 50, GREY + 100], axis=2)
CLEAR = np.dstack([COLOURS, GREY + 7])


@pytest.mark.parametrize(
    ("picture", "forced", "expected"),
    [
        (GREY, "", GREY[None]),
        (COLOURS, "", COLOURS.transpose(2, 0, 1)),
        (CLEAR, "", CLEAR.transpose(2, 0, 1)),
        (GREY, "force_color: true", np.stack([GREY] * 3)),
        (CLEAR, "force_color: true", COLOURS.transpose(2, 0, 1)),
        (GREY, "force_gray: true", GREY[None]),
        (COLOURS, "force_gray: true", cv2.cvtColor(COLOURS, cv2.COLOR_BGR2GRAY)[None]),
    ],
)
def test_encoded_samples_have_the_channels_caffe_gives_them(tmp_path, picture, forced, expected):
    """Caffe's DataTransformer: imdecode with flag -1, or what force_color and force_gray ask for."""
    layer = layer_of(encoded(tmp_path / "l", picture, picture, picture), more=f"transform_param {{ {forced} }}")
    assert layer.setup([])[0] == (3, *expected.shape)
    x, _ = layer.forward([], [], Context(train=True))
    np.testing.assert_allclose(x.numpy()[2], expected, atol="gray" in forced)


def test_encoded_samples_are_refused_where_caffe_would(tmp_path):
    both = "transform_param { force_color: true force_gray: true }"
    with pytest.raises(PrototxtError, match="force_color and force_gray at once"):
        layer_of(encoded(tmp_path / "a", COLOURS), more=both).setup([])
    with pytest.raises(PrototxtError, match="found an encoded image of 8 bits a channel, found uint16"):
        layer_of(encoded(tmp_path / "b", COLOURS.astype(np.uint16))).setup([])
    with pytest.raises(InputError, match=r"record 1: expected 3 channels, as the first record has, found 1"):
        layer = layer_of(encoded(tmp_path / "c", COLOURS, GREY))
        layer.setup([])
        layer.forward([], [], Context(train=True))


def test_plain_samples_pass_over_what_is_for_encoded_ones(rgb, capsys):
    folder, images = rgb
    layer = layer_of(folder, more="transform_param { force_color: true force_gray: true }")
    layer.setup([])
    x, _ = layer.forward([], [], Context(train=True))
    np.testing.assert_array_equal(x.numpy(), images[:3])
    assert "force_color and force_gray are for encoded samples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "more", "message"),
    [
        ("backend: LMDB", "transform_param { crop_size: 9 }", "crop_size 9 of 5x4 samples"),
        ("backend: LMDB", "transform_param { mean_value: 1 mean_value: 2 }", "2 mean values for 3 channels"),
    ],
)
def test_refuses(rgb, settings, more, message):
    with pytest.raises(PrototxtError, match=message):
        layer_of(rgb[0], settings, more).setup([])


def test_missing_and_truncated_lmdbs(rgb, tmp_path):
    with pytest.raises(InputError, match="an LMDB folder, found nothing there"):
        DataSource(tmp_path / "nowhere")
    data = (rgb[0] / "data.mdb").read_bytes()
    broken = tmp_path / "broken"
    broken.mkdir()
    for size in (0, 100, 5000, len(data) // 2):
        (broken / "data.mdb").write_bytes(data[:size])
        with pytest.raises(InputError, match="LMDB"):
            DataSource(broken)


def test_a_record_of_another_shape(tmp_path):
    folder = write_lmdb(tmp_path / "odd", [(np.zeros((1, 2, 2), np.uint8), 0), (np.zeros((1, 3, 2), np.uint8), 0)])
    with pytest.raises(InputError, match=r"record 1: expected shape \(1, 2, 2\), as record 0 has, found \(1, 3, 2\)"):
        DataSource(folder).uniform_batch(2)
    with pytest.raises(InputError, match=r"record 1: expected shape"):
        DataSource(folder).at(1, 1)
    source = DataSource(folder)
    values, labels = source.batch(3)
    assert source.mixed and [one.shape for one in values] == [(1, 2, 2), (1, 3, 2), (1, 2, 2)] and len(labels) == 3


def mixed(path, *sizes, dtype=np.uint8):
    """An LMDB of samples of these sizes, and they."""
    stream = np.random.default_rng(1)
    samples = [stream.integers(0, 256, (3, *size)).astype(dtype) for size in sizes]
    return write_lmdb(path, [(sample, i) for i, sample in enumerate(samples)]), samples


def test_samples_of_several_sizes_are_cropped_to_one(tmp_path):
    folder, samples = mixed(tmp_path / "l", (9, 12), (14, 11), (8, 8), (21, 9))
    layer = layer_of(folder, more="transform_param { crop_size: 8 mean_value: 9 }")
    assert layer.setup([]) == [(3, 3, 8, 8), (3,)] and not layer.sizes_vary and not layer.uniform
    x, y = layer.forward([], [], Context(train=False))
    assert y.tolist() == [0, 1, 2]
    for found, sample in zip(x.numpy(), samples, strict=False):
        top, left = (sample.shape[1] - 8) // 2, (sample.shape[2] - 8) // 2
        np.testing.assert_array_equal(found, sample[:, top : top + 8, left : left + 8].astype(np.float32) - 9)
    layer.spec.message.transform_param.crop_size = 9
    layer.setup([])
    with pytest.raises(InputError, match=r"record 2: expected at least 9x9 pixels, crop_size, found 8x8"):
        layer.forward([], [], Context(train=True))


def test_samples_of_other_sizes_than_the_first_records(tmp_path):
    folder, samples = mixed(tmp_path / "l", *[(9, 12)] * 33, (8, 8), (8, 8), (8, 8))
    layer = layer_of(folder)
    layer.setup([])
    layer.source.seek(33)
    said = r"record 33: expected 9x12 pixels \(height x width\), as all the first records have, found 8x8"
    with pytest.raises(InputError, match=said):
        layer.forward([], [], Context(train=True))
    cropped = layer_of(folder, more="transform_param { crop_size: 8 }")
    cropped.setup([])
    cropped.source.seek(32)
    x, _ = cropped.forward([], [], Context(train=False))
    np.testing.assert_array_equal(x.numpy()[1], samples[33])


def test_samples_of_several_sizes_have_that_of_the_mean(tmp_path):
    folder, _ = mixed(tmp_path / "l", (9, 12), (8, 8), (9, 12))
    mean = messages.BlobProto(data=[1.0] * 324, num=1, channels=3, height=9, width=12)
    (tmp_path / "mean.binaryproto").write_bytes(mean.SerializeToString())
    layer = layer_of(folder, more=f"transform_param {{ mean_file: '{tmp_path}/mean.binaryproto' }}")
    layer.setup([])
    with pytest.raises(InputError, match=r"record 1: expected 9x12 pixels .*, as its mean_file has, found 8x8"):
        layer.forward([], [], Context(train=True))


def test_a_record_that_is_no_datum(tmp_path):
    import lmdb

    with lmdb.open(str(tmp_path / "junk")) as env, env.begin(write=True) as txn:
        txn.put(b"0", b"\xff\xff\xff\xff")
    with pytest.raises(InputError, match="expected a Datum"):
        DataSource(tmp_path / "junk")
