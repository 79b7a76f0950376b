"""``extract_features``: blobs of a net, batch by batch, as LMDBs of Datums."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from siamplex.dropin.flags import UNFILLED
from siamplex.dropin.gflags import parse
from siamplex.dropin.glog import info
from siamplex.dropin.new_database import check_backend, check_new, new_lmdb
from siamplex.errors import UsageError

NAME = "extract_features"
USAGE = (
    "extract_features PRETRAINED_NET FEATURE_EXTRACTION_PROTO BLOB1[,BLOB2,...] DATASET1[,DATASET2,...] "
    "NUM_MINI_BATCHES DB_TYPE [CPU|GPU] [DEVICE_ID=0]"
)
_EVERY = 1000
_MOST_AXES = 4


def run(arguments: Sequence[str]) -> None:
    """Run the net in phase TEST and write each sample's values of each blob under its number in ten digits.

    Datums have channels, height and width of the blob, 1 where it has no such axis, and ``float_data``.  Raises
    UsageError, InputError, PrototxtError or StorageError; a net with a layer that no weights fill is refused unless
    ``-allow_unfilled`` is given.
    """
    import torch

    from siamplex.engine.net.layer import Context
    from siamplex.engine.net.net import Net
    from siamplex.engine.net.net_kinds import check_train_val
    from siamplex.engine.training.filling import lean_hint
    from siamplex.engine.training.solver import choose_device
    from siamplex.schema import messages, prototxt
    from siamplex.schema.weights import read_caffemodel

    line = parse(NAME, arguments, {UNFILLED: False})
    if len(line.words) < 6:
        raise UsageError(f"{NAME}: expected six arguments or more, found {len(line.words)} (usage: {USAGE})")
    weights, proto, blobs_text, sets_text, batches_text, db_type, *device = line.words
    blobs, targets = blobs_text.split(","), [Path(name) for name in sets_text.split(",")]
    if len(blobs) != len(targets):
        raise UsageError(f"{NAME}: {len(blobs)} blobs with {len(targets)} databases; their numbers must be equal")
    if len(set(targets)) < len(targets):
        raise UsageError(f"{NAME}: expected a database for each blob, found one named twice")
    if not batches_text.isdigit():
        raise UsageError(f"{NAME}: NUM_MINI_BATCHES: expected a whole number, found '{batches_text}'")
    check_backend(NAME, db_type)
    for target in targets:
        check_new(target)
    source = prototxt.read(proto, "NetParameter")
    check_train_val(source, source.message, (), None, "TEST")
    net = Net(source, "TEST", device=choose_device(_device(device)))
    for note in net.notes:
        info(note, NAME)
    net.load(read_caffemodel(weights), weights)
    unfilled = net.unfilled(learning=False)
    if unfilled and not line.on(UNFILLED):
        raise net.refuse_unfilled(unfilled, [weights], f"-{UNFILLED}", lean_hint([Path(weights)]))
    for name in blobs:
        if name not in net.shapes:
            raise UsageError(f"{NAME}: {proto}: no blob '{name}' (there are: {', '.join(net.shapes)})")
        if len(net.shapes[name]) > _MOST_AXES:
            raise UsageError(f"{NAME}: blob '{name}' has {len(net.shapes[name])} axes; a Datum holds {_MOST_AXES}")
    with ExitStack() as stack:
        puts = []
        for target in targets:
            info(f"Opening dataset {target}", NAME)
            puts.append(stack.enter_context(new_lmdb(target)))
        info("Extracting Features", NAME)
        written = dict.fromkeys(blobs, 0)
        for batch in range(int(batches_text)):
            with torch.no_grad():
                _, made = net.forward(Context(False, iteration=batch))
            for name, put in zip(blobs, puts, strict=True):
                values = made[name].detach().cpu().float().numpy()
                shape = values.shape + (1,) * (_MOST_AXES - values.ndim)
                for sample in values.reshape(shape[0], -1):
                    datum = messages.Datum(channels=shape[1], height=shape[2], width=shape[3])
                    datum.float_data.extend(sample.tolist())
                    put(b"%010d" % written[name], bytes(datum.SerializeToString()))
                    written[name] += 1
                    if written[name] % _EVERY == 0:
                        _count(written[name], name)
        for name in blobs:
            if written[name] % _EVERY:
                _count(written[name], name)
    info("Successfully extracted the features!", NAME)


def _count(number: int, blob: str) -> None:
    info(f"Extracted features of {number} query images for feature blob {blob}", NAME)


def _device(words: Sequence[str]) -> str:
    """The torch device of ``[CPU|GPU] [DEVICE_ID=0]``; the tool runs on the CPU for all but GPU."""
    if not words or words[0] != "GPU":
        info("Using CPU", NAME)
        return "cpu"
    found = re.fullmatch(r"(?:DEVICE_ID=)?(\d+)", words[1]) if len(words) > 1 else None
    if len(words) > 1 and not found:
        raise UsageError(f"{NAME}: DEVICE_ID: expected a whole number, found '{words[1]}'")
    number = found.group(1) if found else "0"
    info(f"Using GPU #{number}", NAME)
    return f"cuda:{number}"
