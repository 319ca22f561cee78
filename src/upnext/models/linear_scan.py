"""The recurrence h_t = λ h_(t-1) + x_t with its gradient, λ fixed or given anew at every place; knows no model.

Fixed λ: complex numbers are pairs of real tensors, so that training, serving and export share one arithmetic. Parallel
over time in the manner of the prefix scan (Martin and Cundy, ICLR 2018): about √L steps inside all chunks together,
√L from chunk to chunk, one broadcast; work stays linear in L. λ of every place: real, one step after the other, each
over all rows and channels.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def linear_scan(x: Tensor, decay: Tensor) -> Tensor:
    """h with h_t = λ h_(t-1) + x_t and h before the first place 0; differentiable in both arguments, once.

    `x` (2, B, L, N) real and imaginary parts; `decay` (2, N) λ likewise. Returns h, shaped like `x`.
    """
    result: Tensor = _LinearScan.apply(x, decay)  # type: ignore[no-untyped-call]
    return result


def _scan(x: Tensor, decay: Tensor) -> Tensor:
    """`linear_scan` without a gradient."""
    _, n_rows, length, n_channels = x.shape
    chunk = max(1, math.isqrt(length))
    n_chunks = -(-length // chunk)
    h = x.new_zeros(2, n_rows, n_chunks, chunk, n_channels)
    h.view(2, n_rows, n_chunks * chunk, n_channels)[:, :, :length] = x
    for t in range(1, chunk):
        _add_product(h[:, :, :, t], decay, h[:, :, :, t - 1])
    power = decay
    powers = [power]
    for _ in range(1, chunk):
        power = _product(power, decay)
        powers.append(power)
    for k in range(1, n_chunks):  # afterwards the last place of each chunk knows all before it
        _add_product(h[:, :, k, -1], power, h[:, :, k - 1, -1])
    if chunk > 1:
        carried = h[:, :, :-1, -1:]
        _add_product(h[:, :, 1:, :-1], torch.stack(powers[:-1], dim=1), carried)
    return h.view(2, n_rows, n_chunks * chunk, n_channels)[:, :, :length]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The complex product of pairs on the first axis."""
    return torch.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]])


def _add_product(target: Tensor, a: Tensor, b: Tensor) -> None:
    """target += a b, complex, in place."""
    target[0].addcmul_(a[0], b[0]).addcmul_(a[1], b[1], value=-1)
    target[1].addcmul_(a[0], b[1]).addcmul_(a[1], b[0])


class _LinearScan(torch.autograd.Function):
    """The gradient of a scan is a scan backwards in time, with the conjugate λ."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, decay: Tensor) -> Tensor:
        h = _scan(x, decay)
        ctx.save_for_backward(h, decay)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_h: Tensor) -> tuple[Tensor, Tensor]:
        h, decay = ctx.saved_tensors  # type: ignore[attr-defined]
        conjugate = torch.stack([decay[0], -decay[1]])
        grad_x = _scan(grad_h.flip(2), conjugate).flip(2)
        before, after = h[:, :, :-1], grad_x[:, :, 1:]
        real = (before[0] * after[0] + before[1] * after[1]).sum(dim=(0, 1))
        imaginary = (before[0] * after[1] - before[1] * after[0]).sum(dim=(0, 1))
        return grad_x, torch.stack([real, imaginary])


def gated_scan(x: Tensor, decay: Tensor) -> Tensor:
    """h with h_t = λ_t h_(t-1) + x_t and h before the first place 0; differentiable in both arguments, once.

    `x`, `decay` (L, B, N) real, time first. Returns h, shaped like `x`.
    """
    result: Tensor = _GatedScan.apply(x, decay)  # type: ignore[no-untyped-call]
    return result


class _GatedScan(torch.autograd.Function):
    """The gradient is a scan backwards in time, each place with the decay of the one after it."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, decay: Tensor) -> Tensor:
        h = torch.empty_like(x)
        places, inputs, decays = h.unbind(), x.unbind(), decay.unbind()
        if len(places):
            places[0].copy_(inputs[0])
        for t in range(1, len(places)):
            torch.addcmul(inputs[t], decays[t], places[t - 1], out=places[t])
        ctx.save_for_backward(h, decay)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_h: Tensor) -> tuple[Tensor, Tensor]:
        h, decay = ctx.saved_tensors  # type: ignore[attr-defined]
        grad_x, grad_decay = grad_h.clone(memory_format=torch.contiguous_format), torch.zeros_like(decay)
        places, decays = grad_x.unbind(), decay.unbind()
        for t in range(len(places) - 2, -1, -1):
            places[t].addcmul_(decays[t + 1], places[t + 1])
        torch.mul(grad_x[1:], h[:-1], out=grad_decay[1:])
        return grad_x, grad_decay
