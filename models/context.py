"""What a user's other interactions lead to at each position: interests from both sides in time, the item left out.

The paper's short-term interest at an item has read the item, and nothing after it. These two have read everything but
the item: `context` what stands before and after it, in order; `interest` all the rest, as one long-term interest. They
read both modalities at once, and learn by telling the user's item from others.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .batch import Batch
from .config import IADSRConfig

READINGS = ITEMS, SHARE, SIDES = "context_items", "context_share", "context_sides"
"""What is made of each item by itself, by the names that a batch's `readings` have: its vector, its share in the
interest, and what it makes of the states that read both sides in time."""
_MOST_ATTENTION = 10.0
"""Bounds the logarithm of an item's share in the interest, so that it can be taken out again."""


class Context(nn.Module):
    """Item vectors of both modalities, and what leads to them."""

    def __init__(self, config: IADSRConfig, components: int):
        super().__init__()
        size = config.context_dimension
        self.dropout = nn.Dropout(config.context_dropout)
        self.enter = nn.Linear(2 * config.collaborative_dimension + components, size)
        self.keep = nn.Linear(size, 2 * size)
        self.value = nn.Linear(size, 2 * size)
        with torch.no_grad():  # from states that remember the last item to states that remember a hundred
            self.keep.bias.copy_(torch.linspace(-1, 4, size).repeat(2))
        self.context = nn.Linear(2 * size, size)
        self.attention = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1))
        self.interest = nn.Linear(size, size)

    def items(self, batch: Batch) -> Tensor:
        """Returns the items' vectors of both modalities, of unit length, [B, T, c].

        E_c is left out: it has seen the user. On Amazon Beauty it costs an AUROC of 0.002.
        """
        if ITEMS in batch.readings:
            return batch.readings[ITEMS]
        learned = batch.others * batch.has_collaborative[..., None, None]  # [B, T, 2, d]
        text = F.normalize(batch.semantic, dim=-1) * batch.has_semantic[..., None]  # [B, T, k]
        both = torch.cat([learned.flatten(-2), text], -1)
        # A linear layer expects elements of about size 1, not vectors of length 1.
        return F.normalize(self.enter(both * learned.shape[-1] ** 0.5), dim=-1)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the items' vectors, and what the context and the other items lead to, each [B, T, c]."""
        vectors, mask = self.items(batch), batch.mask
        read = self.dropout(_scale(vectors))
        sides = batch.readings[SIDES] if SIDES in batch.readings else self._sides(read)
        beside = _read_both_sides(sides, mask)  # [B, T, 2c]
        share = batch.readings[SHARE] if SHARE in batch.readings else self._share(read)
        share = share * mask[..., None]  # [B, T, 1]
        given = share * read
        rest = share.sum(1, keepdim=True) - share
        others = (given.sum(1, keepdim=True) - given) / rest.clamp(min=1e-6)
        return vectors, self.context(self.dropout(beside)), self.interest(self.dropout(others))

    def read_item(self, name: str, batch: Batch) -> Tensor:
        """Computes one of READINGS, [B, T, ...]; for scoring, as dropout is none of an item's own."""
        if name == ITEMS:
            return self.items(batch)
        read = _scale(self.items(batch))
        if name == SHARE:
            return self._share(read)
        return self._sides(read)

    def _share(self, read: Tensor) -> Tensor:
        return self.attention(read).clamp(-_MOST_ATTENTION, _MOST_ATTENTION).exp()

    def _sides(self, read: Tensor) -> Tensor:
        """Returns what items [..., c] make of a state, [..., 2, 2c]: what they leave of it, and what they add to it."""
        keep = torch.sigmoid(self.keep(read))
        return torch.stack([keep, (1 - keep) * self.value(read)], -2)

    def agreement(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the cosines of each item to its context and to the interest [B, T, 2], and where they are defined."""
        vectors, *led_to = self(batch)
        known = batch.mask & (batch.has_collaborative | batch.has_semantic) & (batch.mask.sum(1, keepdim=True) > 1)
        values = torch.stack([F.cosine_similarity(vectors, read, dim=-1) for read in led_to], -1)
        return values * known[..., None], known[..., None].expand_as(values)


def _scale(vectors: Tensor) -> Tensor:
    """Scales unit vectors to elements of about size 1, which layers expect."""
    return vectors * vectors.shape[-1] ** 0.5


def _read_both_sides(sides: Tensor, mask: Tensor) -> Tensor:
    """Returns the states that have read all before and all after each position, [B, T, 2c].

    An item leaves so much of a state and adds so much to it whatever the state is (minGRU; Feng et al., "Were RNNs all
    we needed?", 2024): a recurrent layer whose arithmetic is all in the items, and need be done once for each.

    Args:
        sides: See `Context._sides`, [B, T, 2, 2c].
        mask: bool [B, T].
    """
    rows, length, _, size = sides.shape
    keep, add = sides.unbind(2)  # each [B, T, 2c]
    add = add * mask[..., None]
    state = add.new_zeros(rows, size // 2)
    before, after = [state], [state]
    for step in range(length - 1):
        before.append(torch.addcmul(add[:, step, : size // 2], keep[:, step, : size // 2], before[-1]))
    for step in range(length - 1, 0, -1):
        after.append(torch.addcmul(add[:, step, size // 2 :], keep[:, step, size // 2 :], after[-1]))
    return torch.cat([torch.stack(before, 1), torch.stack(after[::-1], 1)], -1)
