"""The wrong file for the job, by the commands: one line says what it is and what to give instead."""

from __future__ import annotations

import gzip
import re
import shutil

import pytest

from siamplex.cli import main

WEIGHTS = "run/weights/init.caffemodel,run/pairs/images.caffemodel"
TRAIN = "train --solver run/solvers/stage1_indexed.prototxt --overwrite"
EXTRACT = "extract --pairs run/pairs --out f.npz"
MODEL, STATE = "run/stage2/snap_iter_6.caffemodel", "run/stage2/snap_iter_6.solverstate"
DEPLOY, NET = "run/prototxt/deploy.prototxt", "run/prototxt/train_val_stage1_indexed.prototxt"


def refused(command, capsys):
    assert main(command.split()) == 2, command
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (f"{TRAIN} --snapshot {MODEL}", f"found a caffemodel; --weights starts from it, --snapshot {STATE} goes on"),
        (f"{TRAIN} --snapshot run/stage2/snap_iter_6.json", f"found a snapshot's manifest; give {STATE}"),
        (f"{TRAIN} --snapshot {NET}", "expected a whole solverstate, found a train_val prototxt"),
        (f"{TRAIN} --snapshot run", "found the folder of a run; run/stage2/snap_iter_6.solverstate is one in it"),
        (f"{TRAIN} --weights {STATE}", f"found a solverstate; --snapshot goes on from it, its weights are {MODEL}"),
        (f"{TRAIN} --weights run/pairs", "found a pair store"),
        (f"{TRAIN} --weights run/features/stage2.npz", "found an embedding (siamplex extract)"),
        (f"{TRAIN} --weights run/pairs/train_indexed_lmdb", "found an LMDB"),
        (f"{TRAIN} --weights {DEPLOY}", "found a deploy prototxt"),
        (f"{TRAIN} --weights missing.caffemodel", "nothing there"),
        (f"train --solver {NET}", "expected a solver prototxt, found a train_val prototxt (a net with data layers); "
                                  "give the solver that names it as its net"),
        (f"train --solver {DEPLOY}", "found a deploy prototxt (a net with an input); a solver names its train_val net"),
        (f"train --solver {MODEL}", "expected a prototxt (text), found a caffemodel"),
        ("train --solver run/run.json", "found a run record (run.json)"),
        ("train --solver run", "found the folder of a run; run/solvers/"),
        (f"{EXTRACT} --weights {MODEL} --deploy run/solvers/stage1_indexed.prototxt", "found a solver prototxt"),
        (f"{EXTRACT} --weights {MODEL} --deploy {NET}", "found a train_val net, with the data layer 'pair_data'"),
        (f"{EXTRACT} --weights {STATE} --deploy {DEPLOY}", "found a solverstate"),
        (f"{EXTRACT} --weights {MODEL} --deploy {MODEL}", "expected a prototxt (text), found a caffemodel"),
        (f"extract --weights {MODEL} --deploy {DEPLOY} --pairs run --out f.npz", "its pair store is run/pairs"),
        (f"extract --weights {MODEL} --deploy {DEPLOY} --pairs run/features/stage2.npz --out f.npz",
         "expected a pair store (siamplex pairs), found an embedding"),
        (f"extract --weights {MODEL} --deploy {DEPLOY} --pairs run/pairs/train_indexed_lmdb --out f.npz",
         "found an LMDB; the pair store is the folder around it"),
        (f"geometry {MODEL}", "found a caffemodel; siamplex extract makes an embedding with it"),
        ("geometry run", "found the folder of a run; run/features/stage2.npz is one in it"),
        ("audit run/pairs", "found a pair store; the run's folder is run"),
        (f"audit {MODEL}", "expected the folder of a run, found a caffemodel"),
        ("report run/pairs", "found a pair store; the run's folder is run"),
        (f"seeds {MODEL}", "expected the folder of a run, found a caffemodel"),
        ("figures --losses run/features/stage2.npz --out f", "found an embedding"),
        (f"figures --losses {MODEL} --out f", "expected a losses.csv, found a caffemodel"),
        ("figures --losses run/stage1 --out f", "expected a losses.csv, found a folder"),
        (f"mds {MODEL} --out m", "found a caffemodel"),
        (f"pairs --index {NET} --out p", "found a train_val prototxt"),
        (f"index {MODEL} --out i.csv", "found a caffemodel"),
        (f"weights --deploy {NET} --out i.caffemodel --pairs run/pairs", "found a train_val net"),
        (f"weights --deploy {DEPLOY} --out i.caffemodel --alexnet {STATE}", "found a solverstate"),
        (f"caffe test -model={DEPLOY} -weights={MODEL}", "found a deploy net: nothing feeds its input 'data'"),
        (f"caffe train -solver=run/solvers/stage1_indexed.prototxt -snapshot={MODEL}", "found a caffemodel"),
        ("caffe time -model=run/solvers/stage1_indexed.prototxt", "expected a net prototxt, found a solver prototxt"),
    ],
)  # fmt: skip
def test_what_it_is_and_what_to_give(own_run, capsys, command, found):
    said = refused(command, capsys)
    assert found in said, said


