"""Made-up judgements of pictures whose answer is known."""

from __future__ import annotations

import csv
import json
import time
import warnings

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from siamplex.cli import main
from siamplex.embedding import Embedding, write_embedding
from siamplex.geometry import PAPER_ORDER
from siamplex.images import read_picture
from siamplex.randomness import numpy_stream
from siamplex.similarity import picture_distances
from siamplex.similarity.misplaced import NONE, favourites, misplaced
from siamplex.similarity.neighbours import neighbour_shares
from siamplex.similarity.noise_ceiling import ceiling, halves_agree, most_untied
from siamplex.similarity.picture_confusions import by_emotion, by_picture
from siamplex.similarity.picture_distances import distances
from siamplex.similarity.picture_report import PictureJudgements, as_table, misplaced_line
from siamplex.similarity.picture_table import read_picture_table
from siamplex.similarity.report import as_text, describe
from siamplex.similarity.responses import Responses, profile_distances
from siamplex.similarity.shuffles import SHUFFLES, within

CIRCLE = np.array([[np.cos(a), np.sin(a)] for a in np.arange(6) * np.pi / 3])


def chances(points: np.ndarray) -> np.ndarray:
    """What raters who see the plane would answer: shares (N, 6), by nearness to each emotion's place."""
    gaps = ((points[:, None] - CIRCLE[None]) ** 2).sum(axis=2)
    weights = np.exp(-2 * gaps)
    return weights / weights.sum(axis=1, keepdims=True)


def answered(shares: np.ndarray, raters: int, seed: int = 0) -> Responses:
    """Each of some raters answers to each picture by its shares (N, K)."""
    stream = np.random.default_rng(seed)
    count = len(shares)
    answer = np.array([stream.choice(shares.shape[1], raters, p=row) for row in shares]).ravel()
    image, rater = np.repeat(np.arange(count), raters), np.tile(np.arange(raters), count)
    return Responses(count, PAPER_ORDER, image, answer, rater, np.ones(len(image)), raters)


def shuffled(responses: Responses, seed: int = 1) -> Responses:
    """The same answers, to other pictures."""
    order = np.random.default_rng(seed).permutation(responses.count)
    return Responses(responses.count, responses.answers, order[responses.image], responses.answer, responses.rater,
                     responses.amount, responses.raters)  # fmt: skip


def held(embedding: Embedding, responses: Responses):
    return distances(embedding.points, responses, embedding.subjects, embedding.emotions, 0)


def table_of(path, embedding: Embedding, responses: Responses, names=None) -> None:
    names = names or embedding.images
    rows = [f"{names[i]},{responses.answers[a]},r{r}"
            for i, a, r in zip(responses.image, responses.answer, responses.rater, strict=True)]  # fmt: skip
    path.write_text("\n".join(["image,response,rater", *rows]) + "\n")


# --- distances


def test_raters_who_see_the_plane_agree_with_it(ring):
    embedding = ring(noise=0.4)
    found = held(embedding, answered(chances(embedding.points), 40))
    assert found.spearman > 0.6 and found.p_within == 1 / SHUFFLES
    assert found.mean_within < found.spearman - 0.1  # single pictures, beyond their emotions
    assert found.emotions.spearman > 0.8 and found.emotions.p < 0.02
    low, high = found.interval
    assert low < found.spearman < high and high - low < 0.3
    assert found.images == 96 and found.subjects == 8 and found.pairs == 96 * 95 // 2 and found.drawn_of is None


def test_shuffled_judgements_give_none(ring):
    embedding = ring(noise=0.4)
    found = held(embedding, shuffled(answered(chances(embedding.points), 40)))
    assert abs(found.spearman) < 0.1 and found.p_within > 0.05 and found.emotions.p > 0.05


