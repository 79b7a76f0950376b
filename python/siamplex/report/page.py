"""The report as one HTML page: no network, nothing but what is in the file.

Every text from the run passes through ``html.escape`` or JSON with ``<`` escaped; a content security
policy keeps the page from loading anything.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

from siamplex.audit.tables import as_table_html, summary
from siamplex.emotions import NAMES
from siamplex.engine.learning_table import Learning
from siamplex.figures import STYLE
from siamplex.geometry import LINE, PAPER_ORDER, SWAPPED_ORDER
from siamplex.geometry_report import between, on_line
from siamplex.report.content import Content
from siamplex.report.thumbnails import SIDE
from siamplex.similarity.actors import order_counts
from siamplex.similarity.report import OVERLAPPING, in_resamples, p_value
from siamplex.stage_learning import active_units, against_blind

_CAPTIONS = {
    "fig3": "Figure 3: the embedding during stage 1",
    "fig4": "Figure 4: after stage 1, conv1-3 frozen",
    "fig5": "Figure 5: fine-tuned, training subjects",
    "fig6": "Figure 6: fine-tuned, held-out test subjects",
    "loss": "Training loss",
}
_PARTS = {"train": "training subjects", "val": "validation subjects", "test": "test subjects"}
_WIDE = ("fig3",)


def as_page(content: Content) -> str:
    """The page's HTML."""
    title = f"siamplex: {content.name}"
    sections = [
        ("losses", "Did it learn?", _losses(content) + _learning(content)),
        ("figures", "Figures", _figures(content)),
        ("maps", "Maps of judgements", _maps(content)),
        ("geometry", "Geometry", _geometry(content)),
        ("structure", "Similarity structure", _structure(content)),
        ("seeds", "Other seeds", f"<pre>{escape(content.seeds)}</pre>" if content.seeds else ""),
        ("audit", "Held against the paper", _audit(content)),
        ("provenance", "Provenance", _provenance(content)),
    ]
    present = [(name, heading, body) for name, heading, body in sections if body]
    links = [("embedding", "The embedding"), *((name, heading) for name, heading, _ in present)]
    bodies = [
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{heading}</h2>{body}</section>'
        for name, heading, body in present
    ]
    filled = {
        "title": escape(title),
        "lead": escape(_lead(content)),
        "nav": "".join(f'<a href="#{name}">{escape(heading)}</a>' for name, heading in links),
        "synthetic": _notice(content),
        "sections": "\n".join(bodies),
        "faces": escape(content.faces),
        "style": _resource("page.css"),
        "script": _resource("page.js"),
        "data": _data(content),
    }
    # in one pass, so that nothing from the run is taken for a place to fill
    return re.sub(r"\{\{(\w+)\}\}", lambda m: filled[m.group(1)], _resource("page.html"))


def _resource(name: str) -> str:
    return (files("siamplex.report") / name).read_text(encoding="utf-8")


def _lead(content: Content) -> str:
    index = content.store.index
    return (
        "A reproduction of Rao, Wang and Cottrell: twin networks that see pairs of faces labelled only same or "
        f"different expression. {len(index)} images of {len(index.subjects)} subjects; "
        f"{summary(content.findings)} in the audit."
    )


def _notice(content: Content) -> str:
    """The plain statement of what was synthetic, and of what is missing."""
    last = content.snapshots[-1][1]
    drawn = sum(entry.synthetic for entry in content.store.index.entries)
    words = []
    if drawn:
        words.append(
            f"{drawn} of {len(content.store.index)} faces were drawn by a program. What the plots show of them is what "
            "the method makes of drawings; it says nothing about how people see faces."
        )
    words += [note[0].upper() + note[1:] + "." for note in last.facts.get("notes", []) if "synthetic" not in note]
    if content.missing:
        words.append(f"This run has no {', no '.join(content.missing)}.")
    if not words:
        return ""
    return '<div class="notice" role="note">' + "".join(f"<p>{escape(w)}</p>" for w in words) + "</div>"


