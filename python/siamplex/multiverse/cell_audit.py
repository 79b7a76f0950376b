"""The audit of one cell: its nets and solver compared with the paper, setting by setting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.net_checks import check_net
from siamplex.audit.solver_checks import check_rate
from siamplex.multiverse.run_nets import NET, SOLVER
from siamplex.multiverse.store import Value
from siamplex.schema import prototxt


def audit_cell(texts: Mapping[str, str], settings: Mapping[str, Value], fold: int) -> list[Finding]:
    """Hold a cell's ``train_val.prototxt`` and ``solver.prototxt`` against the paper, and what neither of them says."""
    found = Findings("solver")
    p = prototxt.parse(texts[SOLVER], "SolverParameter", SOLVER).message
    check_rate(found, p)
    found.silent("momentum", f"{p.momentum:g}")
    found.silent("weight decay", f"{p.weight_decay:g}")
    if "iterations" in settings:
        found.inconsistent(
            "epochs or iterations", "5000 epochs in 5 GPU hours", f"{settings['iterations']} iterations",
            "5000 passes over all pairs take more than that",
        )  # fmt: skip
        found.inconsistent("length", f"{paper.ITERATIONS}, and stopped on the validation set", settings["stop"], "")
    found.silent("input scale", f"{float(settings['scale']):.6g}")
    found.silent("seed", int(p.random_seed), "of fc4 to fc6 and the dropout masks")
    found.silent("which subjects are held out", f"fold {fold}")
    return [*check_net(prototxt.parse(texts[NET], "NetParameter", NET), 1), *found.made]


def audit_text(texts: Mapping[str, str], settings: Mapping[str, Value], fold: int) -> str:
    """The same as JSON."""
    return json.dumps([asdict(finding) for finding in audit_cell(texts, settings, fold)], indent=1) + "\n"
