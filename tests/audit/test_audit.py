"""An audit reads the truth from the files: each kind of tampering is caught by its own line."""

from __future__ import annotations

import csv
import gc
import json
import re
import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest

from siamplex.audit.audit import audit, differs
from siamplex.audit.finding import DIFFERS, INCONSISTENT, SAME, SILENT, UNCHECKED
from siamplex.cli import main
from siamplex.schema import messages
from siamplex.schema.weights import read_caffemodel, write_caffemodel
from siamplex.weights.alexnet import OTHER, Convolutions
from siamplex.weights.fingerprint import Fingerprint


def look(run: Path, **options):
    return {(f.group, f.setting): f for f in audit(run, **options)}


def edit(path: Path, old: str, new: str, count: int = 0) -> None:
    text = path.read_text()
    assert re.search(old, text)
    path.write_text(re.sub(old, new, text, count=count))


def rewrite(folder: Path, change) -> None:
    """Pass every Datum of an LMDB through ``change(datum)``."""
    gc.collect()  # readers of this folder are gone
    with lmdb.open(str(folder), lock=False) as env:
        with env.begin() as txn:
            rows = [(bytes(k), messages.Datum.FromString(bytes(v))) for k, v in txn.cursor()]
        with env.begin(write=True) as txn:
            for key, datum in rows:
                change(datum)
                txn.put(key, datum.SerializeToString())


def test_an_honest_run(own_run):
    found = look(own_run)
    for setting in (
        ("pairs", "every unordered pair, once"), ("pairs", "labels"), ("pairs", "subjects apart"),
        ("images", "channels"), ("images", "mean subtracted"), ("net of stage 1", "twin towers"),
        ("net of stage 1", "margin"), ("net of stage 1", "loss"), ("net of stage 1", "fc6, the embedding"),
        ("solver of stage 1", "stepsize"), ("solver of stage 1", "rate policy"),
        ("solver of stage 1", "solver, net and pairs are those trained with"),
        ("weights of stage 1", "last snapshot is as written"), ("weights of stage 1", "rates of conv1-3"),
        ("weights of stage 1", "conv1-3 stayed"), ("weights of stage 1", "layers that learned"),
        ("weights of stage 2", "rates of conv1-3"), ("weights of stage 2", "layers that learned"),
        ("weights of stage 2", "starts from"), ("engine", "engine"),
    ):  # fmt: skip
        assert found[setting].verdict == SAME, found[setting]
    for setting in (
        ("corpus", "faces"), ("corpus", "images of each emotion"), ("corpus", "subjects of each split"),
        ("images", "input"), ("starting weights", "conv1-3 start from"), ("net of stage 1", "fc4"),
        ("net of stage 1", "conv1"), ("solver of stage 1", "base learning rate"), ("solver of stage 2", "length"),
        ("weights of stage 1", "snapshots of Figures 3 and 4"),
    ):  # fmt: skip
        assert found[setting].verdict == DIFFERS, found[setting]
    assert "synthetic" in found["corpus", "faces"].run
    assert found["solver of stage 1", "gamma"].verdict == SILENT
    for setting in (
        ("pairs", "number of pairs"), ("solver of stage 1", "epochs or iterations"),
        ("net of stage 2", "depth of conv2's kernels"),
    ):  # fmt: skip
        assert found[setting].verdict == INCONSISTENT and found[setting].why
    assert "C(504, 2)" in found["pairs", "number of pairs"].why


def only_new(before, after):
    """Settings whose verdict became ``differs``."""
    return {key for key, f in after.items() if f.verdict == DIFFERS and before.get(key, f).verdict != DIFFERS}


def test_a_prototxt_changed_after_training(own_run):
    before = look(own_run)
    edit(own_run / "solvers/stage1_indexed.prototxt", "momentum: 0.9", "momentum: 0.8")
    after = look(own_run)
    assert only_new(before, after) == {("solver of stage 1", "solver, net and pairs are those trained with")}
    edit(own_run / "prototxt/train_val_stage2_indexed.prototxt", "dropout_ratio: 0.5", "dropout_ratio: 0.4")
    assert only_new(after, look(own_run)) == {("solver of stage 2", "solver, net and pairs are those trained with")}


