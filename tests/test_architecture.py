"""Modules import one another in one direction: no circle, and no door to the fast paths but one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import grimp
import pytest


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("siamplex", exclude_type_checking_imports=True, cache_dir=None)


def circles(imports: dict[str, set[str]]) -> Iterator[list[str]]:
    """Sets of modules that reach each other (Tarjan's strongly connected components of more than one)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    held: set[str] = set()
    for start in imports:
        if start in number:
            continue
        path = [(start, iter(sorted(imports[start])))]
        number[start] = low[start] = len(number)
        stack.append(start)
        held.add(start)
        while path:
            module, following = path[-1]
            step = next(following, None)
            if step is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[module])
                if low[module] == number[module]:
                    found = []
                    while not found or found[-1] != module:
                        found.append(stack.pop())
                        held.discard(found[-1])
                    if len(found) > 1:
                        yield sorted(found)
            elif step not in number:
                number[step] = low[step] = len(number)
                stack.append(step)
                held.add(step)
                path.append((step, iter(sorted(imports[step]))))
            elif step in held:
                low[module] = min(low[module], number[step])


def test_circles_are_found():
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"f", "a"}}
    assert list(circles(imports)) == [["a", "b", "c"]]


def test_no_import_circles(graph):
    """Imports inside functions count too."""
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert list(circles(imports)) == []


@pytest.mark.parametrize(("option", "loaded"), [("--no-shortcut", False), ("--keep-states=1", True)])
def test_without_shortcuts_the_fast_paths_are_not_imported(own_run, option, loaded):
    """A whole training, in a process of its own."""
    words = ["train", "--solver", "run/solvers/stage1_indexed.prototxt", "--overwrite", option]
    words += ["--weights", "run/weights/init.caffemodel,run/pairs/images.caffemodel"]
    code = (
        "import sys; from siamplex.cli import main; "
        f"code = main({words!r}); "
        "print(code, any(m.startswith('siamplex.engine.fast') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", str(loaded)], done.stderr
