"""How often the paper's order appears: stage 1 trained anew from several seeds.

A seed decides the starting weights of the new layers and the dropout masks; conv1-3, subjects, pairs and
their order stay the run's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from siamplex.durable import discard, sha256
from siamplex.embedding import Embedding, embed, read_embedding, write_embedding
from siamplex.emotions import NAMES
from siamplex.errors import InputError
from siamplex.geometry import (
    LINE,
    centroids,
    circular_order,
    line_order,
    linear_accuracy,
    nearest_centroid,
    on_a_line,
    order_agreement,
    ordered,
    singular_ratio,
)
from siamplex.output_names import without
from siamplex.progress import say
from siamplex.similarity.circle import fit_maps
from siamplex.similarity.compare import spearman
from siamplex.similarity.overlap import overlaps
from siamplex.similarity.patterns import of_embedding
from siamplex.similarity.report import OVERLAPPING


@dataclass(frozen=True)
class SeedPlan:
    """Where the run lies that is repeated, and with what.

    ``solver`` and ``deploy`` are the run's; ``weights`` further files its net needs (the image table).
    """

    run: Path
    solver: Path
    deploy: Path
    pairs: Path
    weights: tuple[Path, ...]
    alexnet: Path | None
    device: str
    keep: bool
    accept_other: bool = False


def train_seed(plan: SeedPlan, seed: int) -> Embedding:
    """Train stage 1 from ``seed``, or read what an earlier call left; snapshots go once embedded."""
    from siamplex.engine.solver import Solver, TrainOptions
    from siamplex.pairs.build import open_store
    from siamplex.weights.initial import write_initial

    folder = plan.run / "seeds" / str(seed)
    target, origin = folder / "stage1.npz", _origin(plan, seed)
    if target.exists():
        known = read_embedding(target)
        if known.facts.get("origin") == origin:
            say(f"seed {seed}: as it was")
            return known
    initial = write_initial(plan.deploy, folder / "init.caffemodel", plan.alexnet, seed, plan.accept_other)
    options = TrainOptions(
        weights=(initial.path, *plan.weights), resume=True, device=plan.device, seed=seed,
        snapshot_prefix=str(folder / "stage1" / "snap"), lean=True, keep_states=1, unfilled_option="",
    )  # fmt: skip
    solver = Solver(plan.solver, options)
    if not solver.finished:
        solver.solve()
    last = Path(f"{solver.prefix}_iter_{solver.iteration}.caffemodel")
    store = open_store(plan.pairs)
    found = embed(store, plan.pairs, plan.deploy, last, "fc6", 16, plan.device)
    found.facts["origin"], found.facts["seed"] = origin, seed
    write_embedding(found, without(target, ".npz"))
    if not plan.keep:
        shutil.rmtree(folder / "stage1")
        discard(initial.path)
    return found


def _origin(plan: SeedPlan, seed: int) -> dict[str, str]:
    files = {"solver": plan.solver, "deploy": plan.deploy, "pairs": plan.pairs / "pairs.json"}
    if plan.alexnet:
        files["alexnet"] = plan.alexnet
    return {"seed": str(seed), **{name: sha256(path) for name, path in files.items()}}


def describe_seeds(embeddings: Sequence[Embedding]) -> dict[str, Any]:
    """What the seeds have in common: order, accuracy, overlap, and how alike their maps are.

    Seeds whose emotions lie on a line have no circular order: they are counted apart, as ``lines``, and no share,
    chance or p is claimed of them; nor of fewer than four of the paper's emotions.
    Raises InputError where training subjects lack an emotion or an embedding is not two-dimensional.
    """
    each = [_one(e) for e in embeddings]
    circles = [e for e in each if e["agrees"] is not None]
    known = order_agreement(ordered({e for embedding in embeddings for e in embedding.emotions}))
    result: dict[str, Any] = {"seeds": each, "count": len(each), "lines": sum(bool(e["line"]) for e in each)}
    for name, wanted, chance in (
        ("agrees", "the paper's order", known.chance_one),
        ("agrees_either", "either order", known.chance_either),
    ):
        if not circles or chance is None:
            result[name] = None
            continue
        hits = sum(bool(e[name]) for e in circles)
        test = binomtest(hits, len(circles), float(chance), alternative="greater")
        between = binomtest(hits, len(circles)).proportion_ci(0.95, method="exact")
        result[name] = {
            "what": wanted, "of": len(circles), "hits": hits, "share": hits / len(circles),
            "chance": float(chance), "p": float(test.pvalue),
            "interval": [float(between.low), float(between.high)],
        }  # fmt: skip
    result["alike"] = _alike(embeddings)
    return result


def _one(embedding: Embedding) -> dict[str, Any]:
    train, test = embedding.of_split("train"), embedding.of_split("val", "test")
    centres = centroids(train.points, train.emotions)
    if len(centres) < len(set(embedding.emotions)) or len(centres) < 2 or train.points.shape[1] != 2:
        raise InputError(str(embedding.facts.get("weights")), "all emotions in two dimensions", "fewer")
    line = len(centres) > 2 and on_a_line(centres)
    order = order_agreement(circular_order(centres)) if len(centres) > 2 and not line else None
    rank = {frozenset(o.emotions): o for o in overlaps(train, count=0)}
    found: dict[str, Any] = {
        "seed": embedding.facts.get("seed"), "ratio": singular_ratio(np.array(list(centres.values()))), "line": line,
        "order": list(order.order if order else line_order(centres)),
        "agrees": order.agrees if order else None,
        "agrees_either": order.agrees_either if order else None,
        "overlap": {"-".join(c): rank[frozenset(c)].overlap for c in OVERLAPPING if frozenset(c) in rank},
        "overlap_rank": {"-".join(c): rank[frozenset(c)].rank for c in OVERLAPPING if frozenset(c) in rank},
    }  # fmt: skip
    if len(test):
        found["nearest_centroid"] = nearest_centroid(train, test).accuracy
        found["linear"] = linear_accuracy(train, test)
    return found


def _alike(embeddings: Sequence[Embedding]) -> dict[str, float]:
    """Between each two seeds: rank correlation of the dissimilarities, Procrustes distance of the means."""
    if len(embeddings) < 2:
        return {}
    trains = [e.of_split("train") for e in embeddings]
    names = ordered(set(trains[0].emotions))
    if len(names) < 3:
        return {}
    rdms = [of_embedding(t).rdm() for t in trains]
    maps = [np.array([centroids(t.points, t.emotions)[e] for e in names]) for t in trains]
    rho, fits = [], []
    for i, j in combinations(range(len(trains)), 2):
        one, other = rdms[i], rdms[j]
        assert one is not None and other is not None
        rho.append(float(spearman(one.upper(), other.upper())[0]))
        fits.append(fit_maps(maps[i], maps[j]).disparity)
    return {"spearman_mean": float(np.mean(rho)), "spearman_least": float(np.min(rho)),
            "procrustes_mean": float(np.mean(fits)), "procrustes_most": float(np.max(fits))}  # fmt: skip


def as_text(result: dict[str, Any]) -> str:
    """A line a seed, then what they have in common."""
    orders = ["-".join(NAMES[x] for x in e["order"]) for e in result["seeds"]]
    wide = max([52, *(len(order) + 3 for order in orders)])
    lines = [f"{'seed':>6}  {'order':<{wide}}{'ratio':>7}{'held-out':>9}{'linear':>8}{'SP-FE':>8}{'AN-DI':>8}"]
    for e, order in zip(result["seeds"], orders, strict=True):
        order += " |" if e["line"] else " *" if e["agrees_either"] else ""
        shares = [f"{e[k]:.0%}" if k in e else "-" for k in ("nearest_centroid", "linear")]
        laps = [f"{e['overlap'][k]:.2f}" if k in e["overlap"] else "-" for k in ("SP-FE", "AN-DI")]
        lines.append(
            f"{e['seed']!s:>6}  {order:<{wide}}{e['ratio']:>7.2f}{shares[0]:>9}{shares[1]:>8}{laps[0]:>8}{laps[1]:>8}"
        )
    if result["lines"]:
        lines.append(
            f"| on a line (ratio of the centroids' singular values below {LINE:g}), which has no circular order: "
            f"{result['lines']} of {result['count']} seeds, left out below"
        )
    for name in ("agrees", "agrees_either"):
        found = result[name]
        if found is None:
            continue
        low, high = found["interval"]
        lines.append(
            f"{found['what']}: {found['hits']} of {found['of']} seeds, 95 % [{low:.0%}, {high:.0%}], "
            f"chance {found['chance']:.1%} (p {found['p']:.3g})"
        )
    alike = result["alike"]
    if alike:
        lines.append(
            f"between seeds: Spearman of dissimilarities {alike['spearman_mean']:+.2f} on average, "
            f"{alike['spearman_least']:+.2f} at least; Procrustes distance {alike['procrustes_mean']:.2f}, "
            f"{alike['procrustes_most']:.2f} at most"
        )
    return "\n".join(lines)
