"""The page's shorter sections: figures, maps, other seeds, audit, provenance."""

from __future__ import annotations

import re
from dataclasses import dataclass

from siamplex.audit.finding import Finding
from siamplex.audit.tables import summary
from siamplex.report.content import Content
from siamplex.report.table import Picture, Table

_CAPTIONS = {
    "fig3": "Figure 3: the embedding during stage 1",
    "fig4": "Figure 4: after stage 1, conv1-3 frozen",
    "fig5": "Figure 5: fine-tuned, training subjects",
    "fig6": "Figure 6: fine-tuned, held-out test subjects",
    "loss": "Training loss",
}
_WIDE = ("fig3",)


@dataclass
class Pictures:
    """Figures, or maps of judgements."""

    name: str
    heading: str
    pictures: list[Picture]

    @classmethod
    def figures(cls, content: Content) -> Pictures | None:
        """The paper's figures; the panels of Figure 3 are shown together, and the page has a loss curve of its own."""
        shown = [p for p in content.figures if not re.fullmatch(r"fig3[a-h]", p.stem) and p.stem != "loss"]
        pictures = [Picture.read(p, _CAPTIONS.get(p.stem, p.stem), p.stem in _WIDE) for p in shown]
        return cls("figures", "Figures", pictures) if pictures else None

    @classmethod
    def maps(cls, content: Content) -> Pictures | None:
        """Maps of people's judgements."""
        pictures = [Picture.read(p, p.stem.replace("_", " "), True) for p in content.maps]
        return cls("maps", "Maps of judgements", pictures) if pictures else None


@dataclass
class Seeds:
    """What ``siamplex seeds`` wrote."""

    name = "seeds"
    heading = "Other seeds"
    text: str

    @classmethod
    def of(cls, content: Content) -> Seeds | None:
        """None where no other seeds were trained."""
        return cls(content.seeds) if content.seeds else None


@dataclass
class Audit:
    """The audit: the run compared with the paper."""

    name = "audit"
    heading = "Held against the paper"
    summary: str
    findings: list[Finding]

    @classmethod
    def of(cls, content: Content) -> Audit:
        """All findings."""
        return cls(summary(content.findings), content.findings)


@dataclass
class Provenance:
    """Which commands ran, and the hashes of their files."""

    name = "provenance"
    heading = "Provenance"
    weights: str
    sha256: str
    versions: str
    steps: Table | None
    sums: list[tuple[str, str]]

    @classmethod
    def of(cls, content: Content) -> Provenance:
        """From the run record and the last snapshot shown."""
        facts = content.snapshots[-1][1].facts
        rows = [
            [str(s.get("command")), str(s.get("began", "")), str(s.get("outcome", "")),
             f"{float(s.get('seconds', 0)):.1f}"]
            for s in content.record
        ]  # fmt: skip
        versions = content.record[-1].get("versions", {}) if content.record else {}
        sums: dict[str, str] = {}
        for step in content.record:
            for name, entry in {**step.get("inputs", {}), **step.get("outputs", {})}.items():
                if isinstance(entry, dict) and entry.get("sha256"):
                    sums[name] = str(entry["sha256"])
        return cls(
            weights=str(facts.get("weights")),
            sha256=str(facts.get("sha256")),
            versions=", ".join(f"{name} {version}" for name, version in versions.items()),
            steps=Table(["command", "began (UTC)", "outcome", "seconds"], rows, 3) if rows else None,
            sums=list(sums.items()),
        )
