"""Which layers of a train_val net belong to a phase: NetState and include/exclude rules."""

from __future__ import annotations

from typing import Any

from siamplex.schema import messages
from siamplex.schema.messages import enum_name, enum_value


def net_state(phase: str, *sources: Any) -> Any:
    """A NetState of ``phase`` ("TRAIN" or "TEST"), over which ``sources`` are merged in order."""
    state = messages.NetState(phase=enum_value("Phase", phase))
    for source in sources:
        state.MergeFrom(source)
    state.phase = enum_value("Phase", phase)
    return state


def phase_of(phase: str, *sources: Any) -> str:
    """The phase that a solver builds a net in: ``phase``, unless a state stated by the net or the solver has another.

    The last of the ``sources`` that states one decides; None has no say.
    """
    for source in sources:
        if source is not None and source.HasField("phase"):
            phase = enum_name(source, "phase")
    return phase


def meets(state: Any, rule: Any) -> bool:
    """Whether a NetState meets every condition of one NetStateRule."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    stages = set(state.stage)
    return set(rule.stage) <= stages and not stages & set(rule.not_stage)


def included(layer: Any, state: Any) -> bool:
    """Whether a LayerParameter is included: an include rule is met or, without any, no exclude rule is met."""
    if layer.include:
        return any(meets(state, rule) for rule in layer.include)
    return not any(meets(state, rule) for rule in layer.exclude)


def trains(layer: Any, phase: str) -> bool:
    """Whether a LayerParameter runs in phase TRAIN: its own phase where it states one, else its net's."""
    return (enum_name(layer, "phase") if layer.HasField("phase") else phase) == "TRAIN"
