"""A run is known by what it computes: nothing of another run is overwritten, removed or taken for its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from siamplex.engine.training import snapshot as snapshots
from siamplex.engine.training.course import Course, Segment, standing
from siamplex.engine.training.loop import Loop
from siamplex.engine.training.occupied import REMOVE
from siamplex.engine.training.origin import differences, solver_settings
from siamplex.engine.training.snapshot import Manifest, SnapshotPaths
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.engine.training.start import Start
from siamplex.errors import Stopped, TrainingError, UsageError
from siamplex.schema import prototxt


def train(path, **options) -> Solver:
    solver = Solver(path, TrainOptions(quiet=True, **options))
    solver.solve()
    return solver


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("snap*") if p.is_file()}


@pytest.mark.parametrize(
    ("where", "old", "new", "said"),
    [
        ("solver", "base_lr: 0.05", "base_lr: 0.01", r"base_lr 0\.05 there, 0\.01 here"),
        ("solver", "momentum: 0.9", "momentum: 0.5", r"momentum 0\.9 there, 0\.5 here"),
        ("solver", "random_seed: 3", "random_seed: 4", "seed 3 there, 4 here"),
        ("net", "batch_size: 4", "batch_size: 2", r"layer 'pair': data_param\.batch_size 4 there, 2 here"),
        ("net", "num_output: 5", "num_output: 6", r"layer 'fc': inner_product_param\.num_output 5 there, 6 here"),
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_snapshots_of_other_settings_stop_a_run(twin_solver, tmp_path, where, old, new, said, resume):
    path = twin_solver()
    train(path)
    before = contents(tmp_path)
    edit(path if where == "solver" else tmp_path / "net.prototxt", old, new)
    with pytest.raises(UsageError, match=said) as refused:
        train(path, resume=resume)
    text = str(refused.value)
    assert "snap_iter_12.solverstate goes on from it" in text
    assert "another snapshot_prefix" in text and "--overwrite" in text and "\n" not in text
    assert contents(tmp_path) == before
    train(path, existing=REMOVE)
    assert standing(tmp_path / "snap") == [6, 12]
    assert contents(tmp_path)["snap_losses.csv"] != before["snap_losses.csv"]


def test_other_pairs_are_named(twin_solver, tmp_path):
    from tests.engine.conftest import write_lmdb

    path = twin_solver()
    train(path)
    shutil.rmtree(tmp_path / "pairs_lmdb")
    stream = np.random.default_rng(6)
    samples = [(stream.integers(0, 256, (2, 6, 6), dtype=np.uint8), i % 2) for i in range(8)]
    write_lmdb(tmp_path / "pairs_lmdb", samples)
    with pytest.raises(UsageError, match="other records of train:pair"):
        train(path, resume=True)


def test_one_changed_label_among_many_small_records_is_seen(twin_solver, tmp_path):
    """Content counts and not the folder's name: the same pairs elsewhere go on, one other label does not."""
    from tests.engine.conftest import write_lmdb

    path, net = twin_solver(), tmp_path / "net.prototxt"
    stream = np.random.default_rng(6)
    pairs = [(stream.integers(0, 9, (2, 5, 5), dtype=np.uint8), i % 2) for i in range(300)]
    for name in ("first", "same"):
        write_lmdb(tmp_path / name, pairs)
    write_lmdb(tmp_path / "other", [(values, label ^ (i == 201)) for i, (values, label) in enumerate(pairs)])
    edit(net, str(tmp_path / "pairs_lmdb"), str(tmp_path / "first"))
    train(path)
    edit(net, str(tmp_path / "first"), str(tmp_path / "same"))
    assert Solver(path, TrainOptions(quiet=True, resume=True)).iteration == 12
    edit(net, str(tmp_path / "same"), str(tmp_path / "other"))
    with pytest.raises(UsageError, match="other records of train:pair"):
        Solver(path, TrainOptions(quiet=True, resume=True))


