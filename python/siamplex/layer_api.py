"""What a package needs to add a layer type: docs/plugins.md.

``Layer`` is the base class, ``Fields`` declares a parameter message, the others are what their methods take and give.
These names stay where they are; those of the modules behind them may move.
"""

from siamplex.engine.layer import BlobSpec, Context, Layer, LayerSpec, Shape, filler, no_gradient
from siamplex.schema.extensions import Fields

__all__ = ["BlobSpec", "Context", "Fields", "Layer", "LayerSpec", "Shape", "filler", "no_gradient"]
