"""The loss figure with its validation losses, and what panels say of a line."""

from __future__ import annotations

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.figures.embedding import draw_embedding, draw_losses
from siamplex.geometry.embedding import Embedding, write_embedding
from siamplex.geometry.orders import PAPER_ORDER


def words(path) -> str:
    return path.with_suffix(".svg").read_text()


@pytest.fixture
def embedding():
    angles = np.repeat(np.arange(6), 4) * np.pi / 3
    points = np.c_[np.cos(angles), np.sin(angles)].astype(np.float32)
    emotions = [e for e in PAPER_ORDER for _ in range(4)]
    names = [f"i{k}" for k in range(24)]
    return Embedding(points, names, names, emotions, ["train"] * 24, {"notes": []})


def test_validation_is_drawn_and_the_lowest_marked(tmp_path):
    losses = [("one", [(i, 0.3 - 0.001 * i, 0.1) for i in range(100)]), ("two", [(i, 0.2, 0.1) for i in range(50)])]
    draw_losses(losses, [], tmp_path / "loss", [[(0, 0.4), (50, 0.25), (90, 0.28)], []])
    text = words(tmp_path / "loss")
    assert "validation, lowest 0.25 at 50" in text and "lowest ringed" in text and "validation loss without" in text
    draw_losses(losses, [], tmp_path / "plain")
    assert "validation" not in words(tmp_path / "plain")


def test_a_panel_says_how_round_it_lies(tmp_path, embedding):
    draw_embedding(embedding, "Figure", tmp_path / "round")
    assert "ratio 1.00" in words(tmp_path / "round") and ": a line" not in words(tmp_path / "round")
    embedding.points[:, 1] *= 0.1
    draw_embedding(embedding, "Figure", tmp_path / "flat")
    text = " ".join(words(tmp_path / "flat").split())
    assert "ratio 0.10: a line" in text and "order; along it happiness" in text


def test_the_command_finds_the_tests_beside_the_losses(tmp_path, embedding, capsys):
    write_embedding(embedding, tmp_path / "stage1_iter_5")
    (tmp_path / "snap_losses.csv").write_text("iteration,loss,lr\n0,0.5,0.1\n5,0.4,\n")
    (tmp_path / "snap_test.csv").write_text("iteration,net,output,value\n0,0,loss,0.5\n5,0,loss,0.37\n")
    given = {"--stage1": "stage1_iter_5.npz", "--losses": "snap_losses.csv"}
    command = ["figures", *(word for name, file in given.items() for word in (name, str(tmp_path / file)))]
    stamp = ["--out", str(tmp_path / "out"), "--stamp", str(tmp_path / "stamp.json")]
    assert main([*command, *stamp]) == 0
    assert "lowest 0.37 at 5" in words(tmp_path / "out/loss")
    # a test more is another figure
    with (tmp_path / "snap_test.csv").open("a") as handle:
        handle.write("6,0,loss,0.2\n")
    assert main([*command, *stamp]) == 0
    assert "lowest 0.2 at 6" in words(tmp_path / "out/loss")