def test_emotions_alone_are_not_taken_for_pictures(ring, monkeypatch):
    """Every picture of an emotion draws like answers: the emotions agree, and p over many such corpora is even."""
    monkeypatch.setattr(picture_distances, "BOOTSTRAPS", 0)
    monkeypatch.setattr(picture_distances, "ceiling", lambda *a: None)
    monkeypatch.setattr("siamplex.similarity.shuffles.SHUFFLES", 100)
    every = []
    for seed in range(40):
        embedding = ring(noise=0.3, actors=5, seed=seed)
        by_label = chances(CIRCLE)[[PAPER_ORDER.index(e) for e in embedding.emotions]]
        found = held(embedding, answered(by_label, 20, seed=100 + seed))
        assert found.spearman > 0.5 and found.emotions.p <= 0.05  # an even circle allows no less than 12/720
        every.append((found.p_within, found.spearman - found.mean_within))
    p, more = np.array(every).T
    assert abs(more.mean()) < 0.01 and 0.3 < p.mean() < 0.7 and (p <= 0.05).sum() <= 7


def test_the_same_profiles_leave_nothing_to_shuffle(ring):
    embedding = ring(noise=0.3)
    labels = np.array([PAPER_ORDER.index(e) for e in embedding.emotions])
    unanimous = Responses(len(labels), PAPER_ORDER, np.arange(len(labels)), labels, np.zeros(len(labels), np.int64),
                          np.ones(len(labels)), 0)  # fmt: skip
    found = held(embedding, unanimous)
    assert found.p_within == 1 and found.mean_within == pytest.approx(found.spearman, abs=1e-4)
    assert found.ceiling is None  # nobody said who answered


def test_spearman_is_scipys(ring):
    embedding = ring(noise=0.5)
    responses = answered(chances(embedding.points), 12)
    ours = held(embedding, responses).spearman
    profiles = profile_distances(responses.totals())[np.triu_indices(responses.count, 1)]
    assert ours == pytest.approx(spearmanr(pdist(embedding.points.astype(np.float64)), profiles).statistic, abs=1e-9)


def resampled_by_hand(embedding: Embedding, responses: Responses, times: np.ndarray) -> float:
    """Spearman's rho of all pairs of different pictures, each as often as its subjects were drawn."""
    who = np.unique(embedding.subjects, return_inverse=True)[1]
    first, second = np.triu_indices(len(who), 1)
    often = (times[who[first]] * times[who[second]]).astype(int)
    plane = pdist(embedding.points.astype(np.float64))
    people = profile_distances(responses.totals())[first, second]
    return float(spearmanr(np.repeat(plane, often), np.repeat(people, often)).statistic)


def test_intervals_are_those_of_pairs_counted_by_hand(ring, monkeypatch):
    embedding = ring(noise=0.5, actors=5, each=1)
    responses = answered(chances(embedding.points), 12)
    monkeypatch.setattr(picture_distances, "BOOTSTRAPS", 120)
    monkeypatch.setattr(picture_distances, "_BINS", 10**6)  # all ranks, exactly
    exact = held(embedding, responses).interval
    stream = numpy_stream(0, "pictures: subjects")
    values = [resampled_by_hand(embedding, responses, np.bincount(d, minlength=5))
              for _ in range(2) for d in stream.integers(0, 5, (64 if _ == 0 else 56, 5))]  # fmt: skip
    np.testing.assert_allclose(exact, np.quantile(values, [0.025, 0.975]), atol=1e-9)
    monkeypatch.setattr(picture_distances, "_BINS", 64)
    np.testing.assert_allclose(held(embedding, responses).interval, exact, atol=0.01)


def test_one_subject_has_no_interval_and_few_pictures_nothing(ring):
    embedding = ring(noise=0.4, actors=1, each=3)
    found = held(embedding, answered(chances(embedding.points), 10))
    assert found.interval is None and found.subjects == 1
    two = ring(noise=0.4, actors=2, each=3)
    assert held(two, answered(chances(two.points), 10)).interval is not None
    few = answered(chances(embedding.points[:3]), 10)
    assert distances(embedding.points[:3], few, ["a", "b", "c"], ["HA", "SA", "AN"], 0) is None


def test_a_collapsed_embedding_agrees_with_nothing(ring):
    embedding = ring(noise=0.4)
    embedding.points[:] = 1
    found = held(embedding, answered(chances(ring(noise=0.4).points), 10))
    assert found.spearman == 0 and found.p_within == 1


