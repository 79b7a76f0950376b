from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

from siamplex.corpus.emotions import EMOTIONS, PAPER_COUNTS
from siamplex.corpus.images import read_picture
from siamplex.errors import InputError, UsageError
from siamplex.faces.action_units import prototype
from siamplex.faces.canvas import HEIGHT, WIDTH
from siamplex.faces.corpus import Portrait, allot, draw_corpus, portray
from siamplex.faces.difficulty import told_right
from siamplex.faces.expression import enact
from siamplex.faces.identity import actor
from siamplex.faces.moment import draw_moment
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import nearest_centroid


def test_the_papers_counts_over_43_actors():
    portraits = allot(PAPER_COUNTS, 43, seed=1)
    assert len(portraits) == len({p.name for p in portraits}) == 504
    counts = {e: sum(p.emotion == e for p in portraits) for e in EMOTIONS}
    assert counts == dict(PAPER_COUNTS)
    subjects = {(p.number, p.sex) for p in portraits}
    assert len(subjects) == 43
    assert sum(sex == "F" for _, sex in subjects) == 18
    for emotion in EMOTIONS:  # nobody is left out, nobody does it all
        per_actor = [sum(p.number == n and p.emotion == emotion for p in portraits) for n in range(1, 44)]
        assert max(per_actor) - min(per_actor) <= 1 and min(per_actor) >= 1


def test_too_many_images_are_refused():
    with pytest.raises(UsageError, match="expected at most 6 from 2 actors"):
        allot({"HA": 7}, 2, seed=1)
    with pytest.raises(UsageError, match="expected 1 to 99"):
        allot({"HA": 7}, 0, seed=1)


def test_names_sizes_and_marker(faces):
    names = sorted(p.name for p in faces.glob("*.BMP"))
    assert len(names) == 48 and names[0] == "01F_AN_O.BMP"
    assert read_picture(faces / names[0]).shape == (HEIGHT, WIDTH, 3)
    marker = json.loads((faces / "SYNTHETIC.json").read_text())
    assert marker["synthetic"] is True and marker["images"] == 48
    assert read_picture(faces / "contact_sheet.png").shape[0] > 5 * 150


def test_same_seed_same_face():
    portrait = Portrait(3, "M", "FE", "O")
    assert np.array_equal(portray(portrait, 1), portray(portrait, 1))
    assert not np.array_equal(portray(portrait, 1), portray(portrait, 2))


def test_other_folders_are_not_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="expected an empty folder or an earlier synthetic corpus"):
        draw_corpus(tmp_path / "mine", {"HA": 1}, 1, 1, 1)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_expressions_are_their_action_units():
    """FACS prototypes: what makes each emotion itself."""
    wanted = {"HA": {6, 12}, "SA": {1, 4, 15}, "AN": {4, 7, 23}, "FE": {1, 2, 4, 5, 20}, "DI": {9}, "SP": {1, 2, 5, 26}}
    for emotion, units in wanted.items():
        assert units <= set(prototype(emotion, "C"))
        assert 25 in prototype(emotion, "O") and 25 not in prototype(emotion, "C")


def test_expressions_differ_between_actors_and_moments():
    stream = np.random.default_rng(0)
    shown = [enact("HA", "C", actor(n, "F", 1).expression, stream).units for n in range(1, 30)]
    assert np.std([units.get(12, 0.0) for units in shown]) > 0.2
    style = actor(1, "F", 1).expression
    twice = [enact("HA", "C", style, stream).units for _ in range(2)]
    assert twice[0] != twice[1]
    assert len({frozenset(units) for units in shown}) > 5  # other units are mixed in


def test_an_actor_keeps_to_a_style():
    """An accent comes every time: an actor's faces of one emotion are more alike than two actors' are."""

    def mean(number):
        style, stream = actor(number, "M", 1).expression, np.random.default_rng(number)
        shown = [enact("SA", "C", style, stream).units for _ in range(40)]
        return np.array([np.mean([units.get(u, 0.0) for units in shown]) for u in range(1, 44)])

    halves = [mean(n) for n in (20, 20, 21)]
    assert np.abs(halves[0] - halves[1]).max() < 0.25 < np.abs(halves[0] - halves[2]).max()


def test_pose_light_and_camera_do_not_know_the_emotion():
    assert "emotion" not in inspect.signature(draw_moment).parameters
    moments = [draw_moment(np.random.default_rng(n), n, n) for n in range(300)]
    for what, deviation in {"yaw": 2.4, "light_azimuth": 24.0, "exposure": 0.05}.items():
        values = np.array([getattr(m, what) for m in moments])
        assert 0.7 * deviation < values.std() < 1.3 * deviation, what
    assert np.std([m.gaze[0] for m in moments]) > 1.0


def test_actors_differ():
    actors = [actor(n, "F" if n <= 18 else "M", 1) for n in range(1, 44)]
    assert len({a.skin for a in actors}) == 43 and len({a.face_width for a in actors}) == 43
    assert {a.style for a in actors if a.sex == "M"} == {"short", "parted", "cropped", "curly", "bald"}


# Emotion must not be told by background, light, colour or hair: below, only the face tells it.


def accuracy(pictures, describe):
    """Nearest centroid over actors not trained on, ten-fold, and what always saying HA gives."""
    portraits, images = pictures
    x = np.array([describe(i.astype(np.float64)) for i in images])
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)
    right = 0.0
    for fold in range(10):
        parts = []
        for held in (False, True):
            keep = [i for i, p in enumerate(portraits) if (p.number % 10 == fold) == held]
            e = [portraits[i].emotion for i in keep]
            parts.append(Embedding(x[keep].astype(np.float32), e, e, e, e, {}))
        right += nearest_centroid(*parts).accuracy * len(parts[1])
    return right / len(portraits)


# six emotions; chance is 1/6, three standard errors of 504 images reach 0.217
LIMIT = 0.217


def test_not_the_background(pictures):
    assert (
        accuracy(pictures, lambda i: np.r_[i[:40].mean((0, 1)), i[:90, :20].mean((0, 1)), i[:90, -20:].mean((0, 1))])
        < LIMIT
    )


def test_not_the_overall_colour_and_light(pictures):
    assert accuracy(pictures, lambda i: np.r_[i[:80].mean((0, 1)), i[:80].std((0, 1)), i[-40:].mean((0, 1))]) < LIMIT


def test_not_the_hair(pictures):
    assert accuracy(pictures, lambda i: i[20:80:4, 40:200:8].mean(axis=2).ravel()) < LIMIT


def test_but_the_face_tells(pictures):
    """A linear discriminant of brows, eyes and mouth; always saying HA is right in 127 of 504, 25 %."""
    portraits, images = pictures
    grey = np.stack(images).astype(np.float64).mean(axis=3)
    rows = np.hstack([grey[:, 92:168:5, 45:195:7].reshape(504, -1), grey[:, 192:268:5, 57:183:7].reshape(504, -1)])
    told = told_right(rows, [f"{p.number:02d}" for p in portraits], [p.emotion for p in portraits], 100)
    assert told > 127 / 504 + 0.06  # three standard errors
