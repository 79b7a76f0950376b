"""FFT convolution: a convolution of stride 1 as a product of spectra.

It multiplies the spectra of input and kernel frequency by frequency.  For large kernels this takes far fewer
multiplications: a tenth for conv2 (5x5 on 27x27), forward and for both gradients.  The transforms are short, so they
are products with a matrix of sines and cosines, for any length.  Sums are in float32, as in the direct form, and the
results agree to rounding.

Spectra are real arrays of shape (frequency, group, 2, ...), 2 for the real and the imaginary part.  Along a row only
the half of the frequencies that a real signal needs is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

Pair = tuple[int, int]

# Measured: all images of a batch share the kernel's spectrum, so a small batch needs a larger saving
_LEAST_SAVING = 100.0  # Plane.saving() times images from which the FFT convolution pays
_PLANES = 32  # geometries whose matrices are kept: more than a net has, unless its pictures change size
_LEAST_CHANNELS = 32  # of a group, in and out; narrower products run at a fraction of the processor's rate


@dataclass(frozen=True)
class Plane:
    """The geometry of one convolution: sizes of input, kernel and output in pixels."""

    size: Pair
    kernel: Pair
    pad: Pair

    @property
    def out(self) -> Pair:
        """Height and width of the output."""
        (h, w), (kh, kw), (ph, pw) = self.size, self.kernel, self.pad
        return h + 2 * ph - kh + 1, w + 2 * pw - kw + 1

    @property
    def period(self) -> Pair:
        """Length of the transforms.  The input is padded once; reads before its first pixel wrap around to zeros."""
        return self.size[0] + self.pad[0], self.size[1] + self.pad[1]

    @property
    def frequencies(self) -> Pair:
        """Number of frequencies kept along a column (all) and along a row (half)."""
        return self.period[0], self.period[1] // 2 + 1

    def saving(self) -> float:
        """Multiplications of the direct convolution per one of the FFT convolution (a complex product is four)."""
        direct = math.prod(self.out) * math.prod(self.kernel)
        return direct / (4 * math.prod(self.frequencies))


def worthwhile(x: torch.Tensor, weight: torch.Tensor, pad: Pair) -> bool:
    """Whether an FFT convolution of ``x`` (N, C, H, W), stride 1, is faster than the direct one on this device."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    o, c = weight.shape[:2]
    plane = _plane(x, weight, pad)
    narrowest = min(c, o * c // x.shape[1])
    return narrowest >= _LEAST_CHANNELS and plane.saving() * x.shape[0] >= _LEAST_SAVING


def _plane(x: torch.Tensor, weight: torch.Tensor, pad: Pair) -> Plane:
    return Plane((x.shape[2], x.shape[3]), (weight.shape[2], weight.shape[3]), pad)


def _turns(frequencies: int, positions: torch.Tensor, period: int) -> torch.Tensor:
    """exp(-2 pi i k x / period) as (frequencies, positions, 2), float64."""
    # reduce modulo the period first: the sine of a large angle would lose digits
    steps = torch.outer(torch.arange(frequencies), positions) % period
    angle = -2 * math.pi * steps.double() / period
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


@dataclass(frozen=True)
class _Transforms:
    """The transform matrices of one geometry, float32."""

    rows: torch.Tensor  # (2 Qw, W): along a row, to real parts and then imaginary parts
    columns: torch.Tensor  # (Qh 2, H 2): along a column, complex to complex
    columns_out: torch.Tensor  # the same for the output's height
    rows_out: torch.Tensor
    back_columns: torch.Tensor  # (H' 2, Qh 2): inverses, at the output's size
    back_rows: torch.Tensor  # (W', 2 Qw)
    back_columns_in: torch.Tensor  # and at the input's
    back_rows_in: torch.Tensor
    kernel: torch.Tensor  # (2 Qh Qw, kh kw): the kernel's spectrum, mirrored since Caffe correlates
    back_kernel: torch.Tensor  # (kh kw, 2 Qh Qw)


def _forth_rows(width: int, frequencies: int, period: int) -> torch.Tensor:
    turns = _turns(frequencies, torch.arange(width), period)
    return torch.cat([turns[..., 0], turns[..., 1]])


def _complex_matrix(turns: torch.Tensor) -> torch.Tensor:
    """(K, X, 2) complex factors -> (K 2, X 2) real matrix on (real, imaginary) side by side."""
    re, im = turns[..., 0], turns[..., 1]
    rows = torch.stack([torch.stack([re, -im], dim=-1), torch.stack([im, re], dim=-1)], dim=1)
    return rows.reshape(2 * turns.shape[0], 2 * turns.shape[1])


def _weights_of_half(frequencies: int, period: int) -> torch.Tensor:
    """How often each kept frequency of a row counts: 2 where its mirror image is not kept, else 1."""
    count = torch.full((frequencies,), 2.0, dtype=torch.float64)
    count[0] = 1
    if period % 2 == 0:
        count[-1] = 1
    return count


def _back_rows(width: int, frequencies: int, period: int) -> torch.Tensor:
    turns = _turns(frequencies, torch.arange(width), period)
    turns = turns * (_weights_of_half(frequencies, period) / period)[:, None, None]
    return torch.cat([turns[..., 0], turns[..., 1]]).t()  # Re(Y conj(turn)) = re re + im im


def _back_columns(height: int, frequencies: int, period: int) -> torch.Tensor:
    turns = _turns(frequencies, torch.arange(height), period) / period
    return _complex_matrix(turns).t()  # the transpose of a complex matrix here is its conjugate's


@lru_cache(maxsize=_PLANES)
def _transforms(plane: Plane) -> _Transforms:
    (h, w), (out_h, out_w) = plane.size, plane.out
    (period_h, period_w), (qh, qw) = plane.period, plane.frequencies
    # +k (t - pad): the output's pixel i reads the input's i + t - pad
    turn_h = _turns(qh, plane.pad[0] - torch.arange(plane.kernel[0]), period_h)
    turn_w = _turns(qw, plane.pad[1] - torch.arange(plane.kernel[1]), period_w)
    a, b = torch.view_as_complex(turn_h), torch.view_as_complex(turn_w)
    both = (a[:, None, :, None] * b[None, :, None, :]).reshape(qh * qw, -1)
    kernel = torch.cat([both.real, both.imag])
    # dL/dw[t] = sum of conj(dY) X exp(+...) over all frequencies, real part
    count = (_weights_of_half(qw, period_w) / (period_h * period_w)).repeat(qh)
    back = torch.cat([both.real, both.imag]) * count.repeat(2)[:, None]
    matrices = (
        _forth_rows(w, qw, period_w),
        _complex_matrix(_turns(qh, torch.arange(h), period_h)),
        _complex_matrix(_turns(qh, torch.arange(out_h), period_h)),
        _forth_rows(out_w, qw, period_w),
        _back_columns(out_h, qh, period_h),
        _back_rows(out_w, qw, period_w),
        _back_columns(h, qh, period_h),
        _back_rows(w, qw, period_w),
        kernel,
        back.t(),
    )
    return _Transforms(*(m.float().contiguous() for m in matrices))


def _spectrum(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, groups: int) -> torch.Tensor:
    """(N, C, H, W) -> (Qh, Qw, G, 2, N, C/G)."""
    n, c, h, w = x.shape
    qh, qw = columns.shape[0] // 2, rows.shape[0] // 2
    pixels = x.permute(0, 2, 3, 1).reshape(n * h, w, c)  # no copy: channels lie side by side
    along_rows = torch.matmul(rows, pixels).view(n, 2 * h, qw * c)
    both = torch.matmul(columns, along_rows).view(n, qh, 2, qw, groups, c // groups)
    return both.permute(1, 3, 4, 2, 0, 5).contiguous()


def _pixels(spectrum: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(Qh, Qw, G, 2, N, C/G) -> (N, C, H, W), channels side by side; the inverse of ``_spectrum``."""
    qh, qw, groups, _, n, c = spectrum.shape
    h, w = columns.shape[0] // 2, rows.shape[0]
    by_image = spectrum.permute(4, 0, 3, 1, 2, 5).reshape(n, 2 * qh, qw * groups * c)
    along_rows = torch.matmul(columns, by_image).view(n * h, 2 * qw, groups * c)
    return torch.matmul(rows, along_rows).view(n, h, w, groups * c).permute(0, 3, 1, 2)


def _turned(spectrum: torch.Tensor) -> torch.Tensor:
    """i times a spectrum (Qh, Qw, G, 2, N, C)."""
    result = torch.empty_like(spectrum)
    torch.neg(spectrum[:, :, :, 1], out=result[:, :, :, 0])
    result[:, :, :, 1] = spectrum[:, :, :, 0]
    return result


class _Spectral(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pad: Pair) -> Any:
        plane = _plane(x, weight, pad)
        m = _transforms(plane)
        o, c = weight.shape[:2]
        n, g = x.shape[0], x.shape[1] // c
        qh, qw = plane.frequencies
        xs = _spectrum(x, m.rows, m.columns, g)
        ws = torch.matmul(m.kernel, weight.reshape(o * c, -1).t()).view(2, qh * qw * g, o // g, c)
        ys = torch.bmm(xs.view(-1, 2 * n, c), ws[0].transpose(1, 2))
        ys.baddbmm_(_turned(xs).view(-1, 2 * n, c), ws[1].transpose(1, 2))
        ys = ys.view(qh, qw, g, 2, n, o // g)
        if bias is not None:  # a constant is frequency zero
            ys[0, 0, :, 0] += math.prod(plane.period) * bias.view(g, 1, -1)
        ctx.save_for_backward(xs, ws)
        ctx.plane, ctx.biased, ctx.kernel = plane, bias is not None, weight.shape
        return _pixels(ys, m.back_columns, m.back_rows)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        xs, ws = ctx.saved_tensors
        m = _transforms(ctx.plane)
        qh, qw, g, _, n, c = xs.shape
        ds = _spectrum(grads[0], m.rows_out, m.columns_out, g)
        below, own, bias = None, None, None
        flat = ds.view(qh * qw * g, 2 * n, -1)
        if ctx.needs_input_grad[0]:  # dX = dY conj(W)
            below_s = torch.bmm(flat, ws[0]).view(xs.shape)
            crossed = torch.bmm(flat, ws[1]).view(xs.shape)
            below_s[:, :, :, 0] += crossed[:, :, :, 1]
            below_s[:, :, :, 1] -= crossed[:, :, :, 0]
            below = _pixels(below_s, m.back_columns_in, m.back_rows_in)
        if ctx.needs_input_grad[1]:  # conj(dY) X
            across, half = flat.transpose(1, 2), qh * qw
            real = torch.bmm(across, xs.view(-1, 2 * n, c)).view(half, -1)
            total = torch.matmul(m.back_kernel[:, :half], real)
            del real  # as large as half a spectrum of the kernel
            imaginary = torch.bmm(across, _turned(xs).view(-1, 2 * n, c)).view(half, -1)
            own = total.addmm_(m.back_kernel[:, half:], imaginary).t().reshape(ctx.kernel)
        if ctx.biased and ctx.needs_input_grad[2]:
            bias = ds[0, 0, :, 0].sum(1).reshape(-1)
        return below, own, bias, None


def spectral_conv2d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pad: Pair) -> torch.Tensor:
    """The result of ``conv2d`` with stride 1, differentiable: (N, C, H, W) -> (N, O, H', W'), float32.

    ``weight`` is (O, C / groups, kernel_h, kernel_w), ``bias`` (O,) or None, ``pad`` in pixels.
    """
    result: torch.Tensor = _Spectral.apply(x, weight, bias, pad)
    return result
