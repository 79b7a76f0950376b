"""Whatever can be known is refused before the first long step: one line a fault, exit code 2, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from siamplex.cli import main
from siamplex.plan.settings import DEFAULTS

SMALL = [*"ACTORS=6 SIZE=40 WIDTH=0.1 BATCH=16 STAGE2_BATCH=16 ITERATIONS=40 SNAPSHOT=20".split(), "SHOWN=20 40"]
EMOTIONS = ("AN", "DI", "FE", "HA", "SA", "SP")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """No test looks at weights or binaries that this machine happens to have."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("CAFFE_BIN", raising=False)


def refused(capsys, *words: str) -> list[str]:
    """What is refused; the command must say so by its exit code, and leave nothing behind."""
    before = sorted(Path().rglob("*"))
    code = main(["plan", "--check", *words])
    said = capsys.readouterr()
    lines = [line.removeprefix("siamplex: error: ") for line in said.err.splitlines()]
    assert code == (2 if lines else 0) and not said.out
    assert sorted(Path().rglob("*")) == before
    return lines


def people(path: Path, names=EMOTIONS, zero: bool = False) -> Path:
    rows = [",".join(["", *names])]
    for i, name in enumerate(names):
        rows.append(",".join([name, *("0" if zero else f"{abs(i - j)}" for j in range(len(names)))]))
    path.write_text("\n".join(rows) + "\n")
    return path


def test_nothing_is_said_where_nothing_is_wrong(capsys, faces, tmp_path):
    assert refused(capsys, "report", *SMALL) == []
    assert refused(capsys) == []  # the paper's size, the default target
    matrix = people(tmp_path / "people.csv")
    own = [f"FACES={faces}", "PAIRS_FLAGS=--fractions 0.6 0.2 0.2", f"HUMAN={matrix}"]
    assert refused(capsys, "report", "seeds", *SMALL, *own) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ITERATIONS=many", "ITERATIONS: expected a whole number, found 'many'"),
        ("ITERATIONS=0", "ITERATIONS: expected at least 1, found 0"),
        ("ITERATIONS=99999999999", "ITERATIONS: expected at most 2147483647"),
        ("STAGE2_ITERATIONS=1e3", "STAGE2_ITERATIONS: expected a whole number, found '1e3'"),
        ("BATCH=1.5", "BATCH: expected a whole number"),
        ("STAGE2_BATCH=0", "STAGE2_BATCH: expected 1 to"),
        ("BASE_LR=nan", "BASE_LR: expected more than 0, found nan"),
        ("STAGE2_BASE_LR=fast", "STAGE2_BASE_LR: expected a number, found 'fast'"),
        ("SNAPSHOT=-1", "SNAPSHOT: expected at least 0, found -1"),
        ("TEST_INTERVAL=0", "TEST_INTERVAL: expected at least 1, found 0"),
        ("SIZE=32", "SIZE: expected at least 35 pixels, found 32"),
        ("SIZE=5000", "SIZE: expected 8 to 4096 pixels, found 5000"),
        ("SCALE=0", "SCALE: expected a factor above 0"),
        ("WIDTH=0", "WIDTH: expected a factor up to 8, found 0"),
        ("SEED=-1", "SEED: expected 0 or more"),
        ("ACTORS=0", "ACTORS: expected 1 to 99, found 0"),
        ("ACTORS=1", "ACTORS: 1 subjects do not fill splits"),
        ("LAYOUT=piled", "LAYOUT: expected one of indexed, stacked, found piled"),
        ("ENGINE=coffee", "ENGINE: expected one of torch, caffe, found coffee"),
        ("ENGINE=caffe", "ENGINE: caffe: expected the caffe binary"),
        ("DEVICE=tpu", "DEVICE: expected cpu, cuda or cuda:N, found 'tpu'"),
        ("DEVICE=cuda:0,1", "DEVICE: expected cpu, cuda or cuda:N, found 'cuda:0,1'"),
        ("PROCESSES=0", "PROCESSES: expected a number of processes, found '0'"),
        ("PROCESSES=3", "PROCESSES: expected a number that divides BATCH and STAGE2_BATCH, found 3 for 16"),
        ("SHOWN=20,40", "SHOWN: expected iterations such as '20 40', found '20,40'"),
        ("SHOWN=40,20".replace(",", " "), "SHOWN: expected iterations, rising, found '40 20'"),
        ("SHOWN=20 60", "SHOWN: expected iterations up to 40 (ITERATIONS), found 60; give SHOWN='16 24 32 40'"),
        ("ITERATIONS=30", "SHOWN: expected iterations up to 30 (ITERATIONS), found 40; give SHOWN='12 18 24 30'"),
        ("NETS_FLAGS=--momentum 2", "NETS_FLAGS: --momentum: expected 0 up to 1, found 2"),
        ("NETS_FLAGS=--embedding 3", "NETS_FLAGS: figures needs --embedding 2, found 3"),
        ("NETS_FLAGS=--bogus", "NETS_FLAGS: unrecognized arguments: --bogus"),
        ("NETS_FLAGS=--run elsewhere", "NETS_FLAGS: expected no --run, which the Makefile sets"),
        ("PAIRS_FLAGS=--fractions 1 1 1", "PAIRS_FLAGS: --fractions: expected three shares adding up to 1"),
        ("PAIRS_FLAGS=--fractions 0 0.5 0.5", "PAIRS_FLAGS: expected subjects to train on, found none"),
        ("PAIRS_FLAGS=--split none.csv", "none.csv: expected a readable split file"),
        ("PAIRS_FLAGS=--out 'x", "PAIRS_FLAGS: expected options, found No closing quotation"),
        ("TRAIN_FLAGS=--patience 0", "TRAIN_FLAGS: argument --patience: expected a number of tests, found 0"),
        ("TRAIN_FLAGS=--snapshot x.solverstate", "TRAIN_FLAGS: expected no --snapshot, since the Makefile gives"),
        ("REPORT_FLAGS=--alexnet none", "REPORT_FLAGS: none: expected AlexNet's weights, found nothing there"),
        ("REPORT_FLAGS=--help", "REPORT_FLAGS: expected options, found a call for help"),
        ("FACES=none", "FACES: none: expected a folder of face images, found nothing there"),
        ("FACES=none.csv", "FACES: none.csv: expected a readable CSV"),
        ("HUMAN=none.csv", "HUMAN: none.csv: expected a matrix as CSV"),
        ("ALEXNET=none", "ALEXNET: none: expected AlexNet's weights"),
        ("OUT=a,b", "OUT: expected a name without a comma"),
        ("OUT=-x", "OUT: expected a name that does not begin like an option"),
        ("OUT=~/x", "OUT: expected the home folder written out"),
        ("OUT=a\nb", "OUT: expected a name in UTF-8 without control characters, found 'a\\nb'"),
        ("OUT=\udce4", "OUT: expected a name in UTF-8"),
        ("OUT=", "OUT: expected the name of a folder, found none"),
        ("OUT=/proc/x", "OUT: /proc/x: expected to write in /proc, found:"),
        ("COLOUR=red", "expected a target, or a setting NAME=value as make help lists them, found 'COLOUR=red'"),
        ("dinner", "expected one of the targets"),
    ],
)
def test_each_fault_is_one_line_that_names_its_setting(capsys, words, said):
    lines = refused(capsys, "report", *SMALL, words)
    assert [line for line in lines if said in line] and not any("\n" in line for line in lines)
    if words.partition("=")[0] in DEFAULTS and not said[0].islower():
        assert len(lines) <= 2, lines  # no flood of what follows from one fault


