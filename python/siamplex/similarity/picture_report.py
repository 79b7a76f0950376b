"""Judgements of single pictures compared with an embedding: as JSON, as text, as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamplex.corpus.emotions import NAMES
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import ordered
from siamplex.similarity.matching import Matching, in_words, index_of, match
from siamplex.similarity.matrices import Judgements
from siamplex.similarity.misplaced import NONE, favourites, misplaced
from siamplex.similarity.neighbours import NEIGHBOURS, neighbour_shares
from siamplex.similarity.picture_confusions import by_emotion, by_picture
from siamplex.similarity.picture_distances import FEWEST, distances
from siamplex.similarity.picture_table import PictureTable
from siamplex.similarity.responses import Responses, emotion_confusions, responses_of

FORMAT = 1  # of what is written of pictures
_LISTED = 100  # unmatched pictures in the JSON
SHOWN = 10  # misplaced pictures in the text
_DIGITS = 6


@dataclass(frozen=True)
class PictureJudgements:
    """A table of judged pictures, matched to the images of one embedding.

    ``index``: whether paths could be looked up; ``k``: neighbours that confusions are predicted from.
    """

    table: PictureTable
    matching: Matching
    responses: Responses
    index: bool
    k: int

    @classmethod
    def of(
        cls, table: PictureTable, embedding: Embedding, file: Path, pairs: Path | None = None, k: int = NEIGHBOURS
    ) -> PictureJudgements:
        """Match a table to the embedding in ``file``.  Raises InputError."""
        index = index_of(embedding, file, pairs)
        matching = match(table.pictures, table.path, embedding.images, index)
        return cls(table, matching, responses_of(table, matching, len(embedding)), index is not None, k)

    def confusions(self, embedding: Embedding) -> Judgements | None:
        """The confusions of the emotions that follow; None where one has no judged picture."""
        return emotion_confusions(self.responses, embedding)


def about_table(judged: PictureJudgements) -> dict[str, Any]:
    """What kind of table it was, and what of it was used."""
    table, unmatched = judged.table, judged.matching.unmatched
    mask = judged.responses.judged()
    return {
        "format": FORMAT,
        "form": table.form,
        "values": table.values,
        "answers": list(table.answers),
        "raters": len(table.raters),
        "pictures": len(table.pictures),
        "matched": len(table.pictures) - len(unmatched),
        "by_path": judged.index,
        "unmatched": [{"picture": p, "why": why} for p, why in unmatched[:_LISTED]],
        "unmatched_count": len(unmatched),
        "images_judged": int(mask.sum()),
        "images_not_judged": int((~mask).sum()),
        "neighbours": judged.k,
        "notes": list(table.notes),
    }


def describe_part(embedding: Embedding, part: Sequence[int], judged: PictureJudgements, seed: int) -> dict[str, Any]:
    """All measures of picture judgements for some images of an embedding, given by their indices.

    Neighbours are those among the same images.  Empty where fewer than FEWEST of them were judged.
    """
    responses = judged.responses.of_images(part)
    labels = [embedding.emotions[i] for i in part]
    names = ordered(set(labels))
    shown = np.array([names.index(e) for e in labels], np.int64)
    mask = responses.judged()
    if mask.sum() < FEWEST:
        return {}
    points = embedding.points[list(part)]
    subjects = [embedding.subjects[i] for i in part]
    keep = np.flatnonzero(mask).tolist()
    against = distances(
        points[keep], responses.of_images(keep), [subjects[i] for i in keep], [labels[i] for i in keep], seed
    )
    predicted = neighbour_shares(points, shown, len(names), judged.k)
    people = responses.shares(names)
    answered = np.flatnonzero(people.sum(axis=1) > 0)
    others = tuple(a for a in responses.answers if a not in names)
    everything = responses.shares((*names, *others))
    return {
        "format": FORMAT,
        "images": len(keep),
        "distances": asdict(against) if against else None,
        "confusions": _confusions(predicted[answered], people[answered], shown[answered], names, min(
            judged.k, len(part) - 1), seed),
        "misplaced": _misplaced(predicted[keep], everything[keep], shown[keep], names, seed, [
            (embedding.images[part[i]], subjects[i]) for i in keep]),
        "each": {
            "emotions": list(names),
            "answers": [*names, *others],
            "images": [embedding.images[part[i]] for i in keep],
            "subjects": [subjects[i] for i in keep],
            "shown": [labels[i] for i in keep],
            "people": np.round(everything[keep], _DIGITS).tolist(),
            "net": np.round(predicted[keep], _DIGITS).tolist(),
        },
    }  # fmt: skip


def _confusions(
    predicted: np.ndarray, people: np.ndarray, shown: np.ndarray, names: tuple[str, ...], k: int, seed: int
) -> dict[str, Any] | None:
    """By emotion, of the emotions that judged pictures show, and by picture; None where nobody answered with any."""
    if len(shown) < FEWEST:
        return None
    whole = len(set(shown.tolist())) == len(names)
    emotions = asdict(by_emotion(predicted, people, shown, names)) if whole else None
    return {"k": k, "by_emotion": emotions, "by_picture": asdict(by_picture(predicted, people, shown, seed))}


def _misplaced(
    predicted: np.ndarray, people: np.ndarray, shown: np.ndarray, names: tuple[str, ...], seed: int,
    pictures: Sequence[tuple[str, str]],
) -> dict[str, Any]:  # fmt: skip
    """Counts, and the pictures, the surest of people's answers first."""
    answer = favourites(people)
    answer = np.where(answer < len(names), answer, NONE)
    net = favourites(predicted)
    found = misplaced(net, answer, shown, seed)
    rows = [
        {
            "image": pictures[i][0], "subject": pictures[i][1], "posed": names[shown[i]], "people": names[answer[i]],
            "people_share": round(float(people[i, answer[i]]), _DIGITS),
            "net_share": round(float(predicted[i, answer[i]]), _DIGITS),
        }
        for i in found.at
    ]  # fmt: skip
    rows.sort(key=lambda row: (-row["people_share"], -row["net_share"], row["image"]))
    counts = {name: value for name, value in asdict(found).items() if name != "at"}
    return {**counts, "pictures": rows}


