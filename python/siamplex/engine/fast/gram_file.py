"""The file of dual forms that a run stopped between snapshots needs to resume bit for bit.

A regular snapshot materialises wide weights, and the run continues from the rounded result.  A stop on request must
not do that, since an uninterrupted run would not have done it.  So it saves the arrays of all dual forms as they are,
in one ``.npz`` without pickles.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from siamplex.engine.fast.gram import GramWeight
from siamplex.errors import InputError
from siamplex.run.durable import atomic_file, sha256
from siamplex.schema.array_files import read_arrays
from siamplex.schema.weights import Written

_WHAT = "the dual forms of the snapshot beside it"


def write(path: Path, grams: Mapping[int, GramWeight]) -> Written:
    """Write the state of each dual form."""
    arrays = {
        f"{index}.{name}": tensor.cpu().numpy()
        for index, gram in grams.items()
        for name, tensor in gram.state().items()
    }
    with atomic_file(path) as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type,unused-ignore]
    return Written(path.stat().st_size, sha256(path))


def read(path: Path, grams: Mapping[int, GramWeight]) -> None:
    """Restore the states in ``path``.  Raises InputError where they do not fit."""
    content = read_arrays(path, _WHAT)
    try:
        for index, gram in grams.items():
            names = [name for name in content if name.startswith(f"{index}.")]
            gram.restore({name.split(".", 1)[1]: torch.from_numpy(content[name]) for name in names})
    except (ValueError, KeyError) as error:
        raise InputError(path, _WHAT, str(error)) from None