def test_a_second_run_of_the_same_settings_is_asked_for(twin_solver, tmp_path):
    path = twin_solver()
    train(path)
    with pytest.raises(UsageError, match=r"expected no snapshots of this run yet, found snap_iter_12\.caffemodel"):
        train(path)
    assert train(path, resume=True).iteration == 12


def test_real_caffes_snapshots_are_not_overwritten(twin_solver, tmp_path):
    path = twin_solver()
    train(path)
    for name in ("snap_iter_6.json", "snap_iter_12.json", "snap_run.json"):
        (tmp_path / name).unlink()
    before = contents(tmp_path)
    for resume in (True, False):
        with pytest.raises(UsageError, match=r"found snap_iter_12\.caffemodel \(what it was computed with is not"):
            train(path, resume=resume)
    assert contents(tmp_path) == before
    # but they can be gone on from, as Caffe does
    longer = edit(path, "max_iter: 12", "max_iter: 18")
    train(longer, snapshot=tmp_path / "snap_iter_12.solverstate")
    assert [s.first for s in Manifest.read(tmp_path / "snap_iter_18.json").course.segments] == [0, 12]


def test_a_refused_start_leaves_an_earlier_runs_losses_alone(twin_solver, tmp_path):
    """--overwrite is permission to write, and nothing is written by a run that must diverge."""
    path = twin_solver()
    train(path)
    before = contents(tmp_path)
    edit(path, "base_lr: 0.05", "base_lr: 1e12")
    with pytest.raises(TrainingError):
        train(path, existing=REMOVE)
    assert contents(tmp_path) == before


def test_segments_say_what_was_computed(twin_solver, tmp_path):
    """Going on at another rate: a segment more, and no resuming as if all had been one."""
    path = twin_solver()
    train(path)
    edit(path, "base_lr: 0.05", "base_lr: 0.01")
    edit(path, "max_iter: 12", "max_iter: 18")
    with pytest.raises(UsageError, match=r"expected no snapshots of another run, found snap_iter_12"):
        train(path, snapshot=tmp_path / "snap_iter_6.solverstate")
    solver = train(path, snapshot=tmp_path / "snap_iter_12.solverstate")
    assert solver.iteration == 18
    course = Manifest.read(tmp_path / "snap_iter_18.json").course
    assert [(s.first, s.last, s.settings["base_lr"]) for s in course.segments] == [(0, 12, "0.05"), (12, 18, "0.01")]
    assert train(path, resume=True).iteration == 18
    edit(path, "max_iter: 18", "max_iter: 24")
    assert train(path, resume=True).iteration == 24  # and goes on in the second segment
    course = Manifest.read(tmp_path / "snap_iter_24.json").course
    assert [(s.first, s.last) for s in course.segments] == [(0, 12), (12, 24)]
    edit(path, "base_lr: 0.01", "base_lr: 0.05")
    with pytest.raises(UsageError, match=r"base_lr 0\.01 there, 0\.05 here"):
        train(path, resume=True)


def test_going_on_under_a_fresh_prefix(twin_solver, tmp_path):
    path = twin_solver()
    train(path)
    edit(path, "base_lr: 0.05", "base_lr: 0.01")
    fresh = TrainOptions(quiet=True, snapshot=tmp_path / "snap_iter_6.solverstate", snapshot_prefix=str(tmp_path / "b"))
    Solver(path, fresh).solve()
    course = Manifest.read(tmp_path / "b_iter_12.json").course
    assert [(s.first, s.last, s.settings["base_lr"]) for s in course.segments] == [(0, 6, "0.05"), (6, 12, "0.01")]
    assert snapshots.own(tmp_path / "b") == [12] and snapshots.own(tmp_path / "snap") == [6, 12]