def test_all_faults_are_told_at_once(capsys, tmp_path):
    seven = people(tmp_path / "seven.csv", (*EMOTIONS, "neutral"))
    lines = refused(capsys, "report", *SMALL, "SHOWN=20 60", f"HUMAN={seven}", "DEVICE=tpu", "TRAIN_FLAGS=--bogus")
    assert len(lines) == 4
    for said in ("SHOWN", "six emotions", "DEVICE", "TRAIN_FLAGS"):
        assert any(said in line for line in lines)


@pytest.mark.parametrize("zero", [False, True])
def test_judgements_that_no_later_step_could_use(capsys, tmp_path, zero):
    matrix = people(tmp_path / "people.csv", EMOTIONS[:5] if not zero else EMOTIONS, zero)
    (line,) = refused(capsys, "report", *SMALL, f"HUMAN={matrix}")
    assert line.startswith("HUMAN: ") and ("all zero" in line if zero else "needs the six emotions" in line)
    assert refused(capsys, "figures", *SMALL, f"HUMAN={matrix}") == []  # which does not look at it


def test_judgements_of_pictures(capsys, tmp_path, faces):
    """Read and matched before the first long step, by path or name, where the faces are known."""
    own = ["report", *SMALL, f"FACES={faces}", "PAIRS_FLAGS=--fractions 0.6 0.2 0.2"]
    names = sorted(path.name for path in faces.glob("*.BMP"))
    table = tmp_path / "people.csv"
    table.write_text("image,response\n" + "".join(f"{faces.name}/{name},happy\n" for name in names))
    assert refused(capsys, *own, f"HUMAN={table}") == []
    table.write_text("image,response\nnobody.png,happy\n")
    (line,) = refused(capsys, *own, f"HUMAN={table}")
    assert line.startswith("HUMAN: ") and "pictures of the embedding" in line and "nobody.png" in line
    table.write_text(f"image,response\n{names[0]},hapy\n")
    (line,) = refused(capsys, *own, f"HUMAN={table}")
    assert "people.csv line 2: expected an emotion" in line