def _data(content: Content) -> str:
    last = content.snapshots[-1][1]
    faces = [
        {"image": i, "subject": s, "emotion": e, "split": p}
        for i, s, e, p in zip(last.images, last.subjects, last.emotions, last.splits, strict=True)
    ]
    sprite = content.sprite
    data = {
        "emotions": [
            {"code": e, "name": NAMES[e], "colour": STYLE[e][0], "marker": STYLE[e][1]}
            for e in PAPER_ORDER
            if e in last.emotions
        ],
        "splits": [s for s in _PARTS if s in last.splits],
        "faces": faces,
        "snapshots": [
            {"title": title, "points": [[float(f"{v:.5g}") for v in p[:2]] for p in e.points]}
            for title, e in content.snapshots
        ],
        "losses": [
            {"stage": stage, "rows": [[i, float(f"{v:.5g}")] for i, v in rows], "tests": _tests(content, stage)}
            for stage, rows in content.losses
        ],
        "sprite": {"uri": sprite.uri, "columns": sprite.columns, "rows": sprite.rows, "side": SIDE} if sprite else None,
    }
    # within a script element the HTML parser looks for "<" alone
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _losses(content: Content) -> str:
    if not content.losses:
        return ""
    legend = ", in orange ".join(stage for stage, _ in content.losses)
    last = "; ".join(f"{stage}: {rows[-1][1]:.4g} at iteration {rows[-1][0]}" for stage, rows in content.losses if rows)
    return (
        '<svg id="loss-curve" viewBox="0 0 900 296" role="img" aria-label="Training loss over iterations"></svg>'
        f'<p class="small">Contrastive loss as displayed, logarithmic. In blue {escape(legend)}. '
        "Points: validation loss, without dropout, the lowest of each stage ringed. "
        f"Last: {escape(last)}.</p>"
    )


def _tests(content: Content, stage: str) -> list[list[float]]:
    """Iterations and validation losses of a stage's tests."""
    found = next((learnt.tests for label, learnt in content.learning if label == stage), [])
    return [[iteration, float(f"{loss:.5g}")] for iteration, loss in found if isfinite(loss)]


def _learning(content: Content) -> str:
    """A row a stage: losses at its result against label-blind ones, active units, how round the emotions lie."""
    rows, ended, courses = [], [], []
    for label, learnt in content.learning:
        row = learnt.at_the_result
        if learnt.ended():
            ended.append(f"{label}: {learnt.ended()}")
        if row is None:
            continue
        best = learnt.lowest
        rows.append(
            [label, str(row.iteration), against_blind(row.training.loss, row.training.label_blind),
             "-" if row.validation is None else against_blind(row.validation, row.validation_blind),
             f"{best[1]:.3g} at {best[0]}" if best else "-", active_units(row) or "-", _ratio(row.ratio)]
        )  # fmt: skip
        courses += [(label, r) for r in learnt.rows]
    sentences = "".join(f"<p>{escape(words[0].upper() + words[1:])}.</p>" for words in ended)
    if not rows:
        return sentences
    head = ["stage", "iteration", "training loss", "validation loss", "lowest validation", "active units", "ratio"]
    return (
        sentences
        + _table(head, rows, 6)
        + '<p class="small">Label-blind: what the same embedding would cost if its images were shuffled among the '
        "pairs; a net that has learnt nothing of expressions gets no lower. Losses are without dropout. A unit is "
        "active where it gives more than zero for some training image; the others are dead. Ratio: the second singular "
        "value of the emotions' centroids over the first; 1 for an even circle, 0 for a line.</p>" + _course(courses)
    )