def test_a_run_by_real_caffe_has_no_manifests(own_run):
    """The record then says what each stage was trained with."""
    setting = "solver, net and pairs are those trained with"
    for manifest in own_run.glob("stage?/*.json"):
        manifest.unlink()
    found = look(own_run)
    for stage in (1, 2):
        assert found[(f"solver of stage {stage}", setting)].verdict == SAME, found[
            (f"solver of stage {stage}", setting)
        ]
    edit(own_run / "solvers/stage1_indexed.prototxt", "momentum: 0.9", "momentum: 0.8")
    found = look(own_run)
    assert found[("solver of stage 1", setting)].verdict == DIFFERS
    assert "stage1_indexed.prototxt" in found[("solver of stage 1", setting)].run
    assert found[("solver of stage 2", setting)].verdict == SAME
    (own_run / "run.json").unlink()
    assert look(own_run)[("solver of stage 1", setting)].verdict == UNCHECKED


def test_flipped_labels(own_run):
    before = look(own_run)
    rewrite(own_run / "pairs/val_indexed_lmdb", lambda datum: setattr(datum, "label", 1 - datum.label))
    after = look(own_run)
    assert only_new(before, after) == {("pairs", "labels")}
    for split in ("train", "test"):
        rewrite(own_run / f"pairs/{split}_indexed_lmdb", lambda datum: setattr(datum, "label", 1 - datum.label))
    assert "all labels are reversed" in look(own_run)["pairs", "labels"].why


def test_a_label_turned_round_on_its_way_to_the_loss(own_run):
    net = own_run / "prototxt/train_val_stage1_indexed.prototxt"
    edit(net, r'bottom: "sim"', 'bottom: "other"')
    net.write_text(net.read_text() + 'layer { name: "turn" type: "ReLU" bottom: "sim" top: "other" }')
    text = net.read_text()
    turn = text[text.index('layer { name: "turn"') :]
    at = text.index('layer {\n  name: "loss"')
    net.write_text(text[:at] + turn + "\n" + text[at:].replace(turn, ""))
    found = look(own_run)["net of stage 1", "label reaches the loss"]
    assert found.verdict == DIFFERS and found.run == "through turn"


def test_a_subject_in_two_splits(own_run, capsys):
    """By the pairs themselves, whatever split.csv says."""
    index = list(csv.DictReader((own_run / "pairs/index.csv").open()))
    split = dict(list(csv.reader((own_run / "pairs/split.csv").open()))[1:])
    stranger = next(i for i, e in enumerate(index) if split[e["subject"]] == "train")
    done = []

    def smuggle(datum):
        if not done:
            datum.float_data[0] = stranger
            done.append(stranger)

    before = look(own_run)
    rewrite(own_run / "pairs/test_indexed_lmdb", smuggle)
    after = look(own_run)
    assert ("pairs", "subjects apart") in only_new(before, after)
    assert index[stranger]["subject"] in after["pairs", "subjects apart"].run
    with (own_run / "pairs/split.csv").open("a") as handle:
        handle.write(f"{index[stranger]['subject']},test\n")
    assert main(["audit", str(own_run)]) == 2
    assert "in one split" in capsys.readouterr().err


def test_a_pair_twice_and_one_missing(own_run):
    seen = []

    def repeat(datum):
        if seen:
            datum.float_data[:] = seen[0].float_data[:]
            datum.label = seen[0].label
        seen.append(messages.Datum.FromString(datum.SerializeToString()))

    before = look(own_run)
    rewrite(own_run / "pairs/test_indexed_lmdb", lambda d: repeat(d) if len(seen) < 2 else None)
    after = look(own_run)
    assert only_new(before, after) == {("pairs", "every unordered pair, once")}
    assert "1 twice" in after["pairs", "every unordered pair, once"].run


