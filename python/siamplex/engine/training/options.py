"""Training options from the command line, which Caffe's solver prototxt does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siamplex.engine.net.plan import Planner
from siamplex.engine.net.unfilled import OPTION as UNFILLED_OPTION
from siamplex.engine.training.occupied import REFUSE
from siamplex.engine.training.watcher import Watcher
from siamplex.run.stopping import EFFECTS


@dataclass(frozen=True)
class TrainOptions:
    """Training options from the command line.

    Snapshots: ``snapshot_prefix`` replaces the solver's when given.  ``existing`` says how to treat existing snapshots
    that this run would overwrite (:mod:`~siamplex.engine.training.occupied`).  ``snapshot_at`` adds iterations to the
    ``snapshot`` interval.  ``lean`` leaves frozen tables that came from a weights file out of snapshots.
    ``keep_states`` is the number of newest solverstates to keep (0: all).  ``tables`` writes PREFIX_losses.csv,
    PREFIX_test.csv, at the end PREFIX_result.json and, for a siamese net, PREFIX_learning.csv.

    Computation: ``seed`` replaces the solver's when given.  ``shortcut`` allows the fast paths, where they are exact.
    ``planner`` replaces the engine's own planner, and ``hollow`` are parameters that no layer then reads
    (:class:`~siamplex.engine.net.net.Net`).  ``amp`` multiplies in bfloat16, which Caffe does not.  ``level``
    replaces the train state's, unless it is None, and ``stages`` are added to it.

    Checks and ends: ``outside`` allows prototxts to name paths anywhere (:class:`~siamplex.schema.bounds.Bounds`).
    ``check_start`` tries the first steps and refuses a run that must diverge
    (:mod:`~siamplex.engine.training.trial_steps`).  ``allow_unfilled`` allows frozen layers with their fillers' values
    (:mod:`~siamplex.engine.net.unfilled`); ``unfilled_option`` is the option's name in errors.  ``early_stop`` is the
    number of tests without a better validation loss that ends a run (0: never), with snapshots of the best.
    ``signals`` maps each signal to its effect.  ``watcher`` is called at each display, test and snapshot.
    """

    weights: tuple[Path, ...] = ()
    snapshot: Path | None = None
    resume: bool = False
    existing: str = REFUSE
    device: str = "cpu"
    seed: int | None = None
    snapshot_prefix: str | None = None
    snapshot_at: frozenset[int] = frozenset()
    lean: bool = False
    keep_states: int = 0
    shortcut: bool = True
    planner: Planner | None = None
    hollow: frozenset[tuple[str, int]] = frozenset()
    amp: bool = False
    outside: bool = False
    level: int | None = None
    stages: tuple[str, ...] = ()
    check_start: bool = True
    allow_unfilled: bool = False
    unfilled_option: str = UNFILLED_OPTION
    early_stop: int = 0
    signals: Mapping[int, str] = field(default_factory=lambda: dict(EFFECTS))
    watcher: Watcher | None = None
    tables: bool = True
    quiet: bool = False


def add_state(solver: Any, options: TrainOptions) -> None:
    """Put the command line's level, if any, and stages into the train net's state, as Caffe's do."""
    if options.level:
        solver.train_state.level = options.level
    elif options.level == 0 and solver.HasField("train_state"):
        solver.train_state.ClearField("level")
    solver.train_state.stage.extend(options.stages) if options.stages else None
