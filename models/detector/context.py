"""What a user's other interactions lead to at each position: an interest from both sides in time, the item left out.

The paper's short-term interest at an item has read the item, and nothing after it. This one has read everything but the
item, in order, and both modalities at once. It learns by telling the user's item from others.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .agreement import cosine
from .batch import Batch
from .kernels import both_sides
from .model_config import IADSRConfig

TEXT = "context_text"


READINGS = ITEMS, SIDES = "context_items", "context_sides"
"""What is made of each item by itself, by the names that a batch's `readings` have: what its text brings into its
vector, the same for all users; its vector; and what it makes of the states that read both sides in time."""


class Context(nn.Module):
    """Item vectors of both modalities, and what leads to them."""

    def __init__(self, config: IADSRConfig, components: int):
        super().__init__()
        size = config.context_dimension
        self._scale = config.collaborative_dimension**0.5  # layers expect elements of about size 1, not unit vectors
        self.dropout = nn.Dropout(config.context_dropout)
        self.enter = nn.Linear(2 * config.collaborative_dimension + components, size)
        self.keep = nn.Linear(size, 2 * size)
        self.value = nn.Linear(size, 2 * size)
        with torch.no_grad():  # from states that remember the last item to states that remember a hundred
            self.keep.bias.copy_(torch.linspace(-1, 4, size, device="cpu").repeat(2))
        self.context = nn.Linear(2 * size, size)

    def items(self, batch: Batch) -> Tensor:
        """Returns the items' vectors of both modalities, of unit length, [B, T, c].

        E_c is left out: it has seen the user. On Amazon Beauty it costs an AUROC of 0.002.
        """
        if ITEMS in batch.readings:
            return batch.readings[ITEMS].gathered()
        learned = batch.others.gathered().flatten(-2)  # [B, T, 2d]
        entered = F.linear(learned, self.enter.weight[:, : learned.shape[-1]] * self._scale)
        text = batch.readings[TEXT].gathered() if TEXT in batch.readings else self._text(batch)
        return F.normalize(entered + text, dim=-1)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the items' vectors, and what the items before and after them lead to, each [B, T, c]."""
        vectors = self.items(batch)
        if SIDES in batch.readings:
            states = _run(batch.readings[SIDES].table, batch.readings[SIDES].index)
        else:
            states = read_both_sides(self._sides(self.dropout(vectors)) * batch.mask[..., None, None])
        return vectors, self.context(self.dropout(states))

    def read_item(self, name: str, batch: Batch) -> Tensor:
        """Computes TEXT or one of READINGS, [B, T, ...]; for scoring, as dropout is none of an item's own."""
        match name:
            case "context_text":
                return self._text(batch)
            case "context_items":
                return self.items(batch)
            case _:
                return self._sides(self.items(batch))

    def _text(self, batch: Batch) -> Tensor:
        """Returns what texts bring into the items' vectors, [B, T, c]."""
        text = F.normalize(batch.semantic.gathered(), dim=-1)
        return F.linear(text, self.enter.weight[:, -text.shape[-1] :] * self._scale, self.enter.bias)

    def _sides(self, vectors: Tensor) -> Tensor:
        """Returns what items [..., c] make of a state, [..., 2, 2c]: what they leave of it, and what they add to it."""
        read = vectors * vectors.shape[-1] ** 0.5
        keep = torch.sigmoid(self.keep(read))
        return torch.stack([keep, (1 - keep) * self.value(read)], -2)

    def agreement(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the cosine of each item to its context [B, T, 1], and where it is defined."""
        vectors, led_to = self(batch)
        known = batch.mask & (batch.has_collaborative | batch.has_semantic) & (batch.mask.sum(1, keepdim=True) > 1)
        known = known[..., None]
        return cosine(led_to, vectors)[..., None] * known, known


class _BothSides(torch.autograd.Function):
    """See `read_both_sides`. Its gradient is another reading of both sides, the other way round."""

    @staticmethod
    def forward(ctx, sides: Tensor) -> Tensor:
        states = _read_side_by_side(sides)
        ctx.save_for_backward(sides, states)
        return states

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        sides, states = ctx.saved_tensors
        half = gradient.shape[-1] // 2
        turned = torch.stack([sides[..., 0, :], gradient], -2).roll(half, -1)
        to_add = _read_side_by_side(turned).roll(half, -1)
        return torch.stack([to_add * states, to_add], -2)


def _read_side_by_side(sides: Tensor) -> Tensor:
    table = sides.detach().flatten(0, 1).contiguous()
    return _run(table, torch.arange(len(table)).view(sides.shape[:2]))


def _run(table: Tensor, index: Tensor) -> Tensor:
    states = table.new_empty(*index.shape, table.shape[-1])
    both_sides(table.numpy(), index.numpy(), states.numpy())
    return states


def read_both_sides(sides: Tensor) -> Tensor:
    """Returns the states that have read all before and all after each position, [B, T, 2c].

    An item leaves so much of a state and adds so much to it whatever the state is (minGRU; Feng et al., "Were RNNs all
    we needed?", 2024): a recurrent layer whose arithmetic is all in the items, and need be done once for each.

    Args:
        sides: What each item leaves of a state and what it adds to it, [B, T, 2, 2c]: the first half of the state comes
            from before, the second from behind. 0 on padding.
    """
    states = _BothSides.apply(sides)
    assert isinstance(states, Tensor)
    return states
