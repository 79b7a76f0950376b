"""What the page shows of a multiverse, and that a damaged one leaves the rest of the page alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from siamplex.geometry.embedding import read_embedding
from siamplex.multiverse.answer import answer
from siamplex.multiverse.store import CellLearning, StoredCell, write
from tests.report.test_page import make, outline


@pytest.fixture
def told(own_run):
    """A run with the answer of twelve cells."""
    embedding = read_embedding(own_run / "features/stage1_iter_6.npz")
    stream = np.random.default_rng(0)
    for number in range(12):
        points = embedding.points + stream.normal(0, embedding.points.std(), embedding.points.shape).astype(np.float32)
        settings = {"batch": 16 * (1 + number % 2), "stop": "<b>length"}
        learning = CellLearning(0.1, 0.2, 0.1 + 0.01 * number, 0.2, False, 1.0)
        control = "shuffled" if number > 9 else ""
        cell = StoredCell(own_run, f"c{number:02d}", control, number // 2, 0, settings, learning)
        write(own_run, cell, replace(embedding, points=points), {})
    return own_run, answer(own_run)


def test_the_section(told):
    run, found = told
    page = make(run)
    seen = outline(page)
    assert "multiverse-h" in seen.ids and all(a.startswith(("data:", "#")) for a in seen.addresses)
    section = re.search(r'<section id="multiverse".*?</section>', page, re.S).group(0)
    text = unescape(section)
    assert found.paragraph in text and "labels shuffled" in text and "1/60" in text
    assert section.count("<img") == len([p for p in found.figures if p.suffix == ".png"]) > 5
    assert "linear discriminant of conv3" in text and "Which setting moves which outcome" in text
    assert "<b>" not in section  # values of settings are text
    share = found.shares["ratio"].shares["batch"]
    assert f"{round(100 * share)}%" in text


def test_no_multiverse_no_section(own_run):
    assert 'id="multiverse"' not in make(own_run)
    (own_run / "multiverse/cells").mkdir(parents=True)
    assert 'id="multiverse"' not in make(own_run)


def test_damaged_answers_and_those_of_another_version(told):
    run, _ = told
    path = run / "multiverse/answer.json"
    known = json.loads(path.read_text())
    broken = [
        "{", "[]", "{}", json.dumps(known | {"format": 99}), json.dumps(known | {"chance": {"agrees": {}}}),
        json.dumps(known | {"shares": {"ratio": {"shares": {"batch": "much"}, "cells": 1}}}),
        json.dumps(known | {"baselines": [{}]}), json.dumps(known | {"outcomes": []}), json.dumps(known | {"notes": 3}),
    ]  # fmt: skip
    for text in broken:
        path.write_text(text)
        page = make(run)
        assert 'id="multiverse"' not in page and 'id="geometry"' in page, text
    # figures elsewhere are not let in
    path.write_text(json.dumps(known | {"figures": ["../../secret.png", "ratio.png"]}))
    section = re.search(r'<section id="multiverse".*?</section>', make(run), re.S).group(0)
    assert section.count("<img") == 1
