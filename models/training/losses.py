"""The losses of both stages."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ROWS_AT_ONCE = 256
"""Rows whose logits are computed together. With a thousand negatives they stay in a core's cache."""

MIN_TEMPERATURE = 0.03
"""The losses do not look for the largest logit first. Cosines over a temperature differ by 2 / temperature at most, so
that no exponential is too small for float32."""


class _InfoNCE(torch.autograd.Function):
    """Loss and gradient of `info_nce` in one go, for unit vectors. The logits are overwritten, never copied."""

    @staticmethod
    def forward(ctx, left: Tensor, right: Tensor, temperature: float, groups: Tensor | None) -> Tensor:
        number = len(left)
        similar = left @ right.T / temperature  # [n, n]
        partners = similar.diagonal().clone()
        if groups is not None:
            same = groups[:, None] == groups
            similar.masked_fill_(same.fill_diagonal_(False), float("-inf"))
        similar.sub_(1 / temperature).exp_()
        rows, columns = similar.sum(1), similar.sum(0)
        # The gradient of the logits, but for the partners' own 1.
        similar.mul_((1 / rows)[:, None] + 1 / columns)
        scale = 1 / (2 * number * temperature)
        ctx.save_for_backward((similar @ right - 2 * right) * scale, (similar.T @ left - 2 * left) * scale)
        return ((rows.log() + columns.log()) / 2 + 1 / temperature - partners).mean()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        to_left, to_right = ctx.saved_tensors
        return gradient * to_left, gradient * to_right, None, None


def info_nce(left: Tensor, right: Tensor, temperature: float, groups: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE between paired rows: each row must find its partner among all (paper section 4.2).

    Args:
        left: Vectors of one modality, [n, h].
        right: Their partners in the other, [n, h].
        temperature: Divides the cosines; MIN_TEMPERATURE or more.
        groups: int [n]; rows of the same group are no negatives of one another. Two positions that hold the same
            item have the same text, so that nothing can tell them apart.

    Returns:
        The mean loss, a scalar; 0 when there are fewer than two rows.
    """
    if len(left) < 2:
        return left.sum() * 0
    loss = _InfoNCE.apply(F.normalize(left, dim=-1), F.normalize(right, dim=-1), temperature, groups)
    assert isinstance(loss, Tensor)
    return loss


class _SampledSoftmax(torch.autograd.Function):
    """Loss and gradient of `sampled_softmax` in one go, for unit vectors, some rows at a time.

    The logits of all rows at once would go through memory again for each step of the arithmetic.
    """

    @staticmethod
    def forward(
        ctx, context: Tensor, targets: Tensor, negatives: Tensor, rows: Tensor, columns: Tensor, temperature: float
    ) -> Tensor:
        number = len(context)
        losses = context.new_empty(number)
        to_context, to_targets = torch.empty_like(context), torch.empty_like(targets)
        to_negatives = torch.zeros_like(negatives)
        scaled = negatives.T / temperature  # [d, m]
        starts = range(0, number, ROWS_AT_ONCE)
        bounds = torch.searchsorted(rows, torch.arange(0, number + ROWS_AT_ONCE, ROWS_AT_ONCE)).tolist()
        for start, first, last in zip(starts, bounds, bounds[1:], strict=False):
            of = slice(start, start + ROWS_AT_ONCE)
            others = context[of] @ scaled  # [r, m]
            others[rows[first:last] - start, columns[first:last]] = float("-inf")
            others.sub_(1 / temperature).exp_()
            positive = (context[of] * targets[of]).sum(1) / temperature - 1 / temperature
            own = positive.exp()
            total = others.sum(1) + own
            losses[of] = total.log() - positive
            others.div_(total[:, None])
            missing = (own / total - 1)[:, None]
            to_context[of] = torch.addmm(targets[of] * missing, others, negatives)
            to_targets[of] = context[of] * missing
            to_negatives.addmm_(others.T, context[of])
        scale = 1 / (number * temperature)
        ctx.save_for_backward(*(gradient.mul_(scale) for gradient in (to_context, to_targets, to_negatives)))
        return losses.mean()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return (*(gradient * saved for saved in ctx.saved_tensors), None, None, None)


def sampled_softmax(
    context: Tensor,
    targets: Tensor,
    negatives: Tensor,
    target_items: Tensor,
    negative_items: Tensor,
    temperature: float,
) -> Tensor:
    """Cross-entropy of the next item against negatives shared by all positions, on cosines.

    With negatives drawn in proportion to popularity and no correction for it, the optimal logit is the pointwise
    mutual information of context and item (Levy and Goldberg, 2014): how much more often they meet than by
    chance, with popularity divided out. That is what a noise detector needs to know. The usual correction ranks by
    plain probability, and would call every popular item a good fit.

    Args:
        context: Predictions, [n, d].
        targets: Vectors of the true next items, [n, d].
        negatives: Vectors of the negative items, [m, d].
        target_items: int [n]; a negative that happens to be the target is ignored.
        negative_items: int [m].
        temperature: Divides the cosines; MIN_TEMPERATURE or more.

    Returns:
        The mean loss, a scalar; 0 when there is nothing to predict.
    """
    if len(context) == 0:  # all users of the batch have one interaction; the mean over nothing would be NaN
        return context.sum() * 0
    rows, columns = _matches(target_items.numpy(), negative_items.numpy())
    unit = (F.normalize(vectors, dim=-1) for vectors in (context, targets, negatives))
    loss = _SampledSoftmax.apply(*unit, rows, columns, temperature)
    assert isinstance(loss, Tensor)
    return loss


def _matches(targets: np.ndarray, negatives: np.ndarray) -> tuple[Tensor, Tensor]:
    """Returns the pairs of a target [n] and a negative [m] that are the same item, as places, in order of targets."""
    order = np.argsort(negatives, kind="stable")
    first, last = (np.searchsorted(negatives[order], targets, side=side) for side in ("left", "right"))
    number = last - first
    rows = np.repeat(np.arange(len(targets)), number)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
    return torch.from_numpy(rows), torch.from_numpy(order[first[rows] + nth])


def hard_gumbel_sigmoid(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draws 0 or 1, with P(1) = sigmoid(logit) exactly; gradients pass through (straight-through).

    The difference of two Gumbel variables is logistic. The published code adds only one of them, which gives
    P(1) = 1 - exp(-exp(logit)) instead.

    Args:
        logits: Any shape.
        uniform: The noise: numbers drawn evenly from [0, 1), of the same shape.
    """
    uniform = uniform.clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid(logits + torch.log(uniform) - torch.log1p(-uniform))
    return (soft > 0.5).to(soft) + (soft - soft.detach())  # the bracket is exactly 0