def test_of_many_pictures_some_are_drawn(ring, monkeypatch):
    monkeypatch.setattr(picture_distances, "MOST", 50)
    embedding = ring(noise=0.4)
    found = held(embedding, answered(chances(embedding.points), 40))
    assert (found.images, found.drawn_of) == (50, 96) and found.spearman > 0.5


def test_profiles_do_not_ask_for_shares_counts_or_ratings():
    shares = np.random.default_rng(0).dirichlet(np.ones(6), 20)
    one = profile_distances(shares)
    np.testing.assert_allclose(one, profile_distances(shares * np.arange(1, 21)[:, None] + 3), atol=1e-8)
    same = profile_distances(np.array([[0, 3, 1], [0, 30, 10], [2, 2, 2]], np.float64))
    assert same[0, 1] == 0 and same[0, 2] == 1


def test_shuffles_stay_within_their_emotion():
    labels = np.array([0, 1, 0, 2, 1, 0])
    orders = list(within(labels, 0, "x"))
    assert len(orders) == SHUFFLES and orders[0].tolist() == list(range(6))
    assert all((labels[o] == labels).all() and sorted(o) == list(range(6)) for o in orders)
    assert len({tuple(o) for o in orders}) == 12  # 3! 2! 1!


# --- noise ceiling


@pytest.mark.parametrize("raters", [6, 24])
@pytest.mark.parametrize("noise", [0.2, 0.6])
@pytest.mark.parametrize("sure", [1, 2, 6])  # the last: nearly unanimous, so that most distances tie
def test_the_ceiling_is_what_distances_without_noise_reach(ring, raters, noise, sure):
    shares = chances(ring(noise=noise).points) ** sure
    shares /= shares.sum(axis=1, keepdims=True)
    responses = answered(shares, raters, seed=3)
    found = ceiling(responses, 0)
    truth, seen = (d[np.triu_indices(len(shares), 1)] for d in map(profile_distances, (shares, responses.totals())))
    assert found.highest == pytest.approx(spearmanr(truth, seen).statistic, abs=0.06)
    assert found.halves < found.reliability and found.highest <= found.untied <= 1 and found.raters == raters


def test_ties_allow_no_more():
    values = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3.0])
    order = np.argsort(values, kind="stable")
    untied = np.empty(10)
    untied[order] = np.arange(10)
    assert most_untied(values) == pytest.approx(spearmanr(untied, values).statistic)
    assert most_untied(np.arange(5.0)) == 1 and most_untied(np.zeros(5)) == 0


def test_raters_who_guess_have_no_ceiling_to_speak_of(ring):
    found = ceiling(answered(np.full((96, 6), 1 / 6), 20), 0)
    assert abs(found.halves) < 0.1 and found.highest < 0.4


def test_no_ceiling_of_one_rater_or_of_raters_with_no_picture_in_common(ring):
    shares = np.full((12, 6), 1 / 6)
    assert ceiling(answered(shares, 1), 0) is None
    two = answered(shares, 2)
    mine = (two.image % 2) == two.rater
    apart = Responses(12, PAPER_ORDER, two.image[mine], two.answer[mine], two.rater[mine], two.amount[mine], 2)
    assert ceiling(apart, 0) is None


def test_rsatoolbox_agrees(ring):
    """Distances of the profiles of two halves of the raters, and how the halves agree."""
    responses = answered(chances(ring(noise=0.5).points), 20)
    half = np.arange(20) < 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rsatoolbox = pytest.importorskip("rsatoolbox")
        rdms = [
            rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(responses.totals(h)), method="correlation")
            for h in (half, ~half)
        ]
        rho = float(rsatoolbox.rdm.compare(*rdms, method="spearman")[0, 0])
    ours = profile_distances(responses.totals(half))[np.triu_indices(responses.count, 1)]
    np.testing.assert_allclose(ours, rdms[0].dissimilarities[0], atol=1e-8)
    assert halves_agree(responses, half) == pytest.approx(rho, abs=2e-3)  # theirs tells equal profiles by rounding


# --- confusions