def _course(courses: Sequence[tuple[str, Learning]]) -> str:
    """The same at each test, folded away."""
    rows = [
        [label, str(r.iteration), f"{r.training.loss:.4g}", f"{r.training.label_blind:.4g}",
         "-" if r.validation is None else f"{r.validation:.4g}",
         "-" if r.validation_blind is None else f"{r.validation_blind:.4g}", active_units(r) or "-", _ratio(r.ratio)]
        for label, r in courses
    ]  # fmt: skip
    head = ["stage", "iteration", "training", "label-blind", "validation", "label-blind", "active units", "ratio"]
    return f"<details><summary>At each of {len(rows)} tests</summary>{_table(head, rows, 7)}</details>"


def _picture(path: Path, caption: str, wide: bool = False) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    kind = ' class="wide"' if wide else ""
    return (
        f'<figure{kind}><img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _figures(content: Content) -> str:
    # the panels of Figure 3 are shown together; the page has a loss curve of its own
    shown = [p for p in content.figures if not re.fullmatch(r"fig3[a-h]", p.stem) and p.stem != "loss"]
    pictures = [_picture(p, _CAPTIONS.get(p.stem, p.stem), p.stem in _WIDE) for p in shown]
    return f'<div class="figures">{"".join(pictures)}</div>' if pictures else ""


def _maps(content: Content) -> str:
    return "".join(_picture(p, p.stem.replace("_", " "), True) for p in content.maps)


def _names(order: Sequence[str]) -> str:
    return "-".join(NAMES[e] for e in order)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> str:
    """A table whose columns from ``numbers`` on are figures; cells are escaped."""
    top = "".join(f'<th scope="col"{" class=n" if i >= numbers else ""}>{escape(c)}</th>' for i, c in enumerate(head))
    lines = []
    for row in rows:
        cells = [f'<th scope="row">{escape(row[0])}</th>']
        cells += [f"<td{' class=n' if i >= numbers else ''}>{escape(c)}</td>" for i, c in enumerate(row[1:], 1)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    inside = f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll" tabindex="0"><table>{inside}</table></div>'


def _geometry(content: Content) -> str:
    rows = []
    for stage, geometry in content.geometry:
        for part, label in _PARTS.items():
            found = geometry.get(part)
            if not found:
                continue
            order, line = found.get("order"), found.get("line")
            verdict = "a line" if line else "-"
            if order:
                verdict = "the paper's" if order["agrees"] or order["agrees_with_swap"] else "another"
            apart = sum(found["linearly_separable"].values())
            shares = [_share(found, rule) for rule in ("nearest_centroid", "linear")]
            names = _names(order["found"]) if order else _names(line) if line else "-"
            parted = f"{apart} of {len(found['linearly_separable'])}"
            ratio = _ratio(found.get("singular_ratio"))
            rows.append([stage, label, names, verdict, ratio, str(found["images"]), parted, *shares])
    if not rows:
        return ""
    head = ["stage", "subjects", "circular order (or along the line)", "order", "ratio", "images", "parted by a line",
            "nearest centroid", "linear"]  # fmt: skip
    return (
        _table(head, rows, 4)
        + f'<p class="small">The paper\'s order: {_names(PAPER_ORDER)} (or {_names(SWAPPED_ORDER)}); one order in 60 '
        "agrees by chance, either in 30. Ratio: the second singular value of the emotions' centroids over the first; "
        f"below {LINE:g} they lie on a line, which has no circular order, and no agreement or chance is claimed. "
        "Accuracies are of rules fitted on training subjects alone; intervals resample held-out subjects.</p>"
    )


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(found: dict[str, Any], rule: str) -> str:
    if f"{rule}_accuracy" not in found:
        return "-"
    return f"{found[f'{rule}_accuracy']:.1%}{between(found.get(f'{rule}_interval'))}"


def _interval(values: Sequence[float] | None) -> str:
    return f"{values[0]:+.2f} to {values[1]:+.2f}" if values else "-"


def _structure(content: Content) -> str:
    structure = content.structure
    if not structure:
        return ""
    blocks = []
    for name, part in structure["parts"].items():
        title = "Training subjects" if name == "train" else "Held-out subjects"
        rows = [
            [a["layer"], a["reference"], f"{a['spearman']:+.2f}", _interval(a["spearman_interval"]),
             p_value(a["spearman_p"]), f"{a['kendall']:+.2f}", _interval(a["kendall_interval"]),
             p_value(a["kendall_p"])]
            for a in part["agreements"]
        ]  # fmt: skip
        head = ["layer", "against", "Spearman", "95 %", "p", "Kendall", "95 %", "p"]
        blocks.append(f"<h3>{title}</h3>{_table(head, rows, 2)}<ul>{_points(part)}</ul>")
    return (
        '<p class="small">Dissimilarities of the six emotions, held against those of the references. p: the share of '
        "all 720 relabellings that agree as well; intervals resample subjects.</p>"
        + "".join(blocks)
        + (_picture(content.matrices, "Dissimilarities by layer", True) if content.matrices else "")
    )


def _points(part: dict[str, Any]) -> str:
    lines = []
    found = part["circle"]
    if found and found.get("line"):
        lines.append(f"{on_line(found['order'])}.")
    elif found:
        verdict = "the paper's" if found["agrees_either"] else "not the paper's"
        lines.append(
            f"Circular order {_names(found['order'])}: {verdict}; {in_resamples(found['share_either'])}chance "
            f"{found['chance_either']}."
        )
    for couple in OVERLAPPING:
        one = next((o for o in part["overlaps"] if set(o["emotions"]) == set(couple)), None)
        if one:
            spread = one["overlap_interval"]
            between = f" (95 % {spread[0]:.2f} to {spread[1]:.2f})" if spread else ""
            lines.append(
                f"{NAMES[couple[0]]} and {NAMES[couple[1]]} overlap by {one['overlap']:.2f}{between}, "
                f"d' {one['separation']:.2f}: number {one['rank']} of {len(part['overlaps'])} couples."
            )
    for reference, fit in part["map_fits"].items():
        p = "" if fit["p"] is None else f" (p {fit['p']:.4f})"
        lines.append(f"Procrustes distance to a map of {reference}: {fit['disparity']:.3f}{p}.")
    actors = part["actors"]
    if actors["actors"]:
        lines.append(
            f"{actors['actors']} actors, each against all others: Spearman {actors['median']:+.2f} "
            f"(quartiles {actors['lower_quartile']:+.2f} to {actors['upper_quartile']:+.2f}); "
            f"{order_counts(actors)}."
        )
    return "".join(f"<li>{escape(line[0].upper() + line[1:])}</li>" for line in lines)


def _audit(content: Content) -> str:
    return f"<p>{escape(summary(content.findings))}</p>{as_table_html(content.findings)}"


def _provenance(content: Content) -> str:
    facts = content.snapshots[-1][1].facts
    rows = [
        [str(s.get("command")), str(s.get("began", "")), str(s.get("outcome", "")), f"{float(s.get('seconds', 0)):.1f}"]
        for s in content.record
    ]
    table = _table(["command", "began (UTC)", "outcome", "seconds"], rows, 3) if rows else "<p>No run record.</p>"
    versions = content.record[-1].get("versions", {}) if content.record else {}
    lines = ", ".join(f"{name} {version}" for name, version in versions.items())
    sums: dict[str, str] = {}
    for step in content.record:
        for name, entry in {**step.get("inputs", {}), **step.get("outputs", {})}.items():
            if isinstance(entry, dict) and entry.get("sha256"):
                sums[name] = str(entry["sha256"])
    hashes = "".join(
        f"<li><code>{escape(name)}</code><br><code>{escape(value)}</code></li>" for name, value in sums.items()
    )
    return (
        f"<p>Last snapshot shown: <code>{escape(str(facts.get('weights')))}</code>, SHA-256 "
        f"<code>{escape(str(facts.get('sha256')))}</code>. {escape(lines)}</p>{table}"
        + (f"<details><summary>SHA-256 of {len(sums)} files</summary><ul>{hashes}</ul></details>" if sums else "")
    )