def test_a_target_is_refused_only_what_it_uses(capsys):
    assert refused(capsys, "pairs", *SMALL, "DEVICE=tpu", "HUMAN=none", "SHOWN=20 60", "SEEDS=0") == []
    assert refused(capsys, "seeds", *SMALL, "SEEDS=0", "HUMAN=none") == ["SEEDS: expected at least 1, found 0"]


def test_own_faces_need_weights_or_a_word(capsys, faces, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(faces, own)
    (own / "SYNTHETIC.json").unlink()
    words = ["train", *SMALL, f"FACES={own}", "PAIRS_FLAGS=--fractions 0.6 0.2 0.2"]
    (line,) = refused(capsys, *words)
    assert "your own faces start from AlexNet's weights" in line and "SUBSTITUTE=1" in line
    assert refused(capsys, *words, "SUBSTITUTE=1") == [] and len(refused(capsys, *words, "SUBSTITUTE=0")) == 1
    bad = tmp_path / "bad.npz"
    bad.write_text("no archive")
    (line,) = refused(capsys, *words, f"ALEXNET={bad}")
    assert "bad.npz: expected a caffemodel, an ONNX model or an npz archive" in line


def test_any_two_emotions_will_do_where_one_side_shows_them_all(capsys, faces, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for path in faces.glob("*_[AH][NA]_*.BMP"):
        shutil.copy(path, few)
    words = [*SMALL, f"FACES={few}", "SUBSTITUTE=1"]
    split = "PAIRS_FLAGS=--fractions 0.6 0.2 0.2"
    for target in ("train", "seeds", "similarity", "report"):
        assert refused(capsys, target, *words, split) == []
    # the last actor alone is sad, and tests
    rows, split = ["path,subject,emotion"], ["subject,split"]
    for number, path in [(p.name[:2], p) for p in sorted(few.iterdir())]:
        emotion = "happy" if "HA" in path.name else "angry"
        rows.append(f"few/{path.name},{number},{'sad' if number == '05' and emotion == 'angry' else emotion}")
        split.append(f"{number},{({'05': 'test', '04': 'val'}).get(number, 'train')}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    (tmp_path / "s.csv").write_text("\n".join(dict.fromkeys(split)))
    own = [*SMALL, f"FACES={tmp_path / 't.csv'}", "SUBSTITUTE=1", f"PAIRS_FLAGS=--split {tmp_path / 's.csv'}"]
    (line,) = refused(capsys, "seeds", *own)
    assert "FACES: seeds needs anger, happiness, sadness among training subjects, found no sadness" in line


def test_how_faces_are_indexed_is_checked_before(capsys, faces):
    own = [*SMALL, f"FACES={faces}", "SUBSTITUTE=1", "PAIRS_FLAGS=--fractions 0.6 0.2 0.2"]
    assert refused(capsys, "report", *own, "INDEX_FLAGS=--layout nimstim --emotions HA,sad,fear") == []
    for flags, said in (
        ("--emotions happy", "INDEX_FLAGS: argument --emotions: expected at least two, found 'happy'"),
        ("--emotions happy,bored", "INDEX_FLAGS: argument --emotions: expected emotions"),
        ("--emotions six,contempt", f"FACES: {faces}: expected images of contempt (--emotions), found none"),
        ("--layout rafd", f"FACES: {faces}: expected names of the layout rafd"),
        ("--layout none.toml", "none.toml: expected a readable layout"),
        ("--out x.csv", "INDEX_FLAGS: expected no --out, which the Makefile sets"),
    ):
        lines = refused(capsys, "report", *own, f"INDEX_FLAGS={flags}")
        assert [line for line in lines if said in line], (flags, lines)
    (line,) = refused(capsys, "report", *SMALL, "INDEX_FLAGS=--emotions six,neutral")
    assert "expected images of neutral (--emotions), found none" in line


def test_what_lies_in_the_way(capsys, tmp_path):
    Path("run").write_text("a file")
    assert "OUT: run: expected a folder to write, found a file" in refused(capsys, "report", *SMALL)[0]
    Path("run").unlink()
    Path("run/faces").mkdir(parents=True)
    Path("run/faces/holiday.jpg").write_text("x")
    (line,) = refused(capsys, "report", *SMALL)
    assert line == "OUT: run/faces: expected an empty folder or an earlier synthetic corpus, found other files"
    shutil.rmtree("run/faces")
    Path("run/stage1").write_text("a file")
    assert "OUT: run/stage1: expected a folder to write, found a file" in refused(capsys, "report", *SMALL)[0]


def test_no_room_and_no_memory(capsys, monkeypatch):
    from siamplex.plan import checks, planning

    with monkeypatch.context() as full:  # undo() would leave the test's own folder as well
        full.setattr(checks, "free_bytes", lambda path: 1e6)
        (line,) = refused(capsys, "pairs", *SMALL)
    assert "expected 0.0 GB free" not in line and "MB free for what is to come, found 1.0 MB" in line
    monkeypatch.setattr(planning, "machine_memory", lambda: 1e9)
    lines = refused(capsys, "finetune")
    assert any(line.startswith("memory: finetune takes about") and "STAGE2_BATCH" in line for line in lines)
    assert refused(capsys, "pairs") == []


def test_caffe_takes_snapshots_at_its_interval_alone(capsys, tmp_path, monkeypatch):
    for name in ("caffe", "extract_features"):
        (tmp_path / name).write_text("#!/bin/sh\necho caffe version 1.0.0\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("CAFFE_BIN", str(tmp_path / "caffe"))
    words = ["report", *SMALL, "ENGINE=caffe"]
    assert refused(capsys, *words) == []
    assert "SHOWN: expected multiples of SNAPSHOT, 20" in refused(capsys, *words, "SHOWN=30 40")[0]
    assert refused(capsys, *words, "EARLY_STOP=1")[0].startswith("EARLY_STOP: expected ENGINE=torch")
    assert refused(capsys, *words, "TRAIN_FLAGS=--amp")[0].startswith("TRAIN_FLAGS: --amp: expected --engine torch")
    assert refused(capsys, *words, "PROCESSES=2")[0].startswith("PROCESSES: expected 1 with ENGINE=caffe")
    (tmp_path / "extract_features").unlink()
    assert "Caffe's feature tool" in refused(capsys, *words)[0]


def test_processes_and_gpus(capsys, monkeypatch):
    import torch

    assert "found none that torch can use" in refused(capsys, "train", *SMALL, "DEVICE=cuda")[0] or (
        torch.cuda.is_available()
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert refused(capsys, "train", *SMALL, "DEVICE=cuda", "PROCESSES=2") == []
    for words, said in (
        (("DEVICE=cuda", "PROCESSES=4"), "PROCESSES: expected at most the 2 GPUs there are, found 4"),
        (("DEVICE=cuda:2",), "DEVICE: expected cuda:0 to cuda:1, found 'cuda:2'"),
        (("DEVICE=cuda:1", "PROCESSES=2"), "DEVICE: expected cuda with PROCESSES=2"),
    ):
        (line,) = refused(capsys, "train", *SMALL, *words)
        assert line.startswith(said)


def test_snapshots_of_other_settings(capsys, small_training, monkeypatch):
    """The run of the fixture, asked for once more with another rate, other iterations shown, or anew."""
    monkeypatch.chdir(small_training)
    words = "SIZE=35 WIDTH=0.125 BATCH=16 STAGE2_BATCH=256 ITERATIONS=6 BASE_LR=0.001 DISPLAY=1 SNAPSHOT=3".split()
    words += [
        "report",
        "TEST_INTERVAL=3",
        "PAIRS_FLAGS=--fractions 0.6 0.2 0.2",
        "SHOWN=3 6",
        "ALEXNET=",
        "SUBSTITUTE=1",
    ]
    import csv

    with Path("run/index.csv").open() as handle:
        first = next(csv.DictReader(handle))
    words.append(f"FACES={(Path('run') / first['path']).resolve().parent}")
    assert refused(capsys, *words) == []
    lines = refused(capsys, *words, "BASE_LR=0.01")
    assert len(lines) == 2 and all("base_lr 0.001 there, 0.01 here" in line for line in lines)
    assert refused(capsys, *words, "BASE_LR=0.01", "OVERWRITE=1") == []
    (line,) = refused(capsys, *words, "SHOWN=2 6")
    assert line.startswith("SHOWN: expected an iteration of which run/stage1/snap has a snapshot (3 6)")
    lines = refused(capsys, *words, "ITERATIONS=5", "SHOWN=3 5")
    assert any(line.startswith("ITERATIONS: expected an iteration of which") for line in lines)