@pytest.mark.parametrize("layer", ["conv1", "conv3_p"])
def test_an_unfrozen_convolution(own_run, layer):
    net = own_run / "prototxt/train_val_stage1_indexed.prototxt"
    edit(net, rf'(name: "{layer}"\n  type: "Convolution"(?:.*\n)*?    lr_mult: )0.0', r"\g<1>1.0", 1)
    found = look(own_run)["weights of stage 1", "rates of conv1-3"]
    assert found.verdict == DIFFERS and layer in found.run


def test_convolutions_that_moved_though_frozen(own_run):
    model = own_run / "stage1/snap_iter_6.caffemodel"
    layers = {name: [np.array(a) for a in arrays] for name, arrays in read_caffemodel(model).items()}
    layers["conv2"][0].flat[0] += 1e-3
    write_caffemodel(model, "net", [(messages.LayerParameter(name=n), a) for n, a in layers.items()])
    found = look(own_run)
    assert found["weights of stage 1", "conv1-3 stayed"].run == "conv2 moved"
    assert found["weights of stage 1", "last snapshot is as written"].verdict == DIFFERS
    assert found["weights of stage 2", "starts from"].verdict == DIFFERS


@pytest.mark.parametrize(
    ("old", "new", "setting"),
    [
        ("margin: 1.0", "margin: 2.0", "margin"),
        ("margin: 1.0", "margin: 1.0 legacy_version: true", "loss"),
        (r'name: "conv2_w"', 'name: "another"', "twin towers"),
        (r'type: "xavier"', 'type: "gaussian"', "new layers start from"),
        (r"stride: 4", "stride: 3", "conv1"),
        (r'bottom: "conv3"\n  top: "conv3"', 'bottom: "conv3" bottom: "x" top: "conv3"', "activation of conv3"),
    ],
)
def test_a_net_that_is_not_the_papers(own_run, old, new, setting):
    net = own_run / "prototxt/train_val_stage1_indexed.prototxt"
    if setting == "activation of conv3":
        edit(net, r'layer \{\n  name: "relu_conv3(_p)?"(?:.*\n)*?\}\n', "")
    else:
        edit(net, old, new, 1 if setting == "twin towers" else 0)
    found = look(own_run)["net of stage 1", setting]
    assert found.verdict == DIFFERS, found


def test_the_table_with_channels_in_another_order(own_run):
    before = look(own_run)
    change_table(own_run, lambda rows: rows[:, ::-1])
    after = look(own_run)
    assert after["images", "channels"].run == "R, G, B"
    assert only_new(before, after) >= {("images", "channels")}


def change_table(run: Path, change) -> None:
    path = run / "pairs/images.caffemodel"
    (table,) = read_caffemodel(path)["images"]
    rows = np.array(change(np.array(table).reshape(len(table), 3, 35, 35)), np.float32)
    head = messages.LayerParameter(name="images", type="Embed")
    write_caffemodel(path, "images", [(head, [rows.reshape(len(rows), -1)])])


def test_another_mean_and_other_pixels(own_run):
    change_table(own_run, lambda rows: rows + np.array([104, 117, 123])[:, None, None] / 256)
    found = look(own_run)["images", "mean subtracted"]
    assert found.verdict == DIFFERS and found.run in ("0, 0, 0", "-0, -0, -0")
    change_table(own_run, lambda rows: rows[::-1])
    assert look(own_run)["images", "channels"].verdict == DIFFERS


def test_a_mean_is_seen_without_the_image_files(own_run):
    index = own_run / "pairs/index.csv"
    index.write_text(index.read_text().replace("/corpus/", "/elsewhere/"))
    found = look(own_run)
    assert found["images", "channels"].verdict == UNCHECKED
    assert found["images", "mean subtracted"].verdict == SAME
    change_table(own_run, lambda rows: rows + np.array([104, 117, 123])[:, None, None] / 256)
    assert look(own_run)["images", "mean subtracted"].verdict == DIFFERS