@pytest.mark.parametrize("how", ["slash", "dot", "moved", "copied"])
def test_the_spelling_of_a_path_is_no_setting(twin_solver, tmp_path, how, monkeypatch):
    path = twin_solver(conv=0)
    train(path)
    folder = tmp_path
    if how in ("moved", "copied"):
        folder = tmp_path.parent / f"{tmp_path.name}_elsewhere"
        shutil.copytree(tmp_path, folder)
        if how == "moved":
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
        for file in ("net.prototxt", path.name):
            text = (folder / file).read_text()
            (folder / file).write_text(text.replace(str(tmp_path), str(folder)))
    else:
        spelt = f"{tmp_path}/" if how == "slash" else f"{tmp_path}/."
        for file in (tmp_path / "net.prototxt", path):
            file.write_text(file.read_text().replace(f"{tmp_path}/", f"{spelt}/"))
    solver = Solver(folder / path.name, TrainOptions(quiet=True, resume=True))
    assert solver.iteration == 12


def test_a_moved_lean_run_finds_what_it_builds_on(twin_solver, tmp_path):
    from siamplex.run.durable import sha256

    path = twin_solver()
    train(path)
    start = tmp_path / "weights" / "start.caffemodel"
    start.parent.mkdir()
    shutil.copy(tmp_path / "snap_iter_6.caffemodel", start)
    fresh = TrainOptions(quiet=True, weights=(start,), snapshot_prefix=str(tmp_path / "runs" / "snap"))
    (tmp_path / "runs").mkdir()
    Solver(path, fresh).solve()
    manifest = Manifest.read(tmp_path / "runs" / "snap_iter_6.json")
    assert manifest.weights[0]["beside"] == "../weights/start.caffemodel"
    assert manifest.weights[0]["sha256"] == sha256(start)


def two_runs(twin_solver, tmp_path) -> Path:
    """A run to 20 beside what an older one, at another rate, left under the prefix: 18 and 24."""
    older = twin_solver()
    edit(older, "base_lr: 0.05", "base_lr: 0.02")
    edit(older, "max_iter: 12", "max_iter: 24")
    train(older)
    kept = tmp_path / "kept"
    kept.mkdir()
    for file in [*tmp_path.glob("snap_iter_18.*"), *tmp_path.glob("snap_iter_24.*")]:
        shutil.move(file, kept / file.name)
    path = twin_solver()
    train(path, existing=REMOVE, keep_states=1)
    for file in kept.iterdir():
        shutil.copy(file, tmp_path / file.name)
    return path


def test_only_what_a_manifest_says_is_this_runs(twin_solver, tmp_path):
    path = two_runs(twin_solver, tmp_path)
    prefix = tmp_path / "snap"
    assert standing(prefix) == [6, 12, 18, 24] and snapshots.own(prefix) == [6, 12]
    course = Course.read(prefix)
    assert snapshots.latest_whole(prefix, course) == SnapshotPaths.of(prefix, 12)
    with pytest.raises(UsageError, match=r"snap_iter_24\.caffemodel \(base_lr 0\.02 there, 0\.05 here\)"):
        train(path, resume=True)


def test_keep_states_and_the_stop_message_mind_their_own(twin_solver, tmp_path, monkeypatch):
    """Beside an older run's later snapshots the newest state of this run stays, and is what the message names."""
    path = two_runs(twin_solver, tmp_path)
    for file in tmp_path.glob("snap_iter_12.*"):
        file.unlink()
    monkeypatch.setattr("siamplex.engine.training.start.check_free", lambda *a, **k: None)
    monkeypatch.setattr(Start, "_own_newest", lambda self: None)
    states = {p.name: p.read_bytes() for n in (18, 24) for p in [tmp_path / f"snap_iter_{n}.solverstate"]}
    solver = Solver(path, TrainOptions(quiet=True, keep_states=1))
    monkeypatch.setattr(Loop, "_iterate", lambda self: (_step_to(solver, 7), self._stop_here(2)))
    with pytest.raises(Stopped) as stopped:
        solver.solve()
    named = Path(str(stopped.value).split("--snapshot ")[1].split(" goes on")[0])
    assert named == tmp_path / "snap_iter_7.solverstate" and named.exists()
    assert all((tmp_path / name).read_bytes() == data for name, data in states.items())


def _step_to(solver: Solver, iteration: int) -> None:
    while solver.iteration < iteration:
        solver.step()