def table_lines(about: dict[str, Any]) -> list[str]:
    """What was read, in sentences."""
    who = f" of {about['raters']} raters" if about["raters"] else ""
    what = {"answers": "answers", "shares": "shares of answers", "counts": "counts of answers", "ratings": "ratings"}
    lines = [
        f"judgements of pictures: {what[about['values']]}{who}, a {about['form']} table of {about['pictures']} "
        f"pictures; {about['images_judged']} images judged, {about['images_not_judged']} not"
    ]
    if about["unmatched_count"]:
        named = [(u["picture"], u["why"]) for u in about["unmatched"]]
        lines.append(f"note: {in_words(named, about['unmatched_count'], about['pictures'])}")
    if not about["by_path"]:
        lines.append("note: no index of these images was found: pictures were matched by the images' names alone")
    return [*lines, *(f"note: {note}" for note in about["notes"])]


def part_lines(found: dict[str, Any]) -> list[str]:
    """The measures of one part, in sentences."""
    if not found:
        return [f"pictures: fewer than {FEWEST} were judged"]
    lines = []
    d = found["distances"]
    if d:
        some = f" drawn of {d['drawn_of']}" if d["drawn_of"] else ""
        lines.append(
            f"pictures against pictures: {d['images']}{some}, {d['pairs']} distances, Spearman {d['spearman']:+.2f}"
            f"{_between(d['interval'])}; shuffled within emotions {d['mean_within']:+.2f}, p {d['p_within']:.4f}"
        )
        if d["emotions"]:
            e = d["emotions"]
            lines.append(f"emotions' mean distances: Spearman {e['spearman']:+.2f}, p {e['p']:.4f} (relabellings)")
        c = d["ceiling"]
        if c:
            lines.append(
                f"noise ceiling: halves of {c['raters']} raters agree by {c['halves']:+.2f} (mean of {c['splits']} "
                f"splits), all by {c['reliability']:.2f} (Spearman-Brown); ties in their answers allow "
                f"{c['untied']:.2f}: about {c['highest']:.2f} can be reached"
            )
    c = found["confusions"]
    if c:
        lines.append(f"confusions predicted from the {c['k']} nearest pictures, each emotion weighing the same:")
        e = c["by_emotion"]
        if e and e["spearman"] is not None:
            right = [float(np.mean(np.diag(e[name]))) for name in ("predicted", "people")]
            lines.append(
                f"  by emotion: Spearman {e['spearman']:+.2f} off the diagonal, p {e['p']:.4f}; posed emotion "
                f"{right[0]:.0%}, people's {right[1]:.0%}"
            )
        p = c["by_picture"]
        lines.append(
            f"  by picture: {p['overlap']:.0%} in common (shuffled within emotions {p['overlap_within']:.0%}, p "
            f"{p['overlap_p']:.4f}); share of other emotions, Spearman {p['doubt']:+.2f} (shuffled "
            f"{p['doubt_within']:+.2f}, p {p['doubt_p']:.4f})"
        )
    lines.append(misplaced_line(found["misplaced"]))
    return lines


