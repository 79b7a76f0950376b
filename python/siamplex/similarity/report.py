"""The report on an embedding's similarity structure, as JSON and as text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from math import factorial
from typing import Any

import numpy as np

from siamplex.corpus.emotions import NAMES, named
from siamplex.errors import UsageError
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import PAPER_ORDER, centroids, ordered, paper_order
from siamplex.geometry.report import NOTHING_TO_COMPARE, on_line
from siamplex.similarity import actors
from siamplex.similarity.circle import circle, fit_maps
from siamplex.similarity.compare import agreement_with, resamples
from siamplex.similarity.matrices import Judgements
from siamplex.similarity.overlap import overlaps
from siamplex.similarity.patterns import Patterns, of_embedding
from siamplex.similarity.picture_report import PictureJudgements, about_table, as_lines, describe_part, table_lines
from siamplex.similarity.rdm import Rdm, of_action_units, of_circle

PARTS = {"train": ("train",), "held_out": ("val", "test")}
_CIRCLE = "the paper's circle"
OVERLAPPING = (("SP", "FE"), ("AN", "DI"))  # those the paper speaks of


def check_people(human: Judgements, emotions: Collection[str] = PAPER_ORDER) -> None:
    """Refuse judgements of anything but a run's ``emotions``, or those of the paper among them.  Raises UsageError."""
    if set(human.names) not in (set(emotions), set(paper_order(emotions))):
        raise UsageError(f"a human matrix needs {named(emotions)}, found {', '.join(human.names)}")


def describe(
    embedding: Embedding,
    layers: Sequence[Patterns] = (),
    human: Judgements | None = None,
    by: str = "profile",
    seed: int = 0,
    pictures: PictureJudgements | None = None,
) -> dict[str, Any]:
    """The structure shown by training subjects and, where there are any, by held-out ones.

    ``layers`` are patterns of all subjects.  ``human`` must have the same emotions; ``by`` says how it becomes
    distances (:meth:`Judgements.rdm`).  From ``pictures``, judged singly, a matrix of the emotions is made if every
    emotion has a judged picture.  Raises UsageError.
    """
    emotions = ordered(set(embedding.emotions))
    ours = paper_order(emotions)
    references = {"action units": of_action_units(ours), _CIRCLE: of_circle(ours)} if len(ours) > 2 else {}
    if len(ours) == 3:
        del references[_CIRCLE]  # three points on a circle are all as far from each other
    result: dict[str, Any] = {"facts": embedding.facts, "seed": seed, "emotions": list(emotions), "parts": {}}
    if pictures is not None:
        human = pictures.confusions(embedding)
        result["human"] = {"kind": "pictures", "rdm": {}, "pictures": about_table(pictures)}
        if human is None:
            result["human"]["pictures"]["notes"].append("not every emotion has a judged picture: no matrix of emotions")
    if human is not None:
        check_people(human, emotions)
        references = {"people": human.rdm(by), **references}
        result["human"] = {**result.get("human", {"kind": human.kind}), "rdm": _rdm(human.rdm(by))}
    result["references"] = {name: _rdm(rdm) for name, rdm in references.items()}
    for name, splits in PARTS.items():
        part = embedding.of_split(*splits)
        if set(part.emotions) >= set(emotions):
            own = [p.of_subjects(sorted(set(part.subjects))) for p in layers]
            result["parts"][name] = _part(part, own, references, seed)
            if pictures is not None:
                places = [i for i, split in enumerate(embedding.splits) if split in splits]
                result["parts"][name]["pictures"] = describe_part(embedding, places, pictures, seed)
    if not result["parts"]:
        raise UsageError("similarity needs all emotions among training or held-out subjects, found some in each")
    return result


def _rdm(rdm: Rdm | None) -> dict[str, Any]:
    return {"names": list(rdm.names), "values": rdm.values.tolist()} if rdm else {}


def _part(part: Embedding, layers: Sequence[Patterns], references: dict[str, Rdm], seed: int) -> dict[str, Any]:
    embedded = of_embedding(part)
    every = [*(p for p in layers if p.layer != embedded.layer), embedded]
    drawn = {p.layer: resamples(p, seed) for p in every}
    agreements = []
    for patterns in every:
        for name, reference in references.items():
            found = agreement_with(patterns, reference, drawn[patterns.layer])
            if found:
                agreements.append({"layer": patterns.layer, "reference": name, **asdict(found)})
    round_ = circle(part, drawn[embedded.layer], seed)
    line = bool(round_ and round_.line)
    for a in agreements:
        if line and a["layer"] == embedded.layer and a["reference"] == _CIRCLE:
            a["spearman_p"] = a["kendall_p"] = None  # a line has no circular order to be right by chance
    couples = overlaps(part, seed)
    everyone = actors.per_actor(part)
    fits = _fits(part, references)
    if line and _CIRCLE in fits:
        fits[_CIRCLE]["p"] = None
    return {
        "images": len(part),
        "subjects": len(set(part.subjects)),
        "rdms": {p.layer: {"method": p.method, **_rdm(p.rdm())} for p in every},
        "agreements": agreements,
        "circle": asdict(round_) if round_ else None,
        "overlaps": [asdict(c) for c in couples],
        "actors": {**actors.summary(everyone), "each": [asdict(a) for a in everyone]},
        "map_fits": fits,
    }


