"""The context of an item: what all other interactions of the user lead to at its position.

The paper's short-term interest at an item has read the item, and nothing after it. The context has read everything but
the item, in order from both sides, and both modalities at once. It is trained to tell the user's item from others.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .agreement import cosine
from .batch import Batch
from .dropout import Dropout
from .kernels import both_sides
from .linear import Linear, linear
from .model_config import IADSRConfig


class Context(nn.Module):
    """Context vectors of items, made from both modalities, and the contexts that lead to them.

    What an item brings is computed in three steps: `project_text`, `project_item` and `project_gates`. Each reads what
    the one before returns. None depends on the rest of the sequence, so that scoring computes them once per item.
    """

    def __init__(self, config: IADSRConfig, components: int):
        super().__init__()
        size = config.context_dimension
        self._scale = config.collaborative_dimension**0.5  # layers expect elements of about size 1, not unit vectors
        self.dropout = Dropout(config.context_dropout)
        self.enter = Linear(2 * config.collaborative_dimension + components, size)
        self.keep = Linear(size, 2 * size)
        self.value = Linear(size, 2 * size)
        with torch.no_grad():  # from states that remember the last item to states that remember a hundred
            self.keep.bias.copy_(torch.linspace(-1, 4, size, device="cpu").repeat(2))
        self.context = Linear(2 * size, size)

    def project_text(self, unit_text: Tensor) -> Tensor:
        """Returns what texts of unit length [..., k] add to the items' context vectors, [..., c], in any fold."""
        return linear(unit_text, self.enter.weight[:, -unit_text.shape[-1] :] * self._scale, self.enter.bias)

    def project_item(self, co_occurrence: Tensor, company: Tensor, text: Tensor) -> Tensor:
        """Returns the items' context vectors, of unit length, [..., c].

        E_c is left out, because it has seen the user; reading it costs accuracy.

        Args:
            co_occurrence: [..., d].
            company: [..., d].
            text: What `project_text` returned, [..., c].
        """
        learned = torch.cat([co_occurrence, company], dim=-1)  # [..., 2d]
        return F.normalize(linear(learned, self.enter.weight[:, : learned.shape[-1]] * self._scale) + text, dim=-1)

    def project_gates(self, items: Tensor) -> Tensor:
        """Returns what items keep of a state and what they add to it, [..., 2, 2c].

        Args:
            items: What `project_item` returned, [..., c].
        """
        read = items * items.shape[-1] ** 0.5
        keep = torch.sigmoid(self.keep(read))
        return torch.stack([keep, (1 - keep) * self.value(read)], -2)

    def items(self, batch: Batch) -> Tensor:
        """Returns the items' context vectors, of unit length, [B, T, c]."""
        if batch.fold_projections is not None:
            return batch.co_occurrence.in_table(batch.fold_projections.context_item).gathered()
        if batch.text_projections is not None:
            text = batch.semantic.in_table(batch.text_projections.context).gathered()
        else:
            text = self.project_text(F.normalize(batch.semantic.gathered(), dim=-1))
        return self.project_item(batch.co_occurrence.gathered(), batch.company.gathered(), text)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the items' context vectors, and the contexts that lead to them, each [B, T, c]."""
        vectors = self.items(batch)
        if batch.fold_projections is not None:
            gates = batch.co_occurrence.in_table(batch.fold_projections.context_gates)
            states = _run(gates.table, gates.index)
        else:
            states = read_both_sides(self.project_gates(self.dropout(vectors)) * batch.mask[..., None, None])
        return vectors, self.context(self.dropout(states))

    def agreement(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the cosine of each item to its context, [B, T, 1], and where it is defined, bool [B, T, 1]."""
        vectors, contexts = self(batch)
        known = batch.mask & (batch.has_collaborative | batch.has_semantic) & (batch.mask.sum(1, keepdim=True) > 1)
        known = known[..., None]
        return cosine(contexts, vectors)[..., None] * known, known


class _BothSides(torch.autograd.Function):
    """See `read_both_sides`. Its gradient is the same recurrence in the opposite directions."""

    @staticmethod
    def forward(ctx, gates: Tensor) -> Tensor:
        states = _run_side_by_side(gates)
        ctx.save_for_backward(gates, states)
        return states

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        gates, states = ctx.saved_tensors
        half = gradient.shape[-1] // 2
        turned = torch.stack([gates[..., 0, :], gradient], -2).roll(half, -1)
        to_add = _run_side_by_side(turned).roll(half, -1)
        return torch.stack([to_add * states, to_add], -2)


def _run_side_by_side(gates: Tensor) -> Tensor:
    table = gates.detach().flatten(0, 1).contiguous()
    return _run(table, torch.arange(len(table)).view(gates.shape[:2]))


def _run(table: Tensor, index: Tensor) -> Tensor:
    states = table.new_empty(*index.shape, table.shape[-1])
    both_sides(table.numpy(), index.numpy(), states.numpy())
    return states


def read_both_sides(gates: Tensor) -> Tensor:
    """Returns the states that have read all before and all after each position, [B, T, 2c].

    This is a recurrent layer in which an item keeps and adds the same whatever the state is (minGRU; Feng et al., "Were
    RNNs all we needed?", 2024). So all of its arithmetic is in the items, and is needed only once for each item.

    Args:
        gates: What each item keeps of a state and what it adds to it, [B, T, 2, 2c]; 0 on padding. The first half of
            the state comes from before, the second from behind.
    """
    states = _BothSides.apply(gates)
    assert isinstance(states, Tensor)
    return states