def test_a_manifest_of_the_first_format_is_of_an_unknown_course(twin_solver, tmp_path):
    path = twin_solver()
    train(path)
    for n in (6, 12):
        file = tmp_path / f"snap_iter_{n}.json"
        content = json.loads(file.read_text())
        del content["segments"]
        file.write_text(json.dumps({**content, "format": 1, "origin": {"solver": "0" * 64}}))
    with pytest.raises(UsageError, match="what it was computed with is not known"):
        train(path, resume=True)
    longer = edit(path, "max_iter: 12", "max_iter: 18")
    assert train(longer, snapshot=tmp_path / "snap_iter_12.solverstate").iteration == 18


def test_what_does_not_shape_a_run():
    def settings(text: str, length: int = 5) -> dict[str, str]:
        whole = f'net: "a" base_lr: 0.1 max_iter: {length} {text}'
        return solver_settings(prototxt.parse(whole, "SolverParameter").message)

    plain = settings('lr_policy: "fixed"')
    assert settings('lr_policy: "fixed" display: 7 snapshot: 5 snapshot_prefix: "x" iter_size: 1 momentum: 0') == plain
    assert settings('lr_policy: "fixed"', 9) == plain
    assert differences(settings('lr_policy: "poly"'), settings('lr_policy: "poly"', 9)) == ["max_iter 5 there, 9 here"]


def test_a_course_holds_what_it_passed_through():
    a, b = {"base_lr": "0.1"}, {"base_lr": "0.2"}
    run = Course((Segment(0, 20, a), Segment(20, None, b)))
    assert run.holds(Course((Segment(0, 10, a),))) and run.holds(Course((Segment(0, 20, a),)))
    assert run.holds(Course((Segment(0, 20, a), Segment(20, 50, b))))
    assert not run.holds(Course((Segment(0, 30, a),)))
    assert not run.holds(Course((Segment(0, 10, b),)))
    assert not run.holds(Course((Segment(0, 10, a), Segment(10, 50, b))))
    assert not run.holds(Course((Segment(0, 20, a), Segment(20, 30, b), Segment(30, 40, a))))


def test_a_snapshot_interval_needs_a_prefix(twin_solver, tmp_path, monkeypatch):
    from siamplex.errors import PrototxtError

    monkeypatch.chdir(tmp_path)
    path = twin_solver()
    text = path.read_text()
    start = text.index("snapshot_prefix")
    path.write_text(text[:start] + text[text.index("random_seed") :])
    with pytest.raises(PrototxtError, match=r":3: snapshot 6 without a snapshot_prefix"):
        Solver(path, TrainOptions(quiet=True))
    edit(path, "snapshot: 6", "snapshot: 0")
    train(path)


def test_resume_with_overwrite_goes_on_with_its_own_and_removes_the_others(twin_solver, tmp_path):
    """As make passes them: OVERWRITE=1 does not train an own run anew."""
    path = two_runs(twin_solver, tmp_path)
    for file in tmp_path.glob("snap_iter_24.*"):
        file.unlink()
    edit(path, "max_iter: 12", "max_iter: 15")
    first = train(path, resume=True, existing=REMOVE)  # 18 is newest and another's: begun anew
    assert first.iteration == 15 and standing(tmp_path / "snap") == [6, 12, 15]
    edit(path, "max_iter: 15", "max_iter: 16")
    before = (tmp_path / "snap_iter_15.caffemodel").read_bytes()
    train(path, resume=True, existing=REMOVE)
    assert (tmp_path / "snap_iter_15.caffemodel").read_bytes() == before
    assert standing(tmp_path / "snap") == [6, 12, 15, 16]


def test_an_embedding_of_another_runs_snapshot_is_refused(twin_solver, tmp_path):
    from siamplex.errors import InputError

    two_runs(twin_solver, tmp_path)
    snapshots.check_own(tmp_path / "snap_iter_12.caffemodel")
    with pytest.raises(InputError, match=r"snap_iter_18\.caffemodel: expected a snapshot of the run that"):
        snapshots.check_own(tmp_path / "snap_iter_18.caffemodel")
