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

READINGS = ITEMS, SHARE, FORWARDS, BACKWARDS = "context_items", "context_share", "context_forwards", "context_backwards"
"""What is made of each item by itself, by the names that a batch's `readings` have: its vector, its share in the
interest, and what it feeds into the two recurrent layers."""
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
        beside = self._beside(read, batch)  # [B, T, 2c]
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
        return _feed(self.forwards if name == FORWARDS else self.backwards, read)

    def _share(self, read: Tensor) -> Tensor:
        return self.attention(read).clamp(-_MOST_ATTENTION, _MOST_ATTENTION).exp()

    def _beside(self, read: Tensor, batch: Batch) -> Tensor:
        """Returns what stands before and what stands after each position, as two layers read it, [B, T, 2c]."""
        if FORWARDS in batch.readings:
            return self._beside_fed(batch)
        row, turn = torch.arange(len(read))[:, None], _reversal(batch.mask)  # [B, 1], [B, T]
        before, after = self.forwards(read)[0], self.backwards(read[row, turn])[0][row, turn]
        blank = torch.zeros_like(before[:, :1])
        followed = F.pad(batch.mask[:, 1:], (0, 1))[..., None]
        return torch.cat([torch.cat([blank, before[:, :-1]], 1), torch.cat([after[:, 1:], blank], 1) * followed], -1)

    def _beside_fed(self, batch: Batch) -> Tensor:
        """Does the same where it is known what the items feed into the layers: half of the work, the same for all."""
        forwards, backwards = batch.readings[FORWARDS], batch.readings[BACKWARDS]
        (rows, length), size = batch.mask.shape, self.forwards.hidden_size
        real = batch.mask.to(forwards)[..., None]
        beside = forwards.new_zeros(rows, length, 2 * size)
        ahead, behind = _Recurrence(self.forwards, rows), _Recurrence(self.backwards, rows)
        for step in range(length - 1):
            beside[:, step + 1, :size] = ahead.read(forwards[:, step], real[:, step])
        for step in range(length - 1, 0, -1):
            beside[:, step - 1, size:] = behind.read(backwards[:, step], real[:, step])
        return beside

    def agreement(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the cosines of each item to its context and to the interest [B, T, 2], and where they are defined."""
        vectors, *led_to = self(batch)
        known = batch.mask & (batch.has_collaborative | batch.has_semantic) & (batch.mask.sum(1, keepdim=True) > 1)
        values = torch.stack([F.cosine_similarity(vectors, read, dim=-1) for read in led_to], -1)
        return values * known[..., None], known[..., None].expand_as(values)


def _scale(vectors: Tensor) -> Tensor:
    """Scales unit vectors to elements of about size 1, which layers expect."""
    return vectors * vectors.shape[-1] ** 0.5


class _Recurrence:
    """A recurrent layer that is shown one position after the other, for scoring.

    tanh(x) is 2 sigmoid(2x) - 1, and torch computes that four times as fast.
    """

    def __init__(self, layer: nn.LSTM, rows: int):
        self._weight = _double_value(layer.all_weights[0][1].T.clone(), layer)  # [c, 4c]
        self._hidden = self._cell = self._weight.new_zeros(rows, layer.hidden_size)

    def read(self, fed: Tensor, real: Tensor) -> Tensor:
        """Returns the state [B, c] after reading what an item feeds into the layer.

        Args:
            fed: See `_feed`, [B, 4c].
            real: 0 or 1, [B, 1]; before the first real position there is no state.
        """
        gates = torch.addmm(fed, self._hidden, self._weight).sigmoid_()
        enter, keep, value, leave = gates.chunk(4, 1)
        self._cell = torch.addcmul(keep * self._cell, enter, value.mul_(2).sub_(1)).mul_(real)
        self._hidden = (2 * self._cell).sigmoid_().mul_(2).sub_(1).mul_(leave)
        return self._hidden


def _feed(layer: nn.LSTM, read: Tensor) -> Tensor:
    """Returns what items [..., c] feed into a recurrent layer's gates, [..., 4c], as `_Recurrence` wants it."""
    weight, _, bias, recurrent_bias = layer.all_weights[0]
    return _double_value(F.linear(read, weight, bias + recurrent_bias), layer)


def _double_value(gates: Tensor, layer: nn.LSTM) -> Tensor:
    """Doubles the third of the four gates, the one that is not a sigmoid but a tanh."""
    size = layer.hidden_size
    gates[..., 2 * size : 3 * size] *= 2
    return gates


def _reversal(mask: Tensor) -> Tensor:
    """Returns the positions that turn each sequence round and leave its padding where it is, int64 [B, T]."""
    steps = torch.arange(mask.shape[1])
    turned = mask.sum(1, keepdim=True) - 1 - steps  # [B, T]
    return torch.where(mask, turned, steps)
