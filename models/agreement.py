"""How well each item of a sequence agrees with the rest of it, the item itself left out.

An interest that includes the item under test agrees with it by construction, so everything here leaves it out.
Every function is vectorised over batch and time; `present` [B, T] is true on real positions that have a vector.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

AGREEMENTS = ("mean", "maximum", "neighbours_mean", "neighbours_maximum", "rest", "chance_mean", "chance_deviation")
"""Similarity to the rest of the sequence, its mean and maximum; likewise to the two neighbours in time; how similar the
rest are among themselves; and the similarity that the item has to any item of the log. Without the last three nobody
can say whether a mean is low for this user and for this item."""


class Chance(nn.Module):
    """Mean and deviation of an item's similarity to a random interaction of the log, in one view of the items.

    Similarity is the dot product of one item's query and another's key, so both follow exactly from the first two
    moments of the keys.

    Attributes:
        mean: Of the keys, [n].
        moment: Second moments of the keys, [n, n].
    """

    mean: Tensor
    moment: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("moment", torch.zeros(size, size))

    def measure(self, keys: Tensor, weights: Tensor) -> None:
        """Takes the moments of keys [V, n], each counted `weights` [V] times."""
        weights = (weights / weights.sum().clamp(min=1))[:, None]  # [V, 1]; all 0 where no item is in this view
        self.mean.copy_((keys * weights).sum(0))
        self.moment.copy_((keys * weights).T @ keys)

    def forward(self, queries: Tensor) -> Tensor:
        """Returns mean and deviation [..., 2] of the similarity of queries [..., n]."""
        mean = queries @ self.mean
        square = ((queries @ self.moment) * queries).sum(-1)
        return torch.stack([mean, (square - mean.square()).clamp(min=0).sqrt()], dim=-1)


def leave_one_out_max(vectors: Tensor, present: Tensor) -> Tensor:
    """Returns for each position the element-wise maximum over the other present positions.

    The two largest values of each element are enough: the position that holds the largest gets the second.

    Args:
        vectors: [B, T, h].
        present: bool [B, T].

    Returns:
        [B, T, h]; 0 where no other position is present.
    """
    if vectors.shape[1] < 2:
        return torch.zeros_like(vectors)
    lowest = torch.finfo(vectors.dtype).min
    values, where = vectors.masked_fill(~present[..., None], lowest).topk(2, dim=1)  # [B, 2, h]
    holds_largest = torch.arange(vectors.shape[1])[:, None] == where[:, :1]  # [B, T, h]
    others = torch.where(holds_largest, values[:, 1:], values[:, :1])  # [B, T, h]
    return others.masked_fill(~_has_others(present)[..., None], 0)


def leave_one_out_mean(vectors: Tensor, present: Tensor) -> Tensor:
    """Returns for each position the mean over the other present positions.

    Args:
        vectors: [B, T, h].
        present: bool [B, T].

    Returns:
        [B, T, h]; 0 where no other position is present.
    """
    kept = vectors * present[..., None]
    others = present.sum(1, keepdim=True) - present.long()  # [B, T]
    return (kept.sum(1, keepdim=True) - kept) / others.clamp(min=1)[..., None]  # [B, T, h]


@dataclass(frozen=True)
class View:
    """One way to compare the items of a sequence: the similarity of two is one's query times the other's key.

    Attributes:
        queries: [B, T, n].
        keys: [B, T, n]; the similarity must be symmetric.
        present: bool [B, T], real positions that have vectors in this view.
    """

    queries: Tensor
    keys: Tensor
    present: Tensor


def sequence_agreement(view: View, chance: Chance) -> tuple[Tensor, Tensor]:
    """Measures in one view how well each item agrees with the others of its sequence.

    Args:
        view: The items.
        chance: The similarity that chance gives in this view.

    Returns:
        Values [B, T, 7] in the order of AGREEMENTS, 0 where not defined; and bool [B, T, 7], where they are.
    """
    present, similarity = view.present, view.queries @ view.keys.transpose(1, 2)  # [B, T, T]
    steps = torch.arange(present.shape[1])
    apart = (steps[:, None] - steps).abs()  # [T, T]
    pairs = present[:, :, None] & present[:, None, :] & (apart > 0)  # [B, T, T]
    values, defined = [], []
    for others in (pairs, pairs & (apart == 1)):
        count = others.sum(-1)  # [B, T]
        values.append((similarity * others).sum(-1) / count.clamp(min=1))
        values.append(similarity.masked_fill(~others, -torch.inf).amax(-1).masked_fill(count == 0, 0))
        defined += [count > 0] * 2
    # Pairs of the rest: all pairs, less those that the item is part of (each pair counts twice).
    rest = pairs.sum(-1)  # [B, T]
    own = (similarity * pairs).sum(-1)  # [B, T]
    among_rest = (own.sum(1, keepdim=True) - 2 * own) / (rest * (rest - 1)).clamp(min=1)
    values.append(among_rest * (rest > 1))
    defined += [rest > 1, present, present]
    values = torch.cat([torch.stack(values, -1), chance(view.queries) * present[..., None]], -1)
    return values, torch.stack(defined, -1)  # [B, T, 7]


def _has_others(present: Tensor) -> Tensor:
    return (present.sum(1, keepdim=True) - present.long()) > 0
