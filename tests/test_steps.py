from __future__ import annotations

import os

from siamplex.steps import Step


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
