"""How well each item of a sequence agrees with the rest of it, the item itself left out.

An interest that includes the item under test agrees with it by construction. So everything here leaves the item out.
Every function is vectorised over batch and time. `present` [B, T] is true on real positions that have a vector.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import kernels
from .batch import IndexedRows
from .features import AGREEMENTS
from .linear import linear

NEAR_STEPS = 3
"""Interactions count as near in time if they are at most this many steps before or after."""


class Chance(nn.Module):
    """Mean and standard deviation of an item's similarity to a random interaction of the log, in one view of the items.

    The similarity of two items is the dot product of their vectors. So both follow exactly from the vectors' first two
    moments.
    """

    mean: Tensor
    """Mean of the vectors, [n]."""
    moment: Tensor
    """Second moments of the vectors, [n, n]."""

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("moment", torch.zeros(size, size))

    def measure(self, vectors: Tensor, weights: Tensor) -> None:
        """Stores the moments of vectors [V, n], each counted `weights` [V] times."""
        weights = (weights / weights.sum().clamp(min=1))[:, None]  # [V, 1]; all 0 if no item is in this view
        self.mean.copy_((vectors * weights).sum(0))
        self.moment.copy_((vectors * weights).T @ vectors)

    def forward(self, vectors: Tensor) -> Tensor:
        """Returns mean and standard deviation [..., 2] of the similarity of vectors [..., n]."""
        mean = linear(vectors, self.mean[None]).squeeze(-1)
        square = (linear(vectors, self.moment.T) * vectors).sum(-1)
        return torch.stack([mean, (square - mean.square()).clamp(min=0).sqrt()], dim=-1)


class _Cosine(torch.autograd.Function):
    """See `cosine`."""

    @staticmethod
    def forward(ctx, vectors: Tensor, others: Tensor, lag: int) -> Tensor:
        ctx.save_for_backward(vectors, others)
        ctx.lag = lag
        values = others.new_empty(others.shape[:2])
        kernels.cosines(*(tensor.detach().contiguous().numpy() for tensor in (vectors, others)), lag, values.numpy())
        return values

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        vectors, others = ctx.saved_tensors
        until = others.shape[1] - ctx.lag
        with torch.enable_grad():
            pair = [vectors[:, :until].detach().requires_grad_(), others[:, ctx.lag :].detach().requires_grad_()]
            values = F.cosine_similarity(*pair, dim=-1)
        to_vectors, to_others = torch.autograd.grad(values, pair, gradient[:, ctx.lag :])
        return F.pad(to_vectors, (0, 0, 0, ctx.lag)), F.pad(to_others, (0, 0, ctx.lag, 0)), None


def cosine(vectors: Tensor, others: Tensor, lag: int = 0) -> Tensor:
    """Returns the cosine of `vectors` [B, T, n] at t - lag to `others` [B, T, n] at t, [B, T].

    It is 0 where one of the two is zero, and at the first `lag` positions. Without a lag, `vectors` may be [B, 1, n]:
    the same for all positions.
    """
    values = _Cosine.apply(vectors, others, lag)
    assert isinstance(values, Tensor)
    return values


class _LeaveOneOutMax(torch.autograd.Function):
    """See `leave_one_out_max`."""

    @staticmethod
    def forward(ctx, vectors: Tensor, present: Tensor) -> Tensor:
        ctx.save_for_backward(vectors, present)
        maxima = torch.empty_like(vectors)
        kernels.leave_one_out_max(vectors.detach().numpy(), present.numpy(), maxima.numpy())
        return maxima

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        vectors, present = ctx.saved_tensors
        to_vectors = torch.zeros_like(vectors)
        kernels.leave_one_out_max_gradient(
            vectors.detach().numpy(), present.numpy(), gradient.contiguous().numpy(), to_vectors.numpy()
        )
        return to_vectors, None


def leave_one_out_max(vectors: Tensor, present: Tensor) -> Tensor:
    """Returns for each position the element-wise maximum over the other present positions.

    Args:
        vectors: [B, T, h].
        present: bool [B, T].

    Returns:
        [B, T, h]; 0 where no other position is present.
    """
    maxima = _LeaveOneOutMax.apply(vectors.contiguous(), present.contiguous())
    assert isinstance(maxima, Tensor)
    return maxima


def leave_one_out_mean(vectors: Tensor, present: Tensor) -> Tensor:
    """Returns for each position the mean over the other present positions.

    Args:
        vectors: [B, T, h], 0 where absent.
        present: bool [B, T].

    Returns:
        [B, T, h]; 0 where no other position is present.
    """
    others = present.sum(1, keepdim=True) - present.long()  # [B, T]
    return (vectors.sum(1, keepdim=True) - vectors).div_(others.clamp(min=1)[..., None])  # [B, T, h]


@dataclass(frozen=True)
class View:
    """One way to compare the items of a sequence: the similarity of two is the dot product of their vectors."""

    vectors: IndexedRows
    """Unit vectors, rows of a table [., n]."""
    present: Tensor
    """bool [B, T], real positions that have a vector in this view."""
    total: Tensor | None = None
    """Sum of the vectors over the whole history that each window is cut from, [B, n]. None if all windows are whole
    histories."""
    count: Tensor | None = None
    """Vectors in that sum, [B]; 0 if the window is the whole history."""


def sequence_agreement(view: View, chance: Tensor) -> tuple[Tensor, Tensor]:
    """Measures in one view how well each item agrees with the others of its sequence.

    Args:
        view: The items.
        chance: Mean and standard deviation of the similarity that chance gives each item in this view, [B, T, 2].

    Returns:
        Values [B, T, 8] in the order of AGREEMENTS, 0 where not defined; and where they are defined, bool [B, T, 8].
    """
    shape = view.present.shape
    values = chance.new_zeros(*shape, len(AGREEMENTS))
    defined = torch.zeros(values.shape, dtype=torch.bool)
    total = values.new_zeros(shape[0], 0) if view.total is None else view.total
    count = values.new_zeros(shape[0]) if view.count is None else view.count
    kernels.agreement(
        *(tensor.numpy() for tensor in (view.vectors.table, view.vectors.index, view.present, total, count)),
        NEAR_STEPS,
        values.numpy(),
        defined.numpy(),
    )
    values[..., -2:] = chance * view.present[..., None]
    defined[..., -2:] = view.present[..., None]
    return values, defined


def near_means(values: Tensor, defined: Tensor, columns: list[int]) -> tuple[Tensor, Tensor]:
    """Takes the mean of some features over the other positions near in time.

    Args:
        values: [B, T, F].
        defined: bool [B, T, F].
        columns: Which k of the features.

    Returns:
        The means [B, T, k], 0 where no near position has the feature; and where one has it, bool [B, T, k].
    """
    means = values.new_zeros(*values.shape[:2], len(columns))
    known = torch.zeros(means.shape, dtype=torch.bool)
    kernels.near_means(
        values.detach().numpy(), defined.numpy(), np.array(columns, np.int64), NEAR_STEPS, means.numpy(), known.numpy()
    )
    return means, known
