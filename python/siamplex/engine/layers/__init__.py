"""One module per layer type; importing this package registers them all."""

from siamplex.engine.layers import (  # noqa: F401
    accuracy,
    concat,
    contrastive_loss,
    convolution,
    data,
    dropout,
    embed,
    flatten,
    inner_product,
    input,
    lrn,
    pooling,
    relu,
    reshape,
    slice,
    softmax,
    softmax_loss,
)