def test_the_scale_is_read_off_the_pixels(own_run):
    """Whatever pairs.json says: a table of 0..255 less the mean at the paper's rate is named impossible."""
    solver = own_run / "solvers/stage1_indexed.prototxt"
    found = look(own_run)["images", "input scale"]
    assert found.verdict == SILENT and found.run == "0.00390625 (1/256)"
    assert "cannot have been its input" in found.why and not found.why.startswith("cannot")
    change_table(own_run, lambda rows: rows * 256)
    found = look(own_run)
    assert found["images", "input scale"].run == "1" and found["images", "mean subtracted"].verdict == SAME
    assert found["images", "input scale"].why.startswith("cannot have been the paper's at this rate")
    for stage in (1, 2):
        solver = own_run / f"solvers/stage{stage}_indexed.prototxt"
        solver.write_text(solver.read_text().replace("base_lr: 0.001", "base_lr: 0.00001"))
    assert not look(own_run)["images", "input scale"].why.startswith("cannot")


def test_without_the_image_files_the_scale_is_held_against_what_is_declared(own_run):
    index = own_run / "pairs/index.csv"
    index.write_text(index.read_text().replace("/corpus/", "/elsewhere/"))
    assert look(own_run)["images", "input scale"].run == "0.00390625 (1/256)"
    change_table(own_run, lambda rows: rows * 2)
    assert look(own_run)["images", "input scale"].verdict == DIFFERS


def test_rates_of_the_new_layers_are_told(own_run):
    found = look(own_run)["net of stage 1", "rates of the new layers"]
    assert found.verdict == SILENT and found.run == "weights x 1, biases x 2"
    edit(own_run / "prototxt/train_val_stage1_indexed.prototxt", "lr_mult: 1.0", "lr_mult: 10.0", 0)
    assert look(own_run)["net of stage 1", "rates of the new layers"].run == "weights x 10, biases x 2"


def test_stacked_pairs(own_run, small_run):
    """Told by their pixels; stage folders are those of the indexed run, of no matter here."""
    shutil.rmtree(own_run / "pairs")
    shutil.copytree(small_run / "stacked", own_run / "pairs")
    index = (own_run / "pairs/index.csv").read_text()
    faces = next((small_run / "stacked").glob("index.csv"))
    rows = list(csv.DictReader(faces.open()))
    absolute = {r["path"]: str((faces.parent / r["path"]).resolve()) for r in rows}
    for old, new in absolute.items():
        index = index.replace(old, new)
    (own_run / "pairs/index.csv").write_text(index)
    for stage in (1, 2):
        shutil.rmtree(own_run / f"stage{stage}")
    found = look(own_run)
    assert found["pairs", "labels"].verdict == found["pairs", "every unordered pair, once"].verdict == SAME
    assert found["images", "channels"].verdict == SAME
    assert found["stage 1", "trained"].verdict == found["stage 2", "trained"].verdict == DIFFERS

    def exchange(datum):
        values = np.frombuffer(datum.data, np.uint8).reshape(6, 35, 35)
        datum.data = np.concatenate([values[2::-1], values[:2:-1]]).tobytes()

    rewrite(own_run / "pairs/train_stacked_lmdb", exchange)
    found = look(own_run)
    assert found["images", "channels"].run == "R, G, B"
    rewrite(own_run / "pairs/val_stacked_lmdb", lambda datum: setattr(datum, "label", 1 - datum.label))
    assert look(own_run)["pairs", "labels"].verdict == DIFFERS


def test_alexnet_is_compared_array_by_array(own_run, monkeypatch):
    started = {
        n: [np.array(a) for a in arrays] for n, arrays in read_caffemodel(own_run / "weights/init.caffemodel").items()
    }
    given = Convolutions(started, "published", "AlexNet's file")
    monkeypatch.setattr("siamplex.weights.alexnet.load", lambda path, accept_other: given)
    setting = ("starting weights", "conv1-3 start from")
    assert look(own_run, alexnet=Path("file"))[setting].verdict == SAME
    started["conv3"][1][0] = 7
    assert look(own_run, alexnet=Path("file"))[setting].run == "other values in conv3"
    monkeypatch.setattr(
        "siamplex.weights.alexnet.load", lambda path, accept_other: Convolutions(started, "other", "others")
    )
    found = look(own_run, alexnet=Path("file"))[setting]
    assert found.verdict == DIFFERS and "file is not AlexNet's" in found.why


