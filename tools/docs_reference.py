"""MkDocs hook: the reference pages, made from the parsers and the packages themselves.

``reference/commands.md`` is what each subcommand's ``--help`` says.  ``reference/python.md`` lists every package with
the first line of each module, and ``reference/PACKAGE.md`` has the docstrings, by mkdocstrings.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from siamplex.cli import build_parser

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_SOURCE = Path(__file__).resolve().parents[1] / "python" / "siamplex"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of ``docs/``."""
    from mkdocs.structure.files import File

    pages = {"reference/commands.md": commands_page(), "reference/python.md": python_page()}
    pages |= {f"reference/{name}.md": page for name, page in package_pages()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def commands_page() -> str:
    """One section a subcommand: what it does, its arguments and options with their defaults."""
    parser = build_parser()
    parts = ["# Commands\n", "`siamplex COMMAND --help` prints the same.\n"]
    subcommands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in subcommands.choices.items():
        parts += [f"## siamplex {name}\n", f"{command.description or ''}\n"]
        rows = [_row(action) for action in command._actions if not isinstance(action, argparse._HelpAction)]
        if rows:
            parts += ["| argument | |", "|---|---|", *rows, ""]
    return "\n".join(parts) + "\n"


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar or action.dest}`"
    takes = ""
    if action.option_strings and action.nargs != 0:
        value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
        takes = f" `{' '.join(value) if isinstance(value, tuple) else value}`"
    help_text = (action.help or "").replace("%%", "%")
    return f"| {names}{takes} | {_cell(help_text)} |".replace("||", "|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _modules() -> Iterator[tuple[str, str, str]]:
    """(package, dotted name, first line of the docstring) of every module, in order of their paths."""
    for path in sorted(_SOURCE.rglob("*.py")):
        if path.name == "__main__.py":
            continue
        parts = ("siamplex", *path.relative_to(_SOURCE).with_suffix("").parts)
        dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        package = parts[1] if len(parts) > 2 else "siamplex"
        if package == "engine" and len(parts) > 3:
            package = f"engine.{parts[2]}"
        yield package, dotted, text.split("\n\n")[0].replace("\n", " ")


def python_page() -> str:
    """Every module with its first line, by package."""
    packages: dict[str, list[str]] = {}
    for package, dotted, first in _modules():
        packages.setdefault(package, []).append(f"| [`{dotted}`]({package}.md) | {_cell(first)} |")
    parts = ["# Python\n", "Every public function says shapes, dtypes, units and the errors it raises.\n"]
    for package, rows in sorted(packages.items()):
        parts += [f"## {package}\n", "| module | |", "|---|---|", *rows, ""]
    return "\n".join(parts) + "\n"


def package_pages() -> Iterator[tuple[str, str]]:
    """(package, page) with a mkdocstrings block for each module."""
    packages: dict[str, list[str]] = {}
    for package, dotted, _ in _modules():
        packages.setdefault(package, []).append(f"::: {dotted}\n")
    for package, blocks in sorted(packages.items()):
        yield package, f"# {package}\n\n" + "\n".join(blocks)
