from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from siamplex.run.steps import Step


def test_unchanged_until_something_changes(tmp_path):
    source, result, stamp = tmp_path / "in", tmp_path / "out", tmp_path / "s.json"
    source.write_text("1")
    result.write_text("r")

    def step(**options):
        return Step(stamp, {"size": 227, **options}, [source], [result])

    assert not step().unchanged()
    step().record()
    assert step().unchanged()
    os.utime(source, (1, 1))  # touched, same content
    assert step().unchanged()
    source.write_text("2")
    assert not step().unchanged()
    step().record()
    assert not step(size=99).unchanged()
    result.write_text("other")
    assert not step().unchanged()
    result.unlink()
    assert not step().unchanged()
    stamp.write_text("{")
    assert not step().unchanged()


def test_folders_count_with_all_their_files(tmp_path):
    folder, stamp = tmp_path / "faces", tmp_path / "s.json"
    folder.mkdir()
    (folder / "a").write_text("1")
    step = Step(stamp, {}, [folder], [])
    step.record()
    assert step.unchanged()
    (folder / "b").write_text("2")
    assert not step.unchanged()


@pytest.mark.parametrize("how", ["spelt", "moved", "copied"])
def test_a_run_is_the_same_wherever_it_lies_and_however_it_is_spelt(tmp_path, monkeypatch, how):
    """OUT=x, OUT=x/, OUT=./x, an absolute path; the folder moved, or copied without its times."""
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "face.bmp").write_text("1")

    def step(run: str) -> Step:
        stamp, source, result = Path(f"{run}/.steps/s.json"), Path(f"{run}/in"), Path(f"{run}/out")
        options = {"out": result, "several": [source, outside], "size": 40}
        return Step(stamp, options, [source, Path("elsewhere")], [result])

    for name in ("in", "out", ".steps"):
        (tmp_path / "x" / name).mkdir(parents=True)
        (tmp_path / "x" / name / "file").write_text(name)
    step("x").record()
    if how == "spelt":
        assert all(step(s).unchanged() for s in ("x", "x/", "./x", str(tmp_path / "x"), "x/../x"))
        return
    if how == "moved":
        (tmp_path / "x").rename(tmp_path / "y")
    else:
        shutil.copytree(tmp_path / "x", tmp_path / "y", copy_function=shutil.copy)
        for file in (tmp_path / "y").rglob("file"):
            os.utime(file, (1, 1))
    assert step("y").unchanged()
    (tmp_path / "y" / "out" / "file").write_text("other")
    assert not step("y").unchanged()