def test_alexnet_is_known_by_its_fingerprint_without_a_file(own_run, monkeypatch):
    setting = ("starting weights", "conv1-3 start from")
    assert look(own_run)[setting].run == "a substitute"
    known = Fingerprint("BGR", {"conv1": "in full", "conv2": "multiples of 1/128"})
    monkeypatch.setattr("siamplex.audit.weight_checks._recognised", lambda layers: known)
    found = look(own_run)[setting]
    assert found.verdict == SAME and "by fingerprint (conv1 in full, conv2 multiples of 1/128)" in found.run
    monkeypatch.undo()
    note = own_run / "weights/init.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"note": f"{OTHER} (SHA-256 00)"}))
    assert look(own_run)[setting].run == "other weights"


def test_the_command_prints_and_writes_and_tells_by_its_exit_code(own_run, capsys):
    assert main(["audit", "run"]) == 1
    text = capsys.readouterr().out
    assert "differs" in text and "paper silent" in text and "NET OF STAGE 2" in text
    content = json.loads((own_run / "audit/audit.json").read_text())
    assert content["counts"]["differs"] == sum(f["verdict"] == "differs" for f in content["findings"])
    page = (own_run / "audit/audit.html").read_text()
    assert page.startswith("<!doctype html>") and "http" not in page
    assert (own_run / "audit/audit.txt").read_text().strip().endswith(text.strip().splitlines()[-1])


def test_no_run_is_an_error(tmp_path, capsys):
    assert main(["audit", str(tmp_path / "nowhere")]) == 2
    assert main(["audit", str(tmp_path)]) == 2
    assert "pairs.json" in capsys.readouterr().err


def test_exit_zero_needs_every_stated_setting(own_run):
    findings = audit(own_run)
    assert differs(findings)
    assert not differs([f for f in findings if f.verdict != DIFFERS])


def test_a_layer_that_no_file_filled(own_run):
    """Stage 1 trained on blank pictures, as --allow-unfilled would let it."""
    setting = ("weights of stage 1", "frozen layers filled from weights files")
    before = look(own_run)
    assert before[setting].verdict == SAME and before[setting].why == "images, conv1, conv2, conv3"
    manifest = own_run / "stage1/snap_iter_6.json"
    content = json.loads(manifest.read_text())
    content["weights"] = [w for w in content["weights"] if "images" not in w["path"]]
    manifest.write_text(json.dumps(content))
    after = look(own_run)
    assert after[setting].verdict == DIFFERS and after[setting].run == "all but images (constant 0)"
    assert "every face blank" in after[setting].why
    assert setting in only_new(before, after)
    (own_run / "weights/init.caffemodel").unlink()
    assert look(own_run)[setting].verdict == UNCHECKED
    assert "init.caffemodel is not there" in look(own_run)[setting].why


def test_a_layer_that_no_file_filled_in_a_run_by_real_caffe(own_run):
    """Without manifests the record tells, and without a record a snapshot's zeros do."""
    setting = ("weights of stage 2", "frozen layers filled from weights files")
    for manifest in own_run.glob("stage?/*.json"):
        manifest.unlink()
    assert look(own_run)[setting].verdict == SAME
    record = own_run / "run.json"
    content = json.loads(record.read_text())
    for step in content["steps"]:
        step["options"].pop("weights", None)
    record.write_text(json.dumps(content))
    assert look(own_run)[setting].verdict == UNCHECKED
    path = own_run / "stage2/snap_iter_6.caffemodel"
    held = {name: [np.array(a) for a in arrays] for name, arrays in read_caffemodel(path).items()}
    held["images"][0][:] = 0
    write_caffemodel(path, "blank", [(messages.LayerParameter(name=n), a) for n, a in held.items()])
    assert look(own_run)[setting].verdict == DIFFERS
