"""The images of a pair store as the net sees them: mean subtracted, scaled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siamplex.errors import InputError
from siamplex.pairs.build import OpenedStore, load_images
from siamplex.pairs.scaling import scaled
from siamplex.pairs.store import TABLE_LAYER
from siamplex.schema.blobs import Array
from siamplex.schema.weights import read_caffemodel


def stored_images(store: OpenedStore, folder: Path) -> Array:
    """(N, 3, size, size) float32 BGR less the mean, times the scale, in the order of the index.

    From the image table when the store has one, else from the image files.  Raises InputError.
    """
    size = int(store.store.options["size"])
    shape = (len(store.index), 3, size, size)
    if store.store.table:
        path = folder / str(store.store.table["path"])
        arrays = read_caffemodel(path).get(TABLE_LAYER)
        if not arrays or arrays[0].size != np.prod(shape):
            raise InputError(path, f"a table of {shape}", "another" if arrays else "none")
        return arrays[0].reshape(shape)
    return scaled(load_images(store.index, size, str(store.store.options["resize"])), store.mean, store.scale)
