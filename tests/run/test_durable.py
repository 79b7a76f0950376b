from __future__ import annotations

import os

import pytest

from siamplex.errors import InputError, StorageError
from siamplex.run import durable
from siamplex.run.durable import atomic_directory, atomic_file, require_room, sha256, write_text


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    write_text(tmp_path / "a", "before")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a") as handle:
        handle.write(b"half")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "before"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    write_text(tmp_path / "a", "before")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="expected room to write, found a full disk"):
        write_text(tmp_path / "a", "after")
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == "before"
    assert names(tmp_path) == ["a"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "d"
    with atomic_directory(target) as part:
        (part / "x").write_text("1")
    with pytest.raises(RuntimeError), atomic_directory(target) as part:
        (part / "y").write_text("2")
        raise RuntimeError
    assert names(target) == ["x"] and names(tmp_path) == ["d"]
    with atomic_directory(target) as part:
        (part / "z").write_text("3")
    assert names(target) == ["z"] and names(tmp_path) == ["d"]


def test_room_is_checked_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "free_bytes", lambda path: 1000)
    require_room(tmp_path, 900, "a little")
    with pytest.raises(StorageError, match=r"expected 39.00 GB free for pairs, found 0.00 GB"):
        require_room(tmp_path, 39_000_000_000, "pairs")


def test_hash_of_folders_passes_over_locks(tmp_path):
    (tmp_path / "data.mdb").write_text("x")
    before = sha256(tmp_path)
    (tmp_path / "lock.mdb").write_text("anything")
    assert sha256(tmp_path) == before
    (tmp_path / "data.mdb").write_text("y")
    assert sha256(tmp_path) != before
    with pytest.raises(InputError):
        sha256(tmp_path / "missing")
