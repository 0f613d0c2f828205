"""How well each item of a sequence agrees with the rest of it, the item itself left out.

An interest that includes the item under test agrees with it by construction, so everything here leaves it out.
Every function is vectorised over batch and time; `present` [B, T] is true on real positions that have a vector.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

NEAR = 3
"""Steps before and after within which interactions count as near in time."""

AGREEMENTS = ("mean", "maximum", "near_mean", "near_maximum", "rest", "chance_mean", "chance_deviation")
"""Similarity to the rest of the user's history, its mean, and its maximum within the window; likewise to what is near
in time; how similar the rest are among themselves; and the similarity that the item has to any interaction of the log.
Without the last three nobody can say whether a mean is low for this user and for this item."""


class Chance(nn.Module):
    """Mean and deviation of an item's similarity to a random interaction of the log, in one view of the items.

    Similarity is the dot product of two items' vectors, so both follow exactly from the vectors' first two moments.

    Attributes:
        mean: Of the vectors, [n].
        moment: Second moments of the vectors, [n, n].
    """

    mean: Tensor
    moment: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("moment", torch.zeros(size, size))

    def measure(self, vectors: Tensor, weights: Tensor) -> None:
        """Takes the moments of vectors [V, n], each counted `weights` [V] times."""
        weights = (weights / weights.sum().clamp(min=1))[:, None]  # [V, 1]; all 0 where no item is in this view
        self.mean.copy_((vectors * weights).sum(0))
        self.moment.copy_((vectors * weights).T @ vectors)

    def forward(self, vectors: Tensor) -> Tensor:
        """Returns mean and deviation [..., 2] of the similarity of vectors [..., n]."""
        mean = vectors @ self.mean
        square = ((vectors @ self.moment) * vectors).sum(-1)
        return torch.stack([mean, (square - mean.square()).clamp(min=0).sqrt()], dim=-1)


def leave_one_out_max(vectors: Tensor, present: Tensor) -> Tensor:
    """Returns for each position the element-wise maximum over the other present positions.

    Args:
        vectors: [B, T, h].
        present: bool [B, T].

    Returns:
        [B, T, h]; 0 where no other position is present.
    """
    least = torch.finfo(vectors.dtype).min
    candidates = vectors if present.all() else vectors.masked_fill(~present[..., None], least)
    before = [torch.full_like(candidates[:, 0], least)]  # each [B, h]
    after = before.copy()
    for step in range(vectors.shape[1] - 1):
        before.append(torch.maximum(before[-1], candidates[:, step]))
        after.append(torch.maximum(after[-1], candidates[:, -1 - step]))
    # Position by position: that is still in the cache.
    others = torch.stack([torch.maximum(*sides) for sides in zip(before, reversed(after), strict=True)], 1)  # [B, T, h]
    has_others = _has_others(present)
    return others if has_others.all() else others.masked_fill_(~has_others[..., None], 0)


def leave_one_out_mean(vectors: Tensor, present: Tensor) -> Tensor:
    """Returns for each position the mean over the other present positions.

    Args:
        vectors: [B, T, h], 0 where absent.
        present: bool [B, T].

    Returns:
        [B, T, h]; 0 where no other position is present.
    """
    others = present.sum(1, keepdim=True) - present.long()  # [B, T]
    return (vectors.sum(1, keepdim=True) - vectors) / others.clamp(min=1)[..., None]  # [B, T, h]


@dataclass(frozen=True)
class View:
    """One way to compare the items of a sequence: the similarity of two is the dot product of their vectors.

    Attributes:
        vectors: Unit vectors [B, T, n], 0 where absent.
        present: bool [B, T], real positions that have vectors in this view.
        total: Sum of the vectors over the whole history that each window is part of, [B, n]; None: the windows are
            whole histories.
        count: Vectors in that sum, [B].
    """

    vectors: Tensor
    present: Tensor
    total: Tensor | None = None
    count: Tensor | None = None


def sequence_agreement(view: View, chance: Tensor) -> tuple[Tensor, Tensor]:
    """Measures in one view how well each item agrees with the others of its sequence.

    Args:
        view: The items.
        chance: Mean and deviation of the similarity that chance gives each item in this view, [B, T, 2].

    Returns:
        Values [B, T, 7] in the order of AGREEMENTS, 0 where not defined; and bool [B, T, 7], where they are.
    """
    vectors, present = view.vectors, view.present
    similarity = vectors @ vectors.transpose(1, 2)  # [B, T, T]
    # An item is as similar to itself as can be, 1, and that is taken out of every sum.
    if view.total is None or view.count is None:
        count = present.sum(1).to(vectors)
        to_all = similarity.sum(-1)  # [B, T]
        all_pairs = to_all.sum(-1)  # each pair counts twice
    else:
        count = view.count
        to_all = (vectors * view.total[:, None]).sum(-1)  # faster than matrix by vector
        all_pairs = view.total.square().sum(-1)
    own, all_pairs, count = to_all - 1, (all_pairs - count)[:, None], count[:, None].expand_as(present)
    among_rest = (all_pairs - 2 * own) / ((count - 1) * (count - 2)).clamp(min=1)

    if not present.all():
        similarity += torch.zeros(present.shape).masked_fill_(~present, -torch.inf)[:, None]
    similarity.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    maximum = similarity.amax(-1)  # [B, T]
    near = _near(similarity)  # [B, T, 2 * NEAR]
    is_near = near > -torch.inf
    number = is_near.sum(-1)  # [B, T]
    values = [
        own / (count - 1).clamp(min=1),
        maximum,
        near.masked_fill(~is_near, 0).sum(-1) / number.clamp(min=1),
        near.amax(-1),
        among_rest,
    ]
    has_near = present & (number > 0)
    defined = [present & (count > 1), present & (maximum > -torch.inf), has_near, has_near, present & (count > 2)]
    known = torch.stack([*defined, present, present], -1)
    found = torch.cat([torch.stack(values, -1), chance], -1)  # [B, T, 7]
    return found.masked_fill(~known, 0), known


def _near(similarity: Tensor) -> Tensor:
    """Returns similarities to what is near in time, of [B, T, T], as [B, T, 2 * NEAR]; -inf where there is nothing."""
    rows, length, _ = similarity.shape
    near = similarity.new_full((rows, length, 2 * NEAR), -torch.inf)
    for steps in range(1, min(NEAR, length - 1) + 1):
        near[:, steps:, 2 * steps - 2] = similarity.diagonal(-steps, dim1=1, dim2=2)
        near[:, :-steps, 2 * steps - 1] = similarity.diagonal(steps, dim1=1, dim2=2)
    return near


def _has_others(present: Tensor) -> Tensor:
    return (present.sum(1, keepdim=True) - present.long()) > 0
