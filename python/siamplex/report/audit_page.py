"""An audit as a page of its own."""

from __future__ import annotations

from collections.abc import Sequence

from siamplex.audit.finding import Finding
from siamplex.audit.tables import summary
from siamplex.report.templating import environment


def as_page(findings: Sequence[Finding], title: str) -> str:
    """The page's HTML (``templates/audit_page.html``); it loads nothing."""
    template = environment().get_template("audit_page.html")
    return template.render(title=title, summary=summary(findings), findings=findings) + "\n"
