from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA as Components

from siamplex.faces.difficulty import told_right
from siamplex.geometry.embedding import Embedding
from siamplex.multiverse.answer import accuracies
from siamplex.multiverse.baselines import (
    CEILING,
    METRIC,
    NONMETRIC,
    PCA,
    Features,
    baselines,
    ceiling,
    features_of,
    maps,
)
from siamplex.multiverse.draws import Weights
from siamplex.pairs.build import open_store
from tests.multiverse.conftest import ring


def rows_of(split: Embedding, strength: float, width: int = 60, seed: int = 0) -> np.ndarray:
    """Features in which each emotion adds its own direction to a subject's own row."""
    stream = np.random.default_rng(seed)
    emotions, subjects = sorted(set(split.emotions)), sorted(set(split.subjects))
    by_emotion = stream.normal(0, strength, (len(emotions), width))
    by_subject = stream.normal(0, 1, (len(subjects), width))
    return np.stack([
        by_emotion[emotions.index(e)] + by_subject[subjects.index(s)] + stream.normal(0, 0.5, width)
        for e, s in zip(split.emotions, split.subjects, strict=True)
    ])  # fmt: skip


def test_coordinates_keep_every_distance():
    values = np.random.default_rng(0).normal(size=(12, 500)).astype(np.float32)
    found = Features.of([str(i) for i in range(12)], values)
    assert found.rows.shape == (12, 11)
    np.testing.assert_allclose(pdist(found.rows), pdist(values.astype(float)), rtol=1e-9)
    same = Features.of(["a", "b"], np.ones((2, 3)))
    assert same.rows.shape[0] == 2 and not same.rows.any()


def test_pca_is_fitted_to_training_subjects_and_places_the_others():
    split = ring(actors=9)
    rows = Features.of(split.images, rows_of(split, 1.0)).rows
    found = maps(rows, split)
    seen = np.array([s == "train" for s in split.splits])
    known = Components(2, svd_solver="full").fit(rows[seen]).transform(rows)
    np.testing.assert_allclose(np.abs(found[PCA].points), np.abs(known), atol=1e-4)
    assert found[PCA].splits == split.splits
    # other held-out faces change nothing
    moved = rows.copy()
    moved[~seen] += 100
    np.testing.assert_allclose(maps(moved, split)[PCA].points[seen], found[PCA].points[seen], atol=1e-4)


def test_mds_places_training_subjects_alone():
    split = ring(actors=9, noise=0.1)
    plane = Features.of(split.images, split.points).rows
    found = maps(plane, split)
    train = split.of_split("train")
    for method in (METRIC, NONMETRIC):
        assert found[method].images == train.images and set(found[method].splits) == {"train"}
    # what is a plane already comes back as it is
    ratio = pdist(found[METRIC].points) / pdist(train.points)
    assert np.ptp(ratio) / ratio.mean() < 0.01


def test_the_ceiling_is_told_the_emotions():
    split = ring(actors=24)
    subjects = Weights.draw(split.subjects, "subjects")
    rows = Features.of(split.images, rows_of(split, 0.6)).rows
    found = ceiling(rows, split, subjects)
    accuracy = found.values["held_out_accuracy"]
    assert accuracy == pytest.approx(told_right(rows, split.subjects, split.emotions, folds=3), abs=0.08)
    assert accuracy > 0.7 and found.interval("held_out_accuracy")[0] > 0.5 and found.values["ratio"] is None
    # emotions that nothing shows are told by chance
    nothing = ceiling(Features.of(split.images, rows_of(split, 0.0)).rows, split, subjects)
    assert nothing.values["held_out_accuracy"] < 0.35
    assert ceiling(rows, replace(split, splits=["train"] * len(split)), subjects) is None
    assert ceiling(rows, replace(split, emotions=["HA"] * len(split)), subjects) is None


def test_every_method_on_every_fold():
    folds = {fold: ring(actors=9, fold=fold) for fold in (0, 1)}
    rows = {name: Features.of(folds[0].images, rows_of(folds[0], 1.0)) for name in ("pixels", "conv3")}
    made = baselines(rows, folds, None, Weights.draw(folds[0].subjects, "subjects"))
    assert len(made) == 2 * (3 + 4) and {b.fold for b in made} == {0, 1}
    assert [b.method for b in made if b.features == "conv3" and b.fold == 0] == [PCA, METRIC, NONMETRIC, CEILING]
    for b in made:
        assert (b.measured.values["held_out_accuracy"] is None) == (b.method in (METRIC, NONMETRIC))
        assert (b.measured.values["ratio"] is None) == (b.method == CEILING)
    means = accuracies(made)
    assert list(means) == ["linear discriminant of conv3 told the emotions", "PCA of pixels", "PCA of conv3"]
    ceilings = [b.measured.values["held_out_accuracy"] for b in made if b.method == CEILING]
    assert next(iter(means.values())) == pytest.approx(np.mean(ceilings))


@pytest.mark.parametrize("count", [1, 2])
def test_next_to_nothing_to_fit(count):
    split = ring(order=("HA", "SP"), actors=3, each=1)
    rows = np.zeros((6, 4))
    rows[:, :count] = np.random.default_rng(0).normal(size=(6, count))
    assert maps(rows, split) == {}  # two training images
    three = replace(split, splits=["train"] * 6)
    assert (maps(rows, three) == {}) == (count == 1)


def test_features_of_a_run(own_run):
    found, notes = features_of(own_run)
    assert not notes and list(found) == ["pixels", "conv3"]
    names = [e.image for e in open_store(own_run / "pairs").index.entries]
    assert all(f.images == names and f.rows.shape[1] <= len(names) for f in found.values())
    assert not np.allclose(pdist(found["pixels"].rows), pdist(found["conv3"].rows))
    known = found["conv3"].rows
    (own_run / "weights/init.caffemodel").unlink()
    found, notes = features_of(own_run)
    assert list(found) == ["pixels"] and "no baselines of conv3: " in notes[0] and "init.caffemodel" in notes[0]
    # where the cells' own features are kept, no weights are needed
    kept = own_run / "multiverse/features/scale_0.00390625/features.npy"
    kept.parent.mkdir(parents=True)
    np.save(kept, known.astype(np.float32))
    found, notes = features_of(own_run)
    assert not notes
    np.testing.assert_allclose(pdist(found["conv3"].rows), pdist(known), rtol=1e-4)
    for wrong in (known[1:], known.astype(int)):
        np.save(kept, wrong)
        assert "features.npy: expected features of 48 images" in features_of(own_run)[1][0]
    kept.write_bytes(b"no array")
    assert "features.npy: expected features of the images" in features_of(own_run)[1][0]
    found, notes = features_of(own_run / "nowhere")
    assert not found and "no baselines of pixels and conv3" in notes[0]