def test_neighbours_by_hand():
    points = np.array([[0.0], [1], [3], [3], [10]])
    labels = np.array([0, 0, 1, 1, 1])
    found = neighbour_shares(points, labels, 2, 1)
    assert found.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]]
    two = neighbour_shares(points, labels, 2, 2)
    # of the first: 1 of the 1 other of its label; 3 and 3 are as near, 2 of 3
    np.testing.assert_allclose(two[0], [1 / (1 + 2 / 3), (2 / 3) / (1 + 2 / 3)])
    np.testing.assert_allclose(neighbour_shares(points, labels, 2, 99), np.full((5, 2), 0.5))


def test_frequent_emotions_are_not_favoured():
    stream = np.random.default_rng(0)
    labels = np.repeat([0, 1], [900, 100])
    found = neighbour_shares(stream.normal(size=(1000, 2)), labels, 2, 40)
    np.testing.assert_allclose(found.mean(axis=0), [0.5, 0.5], atol=0.05)


def test_predicted_confusions_are_peoples_where_raters_see_the_plane(ring):
    embedding = ring(noise=0.5, actors=20)
    shown = np.array([PAPER_ORDER.index(e) for e in embedding.emotions])
    predicted = neighbour_shares(embedding.points, shown, 6, 10)
    people = answered(chances(embedding.points), 30).shares(PAPER_ORDER)
    found = by_emotion(predicted, people, shown, PAPER_ORDER)
    assert found.spearman > 0.7 and found.p <= 12 / 720
    np.testing.assert_allclose(np.sum(found.people, axis=1), 1)
    single = by_picture(predicted, people, shown, 0)
    assert single.overlap_p == 1 / SHUFFLES and single.doubt_p == 1 / SHUFFLES
    assert single.overlap > single.overlap_within + 0.05 and single.doubt > 0.3 > abs(single.doubt_within)
    order = list(within(shown, 9, "other"))[5]
    guess = by_picture(predicted, people[order], shown, 0)
    assert guess.overlap_p > 0.01 and guess.doubt_p > 0.01 and abs(guess.doubt - guess.doubt_within) < 0.3


def test_shares_of_pictures_that_nobody_called_an_emotion():
    responses = Responses(2, ("other", "HA"), np.array([0, 1]), np.array([0, 1]), np.zeros(2, np.int64), np.ones(2), 0)
    assert responses.shares(PAPER_ORDER).tolist() == [[0] * 6, [1, 0, 0, 0, 0, 0]]


# --- misplaced


def test_a_planted_picture_is_found(ring, tmp_path):
    """A face labelled happiness that lies among the sad ones and that all raters call sad."""
    embedding = ring(noise=0.15)
    at = embedding.emotions.index("HA")
    embedding.points[at] = CIRCLE[PAPER_ORDER.index("SA")]
    responses = answered(chances(embedding.points), 25)
    path = tmp_path / "people.csv"
    table_of(path, embedding, responses)
    judged = PictureJudgements.of(read_picture_table(path), embedding, tmp_path / "e.npz")
    found = describe(embedding, pictures=judged)["parts"]["train"]["pictures"]["misplaced"]
    row = found["pictures"][0]
    assert (row["image"], row["posed"], row["people"]) == (embedding.images[at], "HA", "SA")
    assert row["people_share"] > 0.5 and row["net_share"] > 0.9
    assert found["with_people"] == 1 == found["differ"] and found["p"] < 0.15 and found["expected"] < 0.2


def test_counts_and_chance_of_misplaced_pictures():
    shown = np.repeat(np.arange(3), 20)
    people, net = shown.copy(), shown.copy()
    people[:6] = net[:6] = 1  # together
    people[20:22] = 2  # the net keeps the posed one
    people[40], net[40] = 0, 1  # elsewhere
    people[41] = NONE
    found = misplaced(net, people, shown, 0)
    assert (found.differ, found.with_people, found.with_posed, found.elsewhere, found.undecided) == (9, 6, 2, 1, 1)
    assert found.expected == pytest.approx(6 * 6 / 20, abs=0.15) and found.p == 1 / SHUFFLES
    assert found.at == list(range(6))
    assert "9 pictures taken by people" in misplaced_line(vars(found))
    none = misplaced(net, shown, shown, 0)
    assert none.differ == 0 and none.p == 1 and "wherever there is one" in misplaced_line(vars(none))


