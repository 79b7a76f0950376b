"""The net that ``-model``, ``-phase``, ``-level`` and ``-stage`` describe."""

from __future__ import annotations

from siamplex.dropin.flags import Flags
from siamplex.dropin.net_log import log_net
from siamplex.engine.net.net import Net
from siamplex.engine.net.net_kinds import check_train_val
from siamplex.errors import UsageError
from siamplex.schema import messages, prototxt


def build(flags: Flags, phase: str, device: str, feeds_itself: bool = False) -> Net:
    """Build it, with Caffe's log of that; ``feeds_itself`` asks for data layers.

    Raises UsageError for a phase Caffe has not, and all that a Net raises.
    """
    from siamplex.engine.training.device import choose_device

    if phase not in ("TRAIN", "TEST"):
        raise UsageError(f"-phase: expected TRAIN or TEST, found '{phase}'")
    state = messages.NetState(level=flags.number("level"), stage=flags.listed("stage"))
    source = prototxt.read(flags["model"], "NetParameter")
    if feeds_itself:
        check_train_val(source, source.message, (), state, phase)
    net = Net(source, phase, state=state, device=choose_device(device))
    log_net(net, messages.NetState(level=state.level, stage=flags["stage"].split(",")))
    return net