CONTENTS = {
    "an empty file": b"",
    "a Git LFS pointer, which only names the file": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
    "a page of HTML or XML": b"<!doctype html>\n<title>404</title>\n",
    "a gzip archive (unpack it)": gzip.compress(b"weights"),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + b"\0" * 99,
    "a JPEG image": b"\xff\xd8\xff\xe0" + b"\0" * 99,
}


@pytest.mark.parametrize("found", CONTENTS)
def test_what_came_in_place_of_a_file(own_run, capsys, found):
    """A download that failed, an archive, another format: as weights, as snapshot, as prototxt, as embedding."""
    (own_run.parent / "given").write_bytes(CONTENTS[found])
    for command in (
        f"{TRAIN} --weights given", f"{TRAIN} --snapshot given", "train --solver given", "geometry given",
        f"weights --deploy {DEPLOY} --out i.caffemodel --alexnet given", f"{EXTRACT} --weights given --deploy {DEPLOY}",
    ):  # fmt: skip
        said = refused(command, capsys)
        assert f"found {found}" in said, (command, said)


def test_a_deploy_net_named_as_the_solvers_net(own_run, capsys):
    solver = own_run / "solvers/stage1_indexed.prototxt"
    solver.write_text(re.sub(r'net: "[^"]*"', f'net: "{DEPLOY}"', solver.read_text(), count=1))
    said = refused(TRAIN, capsys)
    assert "expected a train_val net" in said and "nothing feeds its input 'data'" in said


def test_a_missing_database_is_named_with_line_and_layer(own_run, capsys):
    shutil.rmtree(own_run / "pairs/train_indexed_lmdb")
    said = refused(f"{TRAIN} --weights {WEIGHTS}", capsys)
    named = re.search(rf"error: {NET}:(\d+): layer 'pair_data' \(Data\): source '(\S+)': expected an LMDB folder", said)
    assert named and "nothing there, neither in" in said
    assert named.group(2) in (own_run.parent / NET).read_text().splitlines()[int(named.group(1)) - 1]


def test_a_backend_left_out_is_caffes_default(own_run, capsys):
    net = own_run.parent / NET
    net.write_text(net.read_text().replace("    backend: LMDB\n", ""))
    said = refused(f"{TRAIN} --weights {WEIGHTS}", capsys)
    assert "found an LMDB; backend is left out, which is LEVELDB to Caffe: backend: LMDB reads it" in said
    net.write_text(net.read_text().replace("    batch_size", "    backend: LEVELDB\n    batch_size"))
    assert "found an LMDB; backend: LMDB reads it" in refused(f"{TRAIN} --weights {WEIGHTS}", capsys)


def test_paths_relative_to_another_folder(own_run, capsys, monkeypatch):
    """A solver written for another working folder: where it was looked for, and where to run it."""
    monkeypatch.chdir(own_run / "features")
    said = refused("train --solver ../solvers/stage1_indexed.prototxt", capsys)
    assert re.search(r"stage1_indexed\.prototxt:\d+: net '\S+': expected a net prototxt, found nothing there", said)
    assert f"is there: run the command in {own_run.parent.resolve()}" in said


def test_a_loss_that_explodes_is_said_so(own_run, capsys):
    solver = own_run / "solvers/stage2_indexed.prototxt"
    solver.write_text(re.sub(r"base_lr: \S+", "base_lr: 3000", solver.read_text()))
    start = "--weights run/stage1/snap_iter_6.caffemodel,run/pairs/images.caffemodel --force-start --overwrite"
    said = refused(f"train --solver run/solvers/stage2_indexed.prototxt {start}", capsys)
    assert re.search(r"the loss exploded: \S+e\+\d+, \S+ at first, at iteration \d+ \(", said) or "nan" in said