def test_a_tie_has_no_favourite():
    assert favourites(np.array([[0.4, 0.4, 0.2], [0.3, 0.3, 0.4], [0, 0, 0]])).tolist() == [NONE, 2, NONE]


# --- the whole


@pytest.fixture
def split_ring(ring):
    """Twelve actors, four of them held out."""
    whole = ring(noise=0.35, actors=12)
    held_out = {"08": "val", "09": "test", "10": "test", "11": "test"}
    return Embedding(whole.points, whole.images, whole.subjects, whole.emotions,
                     [held_out.get(s, "train") for s in whole.subjects], {"blob": "fc6", "notes": []})  # fmt: skip


def test_the_command_writes_prints_and_draws(split_ring, tmp_path, capsys):
    write_embedding(split_ring, tmp_path / "e")
    path, out = tmp_path / "people.csv", tmp_path / "out/s"
    table_of(path, split_ring, answered(chances(split_ring.points), 20), [f"set/{n}.png" for n in split_ring.images])
    with path.open("a") as file:
        file.write("set/unknown.png,happy,r0\n")
    assert main(["similarity", str(tmp_path / "e.npz"), "--human", str(path), "--neighbours", "7", "--out",
                 f"{out}.json"]) == 0  # fmt: skip
    text = capsys.readouterr().out
    for said in ("answers of 20 raters", "1 of 145 pictures", "set/unknown.png", "pictures against pictures: 96",
                 "pictures against pictures: 48", "noise ceiling", "7 nearest pictures", "by picture",
                 "fc6     people"):  # fmt: skip
        assert said in text
    content = json.loads((tmp_path / "out/s.json").read_text())
    assert content["human"]["kind"] == "pictures" and content["human"]["pictures"]["format"] == 1
    assert content["human"]["rdm"]["names"] == list(PAPER_ORDER) and "people" in content["references"]
    for name, count in (("train", 96), ("held_out", 48)):
        found = content["parts"][name]["pictures"]
        assert found["format"] == 1 and found["images"] == count and found["distances"]["spearman"] > 0.5
        assert found["confusions"]["k"] == 7 and len(found["each"]["net"]) == count
        assert content["parts"][name]["agreements"] and content["parts"][name]["circle"]
    for ending in ("distances", "confusions", "answers"):
        assert read_picture(tmp_path / f"out/s_{ending}.png").std() > 5
        assert (tmp_path / f"out/s_{ending}.svg").exists()
    rows = list(csv.DictReader((tmp_path / "out/s_pictures.csv").open()))
    assert len(rows) == 144 and sum(float(rows[0][f"people_{e}"]) for e in PAPER_ORDER) == pytest.approx(1, abs=1e-5)


def test_held_out_pictures_are_held_against_their_own(split_ring, tmp_path):
    """Judgements of the held-out pictures alone: nothing is said of the others, and no neighbour is a training one."""
    part = [i for i, s in enumerate(split_ring.splits) if s != "train"]
    responses = answered(chances(split_ring.points), 20)
    mine = np.isin(responses.image, part)
    kept = Responses(responses.count, responses.answers, responses.image[mine], responses.answer[mine],
                     responses.rater[mine], responses.amount[mine], responses.raters)  # fmt: skip
    path = tmp_path / "people.csv"
    table_of(path, split_ring, kept)
    judged = PictureJudgements.of(read_picture_table(path), split_ring, tmp_path / "e.npz", k=5)
    result = describe(split_ring, pictures=judged)
    assert result["parts"]["train"]["pictures"] == {}
    assert "pictures: fewer than 4 were judged" in as_text(result)
    shown = np.array([PAPER_ORDER.index(split_ring.emotions[i]) for i in part])
    np.testing.assert_allclose(
        result["parts"]["held_out"]["pictures"]["each"]["net"],
        neighbour_shares(split_ring.points[part], shown, 6, 5), atol=1e-6,
    )  # fmt: skip
    assert as_table({n: p["pictures"] for n, p in result["parts"].items()}).count("\n") == 1 + len(part)


