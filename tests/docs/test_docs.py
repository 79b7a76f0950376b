"""Links of the docs lead somewhere, the tutorial runs, the site is built without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from siamplex.plan.settings import DEFAULTS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "python").rglob("README.md")]
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_a_page(page):
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    broken = [link for link in links if not (page.parent / link).exists() and not link.startswith("reference/")]
    assert broken == []


_NAMED = re.compile(r"`((?:tests|tools|docs|engine|schema|weights|pairs|corpus|geometry|run)/[\w/]+\.py)`")


def test_pages_name_files_that_are_there():
    """Modules and tests that a page names in backquotes; NAME stands for any."""
    missing = [
        (page.name, name)
        for page in PAGES
        for name in _NAMED.findall(page.read_text(encoding="utf-8"))
        if not any(p.exists() for p in (ROOT / name, ROOT / "python/siamplex" / name)) and "NAME" not in name
    ]
    assert missing == []


def test_settings_that_readme_and_docs_give_to_make_exist():
    known = {*DEFAULTS, "ALEXNET", "VENV", "PYTHON", "TORCH", "URLS", "CAFFE", "CAFFE_ENV", "CAFFE_BIN", "TARGET"}
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for command in re.findall(r"make [a-z]+((?: [A-Z_]+=\S+)+)", page.read_text(encoding="utf-8")):
            for name in re.findall(r"([A-Z_]+)=", command):
                assert name in known or f"{name} " in makefile, (page.name, name)


@pytest.mark.slow
def test_the_tutorial_runs():
    notebook = nbformat.read(ROOT / "docs/tutorial.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # made anew where they are wanted
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "504 images of 43 subjects" in text and "faces are synthetic" in text and "Spearman" in text


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for page in (
        "index.html",
        "tutorial/index.html",
        "reference/commands/index.html",
        "reference/engine.net/index.html",
    ):
        assert (tmp_path / "site" / page).is_file()
