"""Every layer with a gradient against finite differences, in float64, over many shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siamplex.engine.net.fillers import fill
from siamplex.engine.net.layer import Context
from tests.engine.conftest import make_layer

# type and settings; bottoms that are alike; least and most axes; whether values are positive
ALIKE = [
    ("'Sigmoid'", 1, (1, 4), False),
    ("'TanH'", 1, (1, 4), False),
    ("'AbsVal'", 1, (1, 4), False),
    ("'ELU' elu_param { alpha: 0.7 }", 1, (1, 4), False),
    ("'ReLU' relu_param { negative_slope: 0.2 }", 1, (1, 4), False),
    ("'BNLL'", 1, (1, 4), False),
    ("'Swish' swish_param { beta: 0.6 }", 1, (1, 4), False),
    ("'Clip' clip_param { min: -0.5 max: 0.4 }", 1, (1, 4), False),
    ("'Exp' exp_param { base: 2.5 scale: 0.5 shift: 0.3 }", 1, (1, 4), False),
    ("'Exp'", 1, (1, 4), False),
    ("'Log' log_param { base: 3 scale: 0.5 shift: 0.3 }", 1, (1, 4), True),
    ("'Log'", 1, (1, 4), True),
    ("'Power' power_param { power: 2 scale: 0.6 shift: 0.5 }", 1, (1, 4), False),
    ("'Power' power_param { power: 1.7 scale: 1.5 shift: 0.2 }", 1, (1, 4), True),
    ("'Power' power_param { power: -0.5 scale: 2 }", 1, (1, 4), True),
    ("'Power' power_param { scale: -2 shift: 1 }", 1, (1, 4), False),
    ("'PReLU'", 1, (2, 4), False),
    ("'PReLU' prelu_param { channel_shared: true }", 1, (2, 4), False),
    ("'BatchNorm'", 1, (2, 4), False),
    ("'Scale' scale_param { bias_term: true }", 1, (2, 4), False),
    ("'Scale' scale_param { axis: 0 num_axes: -1 }", 1, (1, 4), False),
    ("'Scale' scale_param { num_axes: 0 bias_term: true }", 1, (2, 4), False),
    ("'Scale' scale_param { axis: 0 }", 2, (1, 4), False),
    ("'Bias' bias_param { axis: 0 num_axes: 2 }", 1, (2, 4), False),
    ("'Bias' bias_param { axis: 0 }", 2, (1, 4), False),
    ("'Eltwise' eltwise_param { operation: PROD }", 3, (1, 4), False),
    ("'Eltwise' eltwise_param { operation: PROD stable_prod_grad: false }", 3, (1, 4), True),
    ("'Eltwise' eltwise_param { operation: MAX }", 3, (1, 4), False),
    ("'Eltwise' eltwise_param { coeff: 1 coeff: -2 coeff: 0.5 }", 3, (1, 4), False),
    ("'Reduction' reduction_param { operation: MEAN axis: -1 coeff: 3 }", 1, (1, 4), False),
    ("'Reduction' reduction_param { operation: SUMSQ }", 1, (1, 4), False),
    ("'Reduction' reduction_param { operation: ASUM coeff: 0.5 }", 1, (1, 4), False),
    ("'EuclideanLoss'", 2, (1, 4), False),
    ("'MVN' mvn_param { normalize_variance: false }", 1, (2, 4), False),
    ("'MVN' mvn_param { across_channels: true eps: 1e-12 }", 1, (3, 4), False),
    ("'MVN' mvn_param { eps: 1e-12 }", 1, (4, 4), False),
    ("'Tile' tile_param { axis: 0 tiles: 3 }", 1, (1, 4), False),
    ("'Softmax' softmax_param { axis: 0 }", 1, (1, 4), False),
    ("'Split'", 1, (1, 4), False),
    ("'Normalize'", 1, (2, 4), False),
    ("'Normalize' norm_param { across_spatial: false channel_shared: false }", 1, (2, 4), False),
    ("'LRN' lrn_param { local_size: 3 alpha: 0.9 beta: 0.6 norm_region: WITHIN_CHANNEL }", 1, (4, 4), False),
    ("'LRN' lrn_param { local_size: 3 alpha: 0.9 beta: 0.6 }", 1, (4, 4), False),
    ("'Deconvolution' convolution_param { num_output: 2 kernel_size: 3 stride: 2 pad: 1 dilation: 2 }", 1, (4, 4), 0),
    ("'Deconvolution' convolution_param { num_output: 3 kernel_size: 2 }", 1, (3, 5), 0),
    ("'Convolution' convolution_param { num_output: 2 kernel_size: 2 pad: 1 dilation: 2 stride: 2 }", 1, (3, 5), 0),
    ("'Im2col' convolution_param { kernel_size: 2 pad: 1 stride: 2 dilation: 2 }", 1, (4, 4), False),
    ("'Pooling' pooling_param { kernel_size: 3 stride: 2 pool: AVE pad: 1 }", 1, (4, 4), False),
    ("'SPP' spp_param { pyramid_height: 2 }", 1, (4, 4), False),
]


def check(text: str, bottoms: list[np.ndarray]) -> None:
    """Gradients of what a layer makes of float64 bottoms, for these and its parameters."""
    names = "".join(f" bottom: 'b{i}'" for i in range(len(bottoms)))
    layer = make_layer(f"type: {text}{names} top: 't'")
    layer.setup([b.shape for b in bottoms])
    stream = np.random.default_rng(1)
    filled = [fill(b.filler, b.shape, 0, "it", i).astype(np.float64) for i, b in enumerate(layer.blobs)]
    params = [
        torch.tensor(f + 0.3 * stream.normal(size=f.shape), requires_grad=b.learns, dtype=torch.float64)
        for f, b in zip(filled, layer.blobs, strict=True)
    ]
    inputs = [torch.tensor(b, requires_grad=b.dtype == np.float64) for b in bottoms]

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer.forward(tensors[: len(bottoms)], tensors[len(bottoms) :], Context(train=True)))

    assert torch.autograd.gradcheck(run, (*inputs, *params), eps=1e-6, atol=1e-5, rtol=1e-4)


def spread(shape: tuple[int, ...], positive: object, seed: int) -> np.ndarray:
    """Values at least 0.01 apart from each other, and from 0: no difference meets a kink."""
    count = int(np.prod(shape))
    steps = np.arange(1, count + 1) / count * 2 + 0.012
    steps = steps if positive else steps - 1
    stream = np.random.default_rng(seed)
    return stream.permutation(steps + 0.1 / count * stream.random(count)).reshape(shape)


@pytest.mark.parametrize(("text", "count", "axes", "positive"), ALIKE, ids=[case[0] for case in ALIKE])
@given(data=st.data())
@settings(max_examples=6, deadline=None)
def test_bottoms_of_one_shape(text, count, axes, positive, data):
    rank = data.draw(st.integers(*axes))
    least = 3 if "olution" in text or "MVN" in text or "SPP" in text or "BatchNorm" in text else 1
    shape = tuple(data.draw(st.lists(st.integers(least, 4), min_size=rank, max_size=rank)))
    seed = data.draw(st.integers(0, 9))
    check(text, [spread(shape, positive, seed + i) for i in range(count)])


LABELS = np.array([2.0, 0.0, 1.0], np.float32)


@pytest.mark.parametrize(
    ("text", "bottoms"),
    [
        ("'HingeLoss'", [(3, 4), LABELS]),
        ("'HingeLoss' hinge_loss_param { norm: L2 }", [(3, 2, 2), LABELS]),
        ("'MultinomialLogisticLoss'", [(3, 4), LABELS]),
        ("'SoftmaxWithLoss'", [(3, 4), LABELS]),
        ("'SoftmaxWithLoss' softmax_param { axis: 0 } loss_param { normalization: FULL }", [(3, 3), LABELS]),
        ("'InfogainLoss' loss_param { ignore_label: 0 }", [(3, 4), LABELS, np.eye(4, dtype=np.float32) + 0.1]),
        ("'SigmoidCrossEntropyLoss'", [(3, 4), np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)]),
        (
            "'SigmoidCrossEntropyLoss' loss_param { ignore_label: 1 normalization: VALID }",
            [(3, 4), np.linspace(0, 2, 12, dtype=np.float32).reshape(3, 4)],
        ),
        ("'Crop' crop_param { axis: 1 offset: 1 offset: 0 }", [(2, 4, 3), np.zeros((2, 2, 2), np.float32)]),
        ("'BatchReindex'", [(4, 2), np.array([3, 0, 3], np.float32)]),
        ("'Filter'", [(4, 2), np.array([1, 0, 1, 0], np.float32)]),
        ("'Scale' scale_param { bias_term: true }", [(2, 3, 4), (3, 4)]),
        ("'Scale'", [(2, 3, 4), ()]),
        ("'Bias' bias_param { axis: -1 }", [(2, 3, 4), (4,)]),
        ("'EuclideanLoss'", [(2, 3), (2, 3, 1, 1)]),
        ("'Convolution' convolution_param { num_output: 2 kernel_size: 2 axis: 2 }", [(2, 2, 2, 3, 3)]),
    ],
)
def test_bottoms_of_several_kinds(text, bottoms):
    check(text, [b if isinstance(b, np.ndarray) else spread(b, True, i) for i, b in enumerate(bottoms)])


def test_a_parameter_layer_hands_its_gradient_on():
    layer = make_layer("type: 'Parameter' top: 't' parameter_param { shape { dim: 2 dim: 3 } }")
    assert layer.setup([]) == [(2, 3)] and [b.shape for b in layer.blobs] == [(2, 3)]
    w = torch.zeros(2, 3, requires_grad=True)
    (y,) = layer.forward([], [w], Context(train=True))
    (3 * y).sum().backward()
    assert (w.grad == 3).all()