def test_a_matrix_is_as_before(ring, tmp_path, capsys):
    write_embedding(ring(), tmp_path / "e")
    path = tmp_path / "m.csv"
    rows = [f"{e},{','.join('9' if i == j else '1' for j in range(6))}" for i, e in enumerate(PAPER_ORDER)]
    path.write_text("\n".join([f",{','.join(PAPER_ORDER)}", *rows]))
    assert main(["similarity", str(tmp_path / "e.npz"), "--human", str(path), "--kind", "confusion", "--out",
                 str(tmp_path / "s.json")]) == 0  # fmt: skip
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["human"]["kind"] == "confusion" and "pictures" not in content["parts"]["train"]
    assert not list(tmp_path.glob("s_*"))


def test_an_emotion_without_judged_pictures_leaves_no_matrix(ring, tmp_path, capsys):
    embedding = ring(noise=0.4)
    write_embedding(embedding, tmp_path / "e")
    path = tmp_path / "people.csv"
    responses = answered(chances(embedding.points), 9)
    mine = np.array([embedding.emotions[i] != "SP" for i in responses.image])
    kept = Responses(responses.count, responses.answers, responses.image[mine], responses.answer[mine],
                     responses.rater[mine], responses.amount[mine], responses.raters)  # fmt: skip
    table_of(path, embedding, kept)
    assert main(["similarity", str(tmp_path / "e.npz"), "--human", str(path), "--out", str(tmp_path / "s")]) == 0
    out = capsys.readouterr().out
    assert "no matrix of emotions" in out and "fc6     people" not in out and "pictures against pictures: 80" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,response\nnobody,happy\n", "expected pictures of the embedding, such as 'i0', found none of 1"),
        ("image,response\ni0,hapy\n", "people.csv line 2: expected an emotion"),
        ("image,HA,SA\ni0,1,2\ni1,1\n", "people.csv line 3: expected numbers"),
    ],
)
def test_nothing_is_written_of_a_table_that_is_refused(ring, tmp_path, capsys, text, said):
    write_embedding(ring(), tmp_path / "e")
    path = tmp_path / "people.csv"
    path.write_text(text)
    assert main(["similarity", str(tmp_path / "e.npz"), "--human", str(path), "--out", str(tmp_path / "s")]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error and not list(tmp_path.glob("s*"))


def test_a_map_of_judged_pictures(ring, tmp_path, capsys):
    embedding = ring(noise=0.3)
    write_embedding(embedding, tmp_path / "e")
    path = tmp_path / "people.csv"
    table_of(path, embedding, answered(chances(embedding.points), 30))
    assert main(["mds", str(path), "--embedding", str(tmp_path / "e.npz"), "--out", str(tmp_path / "map")]) == 0
    assert "Procrustes" in capsys.readouterr().out
    assert json.loads((tmp_path / "map.json").read_text())["names"] == list(PAPER_ORDER)
    assert main(["mds", str(path), "--out", str(tmp_path / "other")]) == 2
    assert "need --embedding" in capsys.readouterr().err and not list(tmp_path.glob("other*"))


@pytest.mark.slow
def test_two_thousand_pictures_within_a_minute(ring):
    embedding = ring(noise=0.4, actors=40, each=8)
    again = [*range(1920), *range(80)]
    points = embedding.points[again] + np.where(np.arange(2000)[:, None] < 1920, 0, 0.01).astype(np.float32)
    subjects, emotions = ([values[i] for i in again] for values in (embedding.subjects, embedding.emotions))
    big = Embedding(points, [f"i{k}" for k in range(2000)], subjects, emotions, ["train"] * 2000, {})
    responses = answered(chances(big.points), 30)
    began = time.process_time()
    found = held(big, responses)
    shown = np.array([PAPER_ORDER.index(e) for e in big.emotions])
    by_picture(neighbour_shares(big.points, shown, 6, 10), responses.shares(PAPER_ORDER), shown, 0)
    assert time.process_time() - began < 60
    assert found.images == 2000 and found.spearman > 0.5
