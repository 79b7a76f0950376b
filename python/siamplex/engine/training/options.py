"""What the command line adds to a solver."""

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
    """What the command line adds to a solver.

    ``snapshot_prefix`` and ``seed`` replace the solver's when given; ``existing`` says what becomes of snapshots
    under the prefix that this run would write over (:mod:`~siamplex.engine.training.occupied`); ``snapshot_at`` adds
    iterations to its ``snapshot`` interval; ``lean`` leaves frozen tables that came from a weights
    file out of snapshots; ``keep_states`` keeps only the newest so many solverstates (0: all);
    ``shortcut`` lets a frozen prefix be computed once an image, where that is exact; ``amp``
    multiplies in bfloat16, which is not what Caffe computes; ``planner`` finds shortcuts in place of the engine's own,
    and ``hollow`` are parameters that no layer reads then (:class:`~siamplex.engine.net.net.Net`);
    ``outside`` lets prototxts name paths
    anywhere (:class:`~siamplex.schema.bounds.Bounds`); ``level`` and ``stages`` are added to the train
    state; ``check_start`` tries the first steps and refuses a run that must diverge
    (:mod:`~siamplex.engine.training.trial_steps`); ``allow_unfilled`` lets frozen layers stay as their
    fillers made them (:mod:`~siamplex.engine.net.unfilled`), and ``unfilled_option`` is what refusals
    call that; ``early_stop`` ends a run
    whose validation loss has not improved for so many tests (0: never), with snapshots of the best; ``signals`` says
    what each signal brings about; ``watcher`` is told how the run goes; ``tables`` writes PREFIX_losses.csv,
    PREFIX_test.csv, at the end PREFIX_result.json and, of a siamese net, PREFIX_learning.csv.
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
    level: int = 0
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
    """Add level and stages of the command line to the train net's state, as Caffe's do."""
    if options.level:
        solver.train_state.level = options.level
    solver.train_state.stage.extend(options.stages) if options.stages else None
