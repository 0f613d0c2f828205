"""How well each item of a sequence agrees with the rest of it, the item itself left out.

An interest that includes the item under test agrees with it by construction, so everything here leaves it out.
Every function is vectorised over batch and time; `present` [B, T] is true on real positions that have a vector.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


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


def sequence_agreement(vectors: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Measures how similar each item is to the others of its sequence, in one modality.

    Args:
        vectors: Item vectors, [B, T, d].
        present: bool [B, T].

    Returns:
        Cosines [B, T, 4]: mean and maximum over the rest of the sequence, and mean and maximum over the two
        neighbours in time; and bool [B, T, 4], where they are defined. Undefined ones are 0.
    """
    unit = F.normalize(vectors, dim=-1)
    cosines = unit @ unit.transpose(1, 2)  # [B, T, T]
    steps = torch.arange(vectors.shape[1])
    apart = (steps[:, None] - steps).abs()  # [T, T]
    both = present[:, :, None] & present[:, None, :] & (apart > 0)  # [B, T, T]
    values, defined = [], []
    for pairs in (both, both & (apart == 1)):
        count = pairs.sum(-1)  # [B, T]
        values.append((cosines * pairs).sum(-1) / count.clamp(min=1))
        values.append(cosines.masked_fill(~pairs, -1).amax(-1).masked_fill(count == 0, 0))
        defined += [count > 0] * 2
    return torch.stack(values, -1), torch.stack(defined, -1)  # [B, T, 4]


def _has_others(present: Tensor) -> Tensor:
    return (present.sum(1, keepdim=True) - present.long()) > 0
