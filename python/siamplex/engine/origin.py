"""Hashes of what shapes a run, as its snapshots remember them."""

from __future__ import annotations

from typing import Any

from siamplex.durable import hash_bytes
from siamplex.schema import messages

# settings that say how long a run goes on and what it shows, not what it computes
_NOT_SHAPING = (
    "max_iter display average_loss snapshot snapshot_prefix snapshot_after_train solver_mode device_id "
    "test_interval test_iter test_initialization test_compute_loss debug_info"
).split()


def settings_hash(solver: Any) -> str:
    """Hash of a SolverParameter, but for how long the run goes on and what it displays."""
    settings = messages.SolverParameter()
    settings.CopyFrom(solver)
    for field in _NOT_SHAPING:
        settings.ClearField(field)
    return hash_bytes(settings.SerializeToString(deterministic=True))


def net_hash(net: Any) -> str:
    """Hash of a NetParameter."""
    return hash_bytes(net.SerializeToString(deterministic=True))
