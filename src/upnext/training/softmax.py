"""Cross-entropy over a whole catalogue or a drawn part of it; knows item rows, nothing of sequences or models."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CHUNK_LOGITS = 2**21
"""Logits held at once (8 MiB): small enough to stay in the cache between the three matrix products."""

EXCLUDED = -1e30
"""The logit of a negative that does not count. Finite: a row may have nothing but such, and -inf would make it NaN."""


def full_softmax_loss(hidden: Tensor, table: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of `hidden` (n, D) against all rows of `table` (n_items, D) and `bias` (n_items,).

    `targets` (n,) long. The (n, n_items) logits never exist as a whole: each chunk's gradient is formed with its loss.
    """
    loss: Tensor = _ChunkedSoftmax.apply(hidden, table, bias, targets)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedSoftmax(torch.autograd.Function):
    """Forward does the work of backward too, which only scales."""

    @staticmethod
    def forward(ctx: FunctionCtx, hidden: Tensor, table: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        d_hidden, d_table, d_bias = torch.empty_like(hidden), torch.zeros_like(table), torch.zeros_like(bias)
        total = hidden.new_zeros(())
        size = max(1, CHUNK_LOGITS // len(table))
        for begin in range(0, len(hidden), size):
            rows, target = hidden[begin : begin + size], targets[begin : begin + size, None]
            logits = torch.addmm(bias, rows, table.T)
            share = torch.softmax(logits, dim=1)
            # log Σ exp = largest logit - log of its share: no second pass of exponentials.
            total += (logits.amax(1) - torch.log(share.amax(1)) - logits.gather(1, target)[:, 0]).sum()
            share.scatter_add_(1, target, -torch.ones_like(target, dtype=share.dtype))
            torch.mm(share, table, out=d_hidden[begin : begin + size])
            d_table.addmm_(share.T, rows)
            d_bias += share.sum(0)
        ctx.save_for_backward(d_hidden, d_table, d_bias)
        return total / len(hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        d_hidden, d_table, d_bias = ctx.saved_tensors  # type: ignore[attr-defined]
        scale = grad / len(d_hidden)
        return d_hidden * scale, d_table * scale, d_bias * scale, None


def sampled_softmax_loss(
    hidden: Tensor, table: Tensor, bias: Tensor, targets: Tensor, negatives: Tensor, log_expected: Tensor
) -> Tensor:
    """Mean cross-entropy of `hidden` (n, D) with the catalogue's share of the sum estimated from shared negatives.

    `negatives` (m,) long rows drawn with replacement; `log_expected` (m,) the logarithm of how often a row is expected
    in such a draw (m q). Dividing by it makes the estimate of Σ exp(score) over all other items unbiased
    (Bengio and Senécal 2008); the target, always present, is not corrected, and not counted again when drawn.
    """
    rows = torch.nn.functional.embedding
    positive = (hidden * rows(targets, table)).sum(1) + bias[targets]
    corrected = bias[negatives] - log_expected
    loss: Tensor = _ChunkedSampledSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden, positive, rows(negatives, table), corrected, targets, negatives
    )
    return loss


class _ChunkedSampledSoftmax(torch.autograd.Function):
    """As `_ChunkedSoftmax`, with the positive score beside those of the negatives instead of among them."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        hidden: Tensor,
        positive: Tensor,
        table: Tensor,
        bias: Tensor,
        targets: Tensor,
        negatives: Tensor,
    ) -> Tensor:
        d_hidden, d_positive = torch.empty_like(hidden), torch.empty_like(positive)
        d_table, d_bias = torch.zeros_like(table), torch.zeros_like(bias)
        total = hidden.new_zeros(())
        size = max(1, CHUNK_LOGITS // (len(table) + 1))
        for begin in range(0, len(hidden), size):
            rows, first = hidden[begin : begin + size], positive[begin : begin + size, None]
            logits = torch.addmm(bias, rows, table.T)
            logits.masked_fill_(negatives == targets[begin : begin + size, None], EXCLUDED)
            log_others = torch.logsumexp(logits, dim=1, keepdim=True)
            share_others = torch.sigmoid(log_others - first)  # of the whole sum, positive included
            total += torch.nn.functional.softplus(log_others - first).sum()
            share = torch.softmax(logits, dim=1).mul_(share_others)
            torch.mm(share, table, out=d_hidden[begin : begin + size])
            d_positive[begin : begin + size] = -share_others[:, 0]
            d_table.addmm_(share.T, rows)
            d_bias += share.sum(0)
        ctx.save_for_backward(d_hidden, d_positive, d_table, d_bias)
        return total / len(hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # type: ignore[attr-defined]
        scale = grad / len(saved[0])
        return (*(value * scale for value in saved), None, None)


class NegativeSampler:
    """Draws rows from a mixture of popularity and the uniform distribution over the catalogue."""

    def __init__(self, counts: Tensor, n_negatives: int, popularity_share: float) -> None:
        """`counts` (n_items,) how often each row was seen; a row never seen is still drawn, uniformly."""
        n_items = len(counts)
        popularity = counts.double() / counts.sum().clamp(min=1)
        mixture = popularity_share * popularity + (1 - popularity_share) / n_items
        self.cumulative = torch.cumsum(mixture / mixture.sum(), dim=0)
        self.log_expected = torch.log(n_negatives * mixture / mixture.sum()).float()
        self.n_negatives = n_negatives

    def draw(self) -> tuple[Tensor, Tensor]:
        """Rows (n_negatives,) long with replacement, and the logarithm of each one's expected number in such a draw."""
        points = torch.rand(self.n_negatives, dtype=torch.float64, device=self.cumulative.device)
        rows = torch.searchsorted(self.cumulative, points).clamp(max=len(self.cumulative) - 1)
        return rows, self.log_expected[rows]