def _fits(part: Embedding, references: dict[str, Rdm]) -> dict[str, Any]:
    """Procrustes distance of the emotions' means to a map of each reference (classical scaling)."""
    from siamplex.similarity.mds import classical

    centres = centroids(part.points, part.emotions)
    if part.points.shape[1] != 2:
        return {}
    found = {}
    for name, rdm in references.items():
        names = [e for e in ordered(centres) if e in rdm.names]
        if len(names) > 2:
            found[name] = asdict(fit_maps(classical(rdm.of(names).values), np.array([centres[e] for e in names])))
    return found


def as_text(result: dict[str, Any]) -> str:
    """The answers in words and small tables."""
    lines = [f"Similarity structure of {result['facts'].get('weights', '?')}"]
    lines += [f"note: {note}" for note in result["facts"].get("notes", [])]
    about = result.get("human", {}).get("pictures")
    lines += table_lines(about) if about else []
    lines.append(f"p: share of {relabellings_of(result)} that agree as well; [..]: 95 %, subjects resampled 1000 times")
    for name, part in result["parts"].items():
        title = "training subjects" if name == "train" else "held-out subjects"
        alone = ", of whom no interval can be had" if part["subjects"] < 2 else ""
        lines += ["", f"{title}: {part['images']} images of {part['subjects']}{alone}"]
        lines += _agreement_lines(part["agreements"])
        lines += _circle_lines(part["circle"])
        lines += _overlap_lines(part["overlaps"], result.get("emotions", PAPER_ORDER))
        for reference, fit in part["map_fits"].items():
            p = "" if fit["p"] is None else f", p {fit['p']:.4f}"
            lines.append(f"  map of {reference}: Procrustes distance {fit['disparity']:.3f}{p}")
        a = part["actors"]
        if a["actors"]:
            lines.append(
                f"  {a['actors']} actors with all emotions, each against the others: rho {a['median']:+.2f} "
                f"(quartiles {a['lower_quartile']:+.2f} to {a['upper_quartile']:+.2f}), "
                f"{actors.order_counts(a)}"
            )
        lines += as_lines(part["pictures"]) if "pictures" in part else []
    return "\n".join(lines)


def relabellings_of(result: dict[str, Any]) -> str:
    """How many relabellings a permutation p is of, in words: of the emotions that the references have."""
    counts = {len(rdm["names"]) for rdm in result["references"].values()} or {len(result.get("emotions", PAPER_ORDER))}
    return "all " + " or ".join(f"{factorial(n):,}" for n in sorted(counts) if n <= 8) + " relabellings"


def _between(interval: Sequence[float] | None) -> str:
    return f"[{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else ""


def p_value(p: float | None) -> str:
    """A permutation p; a dash where none is claimed."""
    return "-" if p is None else f"{p:.4f}"


def _agreement_lines(agreements: Sequence[dict[str, Any]]) -> list[str]:
    if not agreements:
        return ["  fewer than three emotions that a reference knows: no agreement is measured"]
    lines = [f"  {'layer':<8}{'against':<20}{'Spearman':>9}  {'':<16}{'p':>7} {'Kendall':>8}  {'':<16}{'p':>7}"]
    for a in agreements:
        rho, tau = _between(a["spearman_interval"]), _between(a["kendall_interval"])
        lines.append(
            f"  {a['layer']:<8}{a['reference']:<20}{a['spearman']:>+9.2f}  {rho:<16}{p_value(a['spearman_p']):>7} "
            f"{a['kendall']:>+8.2f}  {tau:<16}{p_value(a['kendall_p']):>7}"
        )
    return lines


def _circle_lines(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    if found["line"]:
        return [f"  {on_line(found['order'])}"]
    order = "-".join(NAMES[e] for e in found["order"])
    if found["agrees_either"] is None:
        return [f"  circular order {order}: {NOTHING_TO_COMPARE}; centroids' singular values {found['ratio']:.2f}"]
    verdict = "the paper's" if found["agrees_either"] else "not the paper's"
    return [
        f"  circular order {order}: {verdict} (chance of either {found['chance_either']}); "
        f"{in_resamples(found['share_either'])}centroids' singular values {found['ratio']:.2f}"
    ]


def in_resamples(share: float | None) -> str:
    """How often resamples of subjects give the paper's order, in words; nothing where there are none."""
    return "" if share is None else f"the paper's in {share:.0%} of resamples; "


def _overlap_lines(overlaps: Sequence[dict[str, Any]], emotions: Collection[str]) -> list[str]:
    lines = []
    for couple in OVERLAPPING:
        if not set(couple) <= set(emotions):
            continue
        names = f"{NAMES[couple[0]]}/{NAMES[couple[1]]}"
        found = next((o for o in overlaps if set(o["emotions"]) == set(couple)), None)
        if found is None:
            lines.append(f"  {names}: too few images to speak of an overlap")
            continue
        spread = found["overlap_interval"]
        between = f" [{spread[0]:.2f}, {spread[1]:.2f}]" if spread else ""
        lines.append(
            f"  {names}: overlap {found['overlap']:.2f}{between}, d' {found['separation']:.2f}, "
            f"rank {found['rank']} of {len(overlaps)}"
        )
    return lines
