from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from siamplex.engine.fast import spectral
from siamplex.engine.fast.spectral import Plane, spectral_conv2d, worthwhile

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    kernel=pairs,
    pad=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    groups=st.sampled_from([1, 2]),
    biased=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_torchs_convolution_and_its_gradients(size, kernel, pad, groups, biased, seed):
    """Any padding, also one wider than the kernel; odd and even sizes."""
    stream = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 4, *size, generator=stream).contiguous(memory_format=torch.channels_last).requires_grad_()
    w = torch.randn(6, 4 // groups, *kernel, generator=stream).requires_grad_()
    b = torch.randn(6, generator=stream).requires_grad_() if biased else None
    wanted = [x, w] + ([b] if b is not None else [])
    expected = functional.conv2d(x.double(), w.double(), None if b is None else b.double(), padding=pad, groups=groups)
    found = spectral_conv2d(x, w, b, pad)
    assert found.shape == expected.shape
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=2e-5)
    above = torch.randn(found.shape, generator=stream)
    theirs = torch.autograd.grad(expected, wanted, above.double())
    for mine, other in zip(torch.autograd.grad(found, wanted, above), theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=5e-5)


def test_conv2_is_as_near_the_exact_result_as_the_direct_form():
    torch.manual_seed(0)
    x = torch.randn(8, 96, 27, 27).relu().contiguous(memory_format=torch.channels_last).requires_grad_()
    w = (torch.randn(256, 48, 5, 5) * 0.02).requires_grad_()
    above = torch.randn(8, 256, 27, 27)

    def results(y):
        return [y, *torch.autograd.grad(y, (x, w), above.to(y.dtype))]

    exact = results(functional.conv2d(x.double(), w.double(), padding=2, groups=2))
    direct = results(functional.conv2d(x, w, padding=2, groups=2))
    spectra = results(spectral_conv2d(x, w, None, (2, 2)))
    for e, d, s in zip(exact, direct, spectra, strict=True):
        assert (s - e).norm() <= 2 * (d - e).norm()
        assert (s - e).norm() <= 1e-6 * e.norm()


def test_the_output_lies_channels_side_by_side():
    x, w = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3)
    assert spectral_conv2d(x, w, None, (1, 1)).is_contiguous(memory_format=torch.channels_last)


def test_only_the_gradients_asked_for():
    x, w = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3, requires_grad=True)
    spectral_conv2d(x, w, None, (1, 1)).sum().backward()
    assert w.grad is not None and x.grad is None


def test_saving_counts_multiplications():
    conv2 = Plane((27, 27), (5, 5), (2, 2))
    assert conv2.out == (27, 27) and conv2.period == (29, 29) and conv2.frequencies == (29, 15)
    assert conv2.saving() == pytest.approx(27 * 27 * 25 / (4 * 29 * 15))
    assert Plane((13, 13), (1, 1), (0, 0)).saving() < 1


def test_worthwhile_for_the_papers_layers_at_its_batch_and_not_for_narrow_or_few():
    conv2, conv3 = torch.empty(256, 48, 5, 5), torch.empty(384, 256, 3, 3)
    assert worthwhile(torch.empty(59, 96, 27, 27), conv2, (2, 2))
    assert worthwhile(torch.empty(59, 256, 13, 13), conv3, (1, 1))
    assert not worthwhile(torch.empty(8, 256, 13, 13), conv3, (1, 1))
    assert not worthwhile(torch.empty(2, 96, 27, 27), conv2, (2, 2))
    assert not worthwhile(torch.empty(59, 16, 27, 27), torch.empty(256, 16, 5, 5), (2, 2))
    assert not worthwhile(torch.empty(59, 96, 27, 27), torch.empty(32, 48, 5, 5), (2, 2))
    assert not worthwhile(torch.empty(59, 96, 27, 27, dtype=torch.float64), conv2.double(), (2, 2))
    with torch.autocast("cpu", torch.bfloat16):
        assert not worthwhile(torch.empty(59, 96, 27, 27), conv2, (2, 2))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every convolution of stride 1 by its spectra; counts them."""
    calls: list[int] = []

    def counted(x, weight, bias, pad):
        calls.append(1)
        return spectral_conv2d(x, weight, bias, pad)

    monkeypatch.setattr(spectral, "_LEAST_SAVING", 0.0)
    monkeypatch.setattr(spectral, "_LEAST_CHANNELS", 1)
    monkeypatch.setattr("siamplex.engine.fast.kernels.spectral_conv2d", counted)
    return calls


# not legacy_loss_itersize: a near tie in one of its pooling windows goes the other way when as little as
# the last bit of a convolution's result changes, the direct form's too
@pytest.mark.parametrize("name", ["indexed_full", "stacked_full", "margin_inv_policy"])
def test_follows_caffe_by_spectra(goldens, tmp_path, always, name):
    from tests.engine.test_goldens import test_follows_caffe

    test_follows_caffe(goldens, tmp_path, name, True)
    assert always


def test_off_with_the_shortcut(goldens, tmp_path, always):
    from tests.engine.test_goldens import test_follows_caffe

    test_follows_caffe(goldens, tmp_path, "indexed_full", False)
    assert not always
