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

_MOST_ATTENTION = 10.0
"""Bounds the logarithm of an item's share in the interest, so that it can be taken out again."""


class Context(nn.Module):
    """Item vectors of both modalities, and what leads to them."""

    def __init__(self, config: IADSRConfig, components: int):
        super().__init__()
        size = config.context_dimension
        self.dropout = nn.Dropout(config.context_dropout)
        self.enter = nn.Linear(2 * config.collaborative_dimension + components, size)
        self.forwards = nn.LSTM(size, size, batch_first=True)
        self.backwards = nn.LSTM(size, size, batch_first=True)
        self.context = nn.Linear(2 * size, size)
        self.attention = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1))
        self.interest = nn.Linear(size, size)

    def items(self, batch: Batch) -> Tensor:
        """Returns the items' vectors of both modalities, of unit length, [B, T, c].

        E_c is left out: it has seen the user. On Amazon Beauty it costs an AUROC of 0.002.
        """
        learned = batch.others * batch.has_collaborative[..., None, None]  # [B, T, 2, d]
        text = F.normalize(batch.semantic, dim=-1) * batch.has_semantic[..., None]  # [B, T, k]
        both = torch.cat([learned.flatten(-2), text], -1)
        # A linear layer expects elements of about size 1, not vectors of length 1.
        return F.normalize(self.enter(both * learned.shape[-1] ** 0.5), dim=-1)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the items' vectors, and what the context and the other items lead to, each [B, T, c]."""
        vectors, mask = self.items(batch), batch.mask
        read = self.dropout(vectors * vectors.shape[-1] ** 0.5)
        turn = _reversal(mask)  # [B, T, 1]
        before = self.forwards(read)[0]
        after = self.backwards(read.take_along_dim(turn, 1))[0].take_along_dim(turn, 1)
        blank = torch.zeros_like(before[:, :1])
        followed = F.pad(mask[:, 1:], (0, 1))[..., None]
        beside = torch.cat(
            [torch.cat([blank, before[:, :-1]], 1), torch.cat([after[:, 1:], blank], 1) * followed], -1
        )  # [B, T, 2c]
        share = self.attention(read).clamp(-_MOST_ATTENTION, _MOST_ATTENTION).exp() * mask[..., None]  # [B, T, 1]
        given = share * read
        rest = share.sum(1, keepdim=True) - share
        others = (given.sum(1, keepdim=True) - given) / rest.clamp(min=1e-6)
        return vectors, self.context(self.dropout(beside)), self.interest(self.dropout(others))

    def agreement(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the cosines of each item to its context and to the interest [B, T, 2], and where they are defined."""
        vectors, *led_to = self(batch)
        known = batch.mask & (batch.has_collaborative | batch.has_semantic) & (batch.mask.sum(1, keepdim=True) > 1)
        values = torch.stack([F.cosine_similarity(vectors, read, dim=-1) for read in led_to], -1)
        return values * known[..., None], known[..., None].expand_as(values)


def _reversal(mask: Tensor) -> Tensor:
    """Returns the positions that turn each sequence round and leave its padding where it is, int64 [B, T, 1]."""
    steps = torch.arange(mask.shape[1])
    turned = mask.sum(1, keepdim=True) - 1 - steps  # [B, T]
    return torch.where(mask, turned, steps)[..., None]
