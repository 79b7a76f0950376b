"""The only place where training imports the fast paths, and only where they are wanted."""

from __future__ import annotations

from siamplex.engine.net.plan import Planner


def planner(wanted: bool) -> Planner | None:
    """The fast paths' planner; None where every layer must run as its prototxt says (``--no-shortcut``)."""
    if not wanted:
        return None
    from siamplex.engine.fast.planner import FastPlanner

    return FastPlanner()