def misplaced_line(m: dict[str, Any]) -> str:
    """The counts of misplaced pictures, in a sentence."""
    if not m["differ"]:
        return "people's most frequent answer is the posed emotion, wherever there is one"
    pictures = "1 picture" if m["differ"] == 1 else f"{m['differ']} pictures"
    return (
        f"{pictures} taken by people for another emotion than the posed one: the net places "
        f"{m['with_people']} with people's ({m['expected']:.1f} by chance, p {m['p']:.4f}), {m['with_posed']} with the "
        f"posed one, {m['elsewhere']} elsewhere"
    )


def misplaced_rows(m: dict[str, Any], most: int) -> list[list[str]]:
    """image, subject, posed, people's answer, its share among people, its share among neighbours."""
    return [
        [row["image"], row["subject"], name_of(row["posed"]), name_of(row["people"]), f"{row['people_share']:.0%}",
         f"{row['net_share']:.0%}"]
        for row in m["pictures"][:most]
    ]  # fmt: skip


def name_of(code: str) -> str:
    """An answer's name."""
    return NAMES.get(code, code)


def as_lines(found: dict[str, Any]) -> list[str]:
    """Sentences and the first misplaced pictures, for the text."""
    lines = [f"  {line}" for line in part_lines(found)]
    if not found:
        return lines
    rows = misplaced_rows(found["misplaced"], SHOWN)
    lines += [f"    {image} ({who}): posed {posed}, people {given} {share}, neighbours {near}"
              for image, who, posed, given, share, near in rows]  # fmt: skip
    more = len(found["misplaced"]["pictures"]) - len(rows)
    return [*lines, f"    and {more} more"] if more else lines


def _between(interval: Sequence[float] | None) -> str:
    return f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else ""


def as_table(parts: dict[str, Any]) -> str:
    """A line a judged picture: part, image, subject, posed, people's shares of answers, neighbours' of emotions.

    Of parts as :func:`describe_part` gives them.
    """
    answers = list(dict.fromkeys(a for found in parts.values() if found for a in found["each"]["answers"]))
    emotions = list(dict.fromkeys(e for found in parts.values() if found for e in found["each"]["emotions"]))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["part", "image", "subject", "posed", *(f"people_{a}" for a in answers),
                     *(f"net_{e}" for e in emotions)])  # fmt: skip
    for name, found in parts.items():
        each = found.get("each")
        if not each:
            continue
        for i, image in enumerate(each["images"]):
            people = dict(zip(each["answers"], each["people"][i], strict=True))
            net = dict(zip(each["emotions"], each["net"][i], strict=True))
            writer.writerow([name, image, each["subjects"][i], each["shown"][i],
                             *(f"{people.get(a, 0):.6g}" for a in answers),
                             *(f"{net.get(e, 0):.6g}" for e in emotions)])  # fmt: skip
    return out.getvalue()
