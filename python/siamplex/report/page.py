"""The report as one self-contained HTML page, which loads nothing from the network."""

from __future__ import annotations

from siamplex.audit.tables import summary
from siamplex.report.content import Content
from siamplex.report.geometry_section import GeometrySection
from siamplex.report.judgements_section import JudgementsSection
from siamplex.report.learning_section import LearningSection
from siamplex.report.multiverse_section import MultiverseSection
from siamplex.report.plot_data import plot_data
from siamplex.report.sections import Audit, Pictures, Provenance, Seeds
from siamplex.report.structure_section import StructureSection
from siamplex.report.table import sentence
from siamplex.report.templating import environment


def as_page(content: Content) -> str:
    """The page's HTML: ``templates/page.html`` with a template for each section that there is."""
    sections = [
        LearningSection.of(content),
        Pictures.figures(content),
        Pictures.maps(content),
        GeometrySection.of(content),
        StructureSection.of(content),
        JudgementsSection.of(content),
        Seeds.of(content),
        MultiverseSection.of(content),
        Audit.of(content),
        Provenance.of(content),
    ]
    return (
        environment()
        .get_template("page.html")
        .render(
            title=f"siamplex: {content.name}",
            lead=_lead(content),
            notices=_notices(content),
            faces=content.faces,
            sections=[section for section in sections if section],
            data=plot_data(content),
        )
    )


def _lead(content: Content) -> str:
    index = content.store.index
    return (
        "A reproduction of Rao, Wang and Cottrell: twin networks that see pairs of faces labelled only same or "
        f"different expression. {len(index)} images of {len(index.subjects)} subjects; "
        f"{summary(content.findings)} in the audit."
    )


def _notices(content: Content) -> list[str]:
    """Notices about what was synthetic and what is missing."""
    last = content.snapshots[-1][1]
    drawn = sum(entry.synthetic for entry in content.store.index.entries)
    words = []
    if drawn:
        words.append(
            f"{drawn} of {len(content.store.index)} faces were drawn by a program. What the plots show of them is what "
            "the method makes of drawings; it says nothing about how people see faces."
        )
    words += [f"{sentence(note)}." for note in last.facts.get("notes", []) if "synthetic" not in note]
    if content.missing:
        words.append(f"This run has no {', no '.join(content.missing)}.")
    return words
