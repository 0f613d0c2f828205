"""The three sequential recommenders that the model can be built on: item vectors in, an interest per position out.

All are causal (the output at t sees positions up to t only) and vectorised over batch and time. Padding comes last, so
that it never precedes a real position and needs no attention mask of its own.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import kernels
from .batch import IndexedRows
from .dropout import Dropout
from .linear import Linear, linear, tiled
from .model_config import IADSRConfig


class Backbone(nn.Module):
    """What all have in common: a part that reads each item alone, and a part that reads the sequence."""

    def read_item(self, vectors: Tensor) -> Tensor:
        """Maps item vectors [..., d] to what the backbone computes of each item alone, [..., e]."""
        return vectors

    def read_sequence(self, entered: Tensor, mask: Tensor) -> Tensor:
        """Maps what `read_item` returned, [B, T, e], and the mask of real positions [B, T] to interests [B, T, h]."""
        raise NotImplementedError

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Maps item vectors [B, T, d] and the mask of real positions [B, T] to interests [B, T, h]."""
        return self.read_sequence(self.read_item(vectors), mask)

    def read_rows(self, entered: IndexedRows, mask: Tensor) -> Tensor:
        """Does the same as `read_sequence`, with items that are rows of a table."""
        return self.read_sequence(entered.gathered(), mask)


class GRU4Rec(Backbone):
    """A gated recurrent unit over the sequence (Hidasi et al., ICLR 2016).

    What an item feeds into the gates does not depend on the state. It is needed only once per item.
    """

    def __init__(self, config: IADSRConfig):
        super().__init__()
        self.dropout = Dropout(config.dropout)
        self.gru = nn.GRU(config.collaborative_dimension, config.hidden_dimension, batch_first=True)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Maps item vectors [B, T, d] and the mask of real positions [B, T] to interests [B, T, h]."""
        weight, state_weight, bias, state_bias = self.gru.parameters()
        size = self.gru.hidden_size
        # A bias of the first two gates is as good from the item as from the state.
        both = bias + F.pad(state_bias[: 2 * size], (0, size))
        fed = F.linear(self.dropout(vectors).transpose(0, 1), weight, both)  # [T, B, 3h]
        states = _Recurrence.apply(fed, state_weight, state_bias[2 * size :])
        assert isinstance(states, Tensor)
        return states.transpose(0, 1) * mask[..., None]  # [B, T, h]

    def read_item(self, vectors: Tensor) -> Tensor:
        """Returns what items feed into the three gates, [..., 3h], with all biases but the last gate's state bias."""
        weight, _, bias, state_bias = self.gru.parameters()
        fed = linear(vectors, weight, bias)
        before_last = 2 * self.gru.hidden_size
        fed[..., :before_last] += state_bias[:before_last]
        fed[..., before_last:] *= 2
        return fed

    def read_rows(self, entered: IndexedRows, mask: Tensor) -> Tensor:
        """Does the same as `forward`, without gradients and in half the time."""
        size = self.gru.hidden_size
        _, weight, _, bias = (parameter.detach() for parameter in self.gru.parameters())
        weight = torch.cat([weight[: 2 * size], 2 * weight[2 * size :]]).T.contiguous()  # [h, 3h]
        bias = (2 * bias[2 * size :]).numpy()
        fed, rows, real = entered.table.numpy(), entered.index.numpy(), mask.numpy()
        interests = entered.table.new_empty(*mask.shape, size)
        states = tiled(entered.table.new_zeros(len(mask), size))
        products = states.new_empty(len(states), 3 * size)
        state, gates = states[: len(mask)], products[: len(mask)]
        for t in range(mask.shape[1]):
            torch.mm(states, weight, out=products)
            kernels.gru_gates(gates.numpy(), fed, rows, t)
            gates[:, : 2 * size].sigmoid_()
            kernels.gru_candidate(gates.numpy(), fed, rows, t, bias)
            gates[:, 2 * size :].sigmoid_()
            kernels.gru_step(gates.numpy(), state.numpy(), real, t, interests.numpy())
        return interests


class _Recurrence(torch.autograd.Function):
    """The states of a GRU from what items feed into its gates. One product makes the weight's gradient of all steps."""

    @staticmethod
    def forward(ctx, fed: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Computes the states.

        Args:
            ctx: Of torch.
            fed: What items feed into the three gates, [T, B, 3h].
            weight: What the state feeds into them, [3h, h].
            bias: Of what the state feeds into the last gate, [h].
        """
        steps, batch, size = fed.shape[0], fed.shape[1], weight.shape[1]
        gates = fed.detach().clone(memory_format=torch.contiguous_format)  # after their functions, [T, B, 3h]
        from_state = fed.new_empty(batch, 3 * size)
        last = fed.new_empty(steps, batch, size)  # what the state feeds into the last gate
        states = fed.new_zeros(steps + 1, batch, size)
        turned, added = weight.detach().T.contiguous(), bias.detach().numpy()
        rows = gates.numpy(), last.numpy(), states.numpy()
        for t, (gate, state) in enumerate(zip(gates, states, strict=False)):
            at = [of[t] for of in rows]
            torch.mm(state, turned, out=from_state)
            kernels.gru_add(at[0], from_state.numpy(), added, at[1])
            gate[:, : 2 * size].sigmoid_()
            kernels.gru_reset(at[0], at[1])
            gate[:, 2 * size :].tanh_()
            kernels.gru_next(at[0], at[2], rows[2][t + 1])
        ctx.save_for_backward(gates, last, states, weight)
        return states[1:]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gates, last, states, weight = ctx.saved_tensors
        steps, batch, size = last.shape
        to_fed, to_from_state = torch.empty_like(gates), torch.empty_like(gates)
        to_state = gradient.new_zeros(batch, size)
        read = [of.numpy() for of in (gates, last, states, gradient.contiguous())]
        written = to_fed.numpy(), to_from_state.numpy()
        for t in range(steps - 1, -1, -1):
            kernels.gru_step_back(*(of[t] for of in read), to_state.numpy(), *(of[t] for of in written))
            to_state.addmm_(to_from_state[t], weight)
        to_from_state = to_from_state.flatten(0, 1)
        to_weight = to_from_state.T @ states[:-1].flatten(0, 1)
        return to_fed, to_weight, to_from_state[:, 2 * size :].sum(0)


class SASRec(Backbone):
    """Causal self-attention with learned positions (Kang and McAuley, ICDM 2018), with a norm before each block."""

    BLOCKS = 2
    HEADS = 2

    def __init__(self, config: IADSRConfig):
        super().__init__()
        self.dropout = Dropout(config.dropout)
        self.enter = Linear(config.collaborative_dimension, config.hidden_dimension)
        self.positions = nn.Parameter(torch.zeros(config.max_length, config.hidden_dimension))
        self.blocks = nn.ModuleList(_AttentionBlock(config, self.HEADS) for _ in range(self.BLOCKS))
        self.norm = nn.LayerNorm(config.hidden_dimension)

    def read_item(self, vectors: Tensor) -> Tensor:
        """Maps item vectors [..., d] to the width of the blocks, [..., h]."""
        return self.enter(vectors)

    def read_sequence(self, entered: Tensor, mask: Tensor) -> Tensor:
        """Maps items [B, T, h] and the mask of real positions [B, T] to interests [B, T, h]."""
        hidden = self.dropout(entered + self.positions[: entered.shape[1]])  # [B, T, h]
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden) * mask[..., None]  # [B, T, h]


class _AttentionBlock(nn.Module):
    def __init__(self, config: IADSRConfig, heads: int):
        super().__init__()
        size = config.hidden_dimension
        self.heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.project, self.merge = Linear(size, 3 * size), Linear(size, size)
        self.feed = nn.Sequential(Linear(size, size), nn.GELU(), Linear(size, size))
        self.dropout = Dropout(config.dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        batch, steps, size = hidden.shape
        parts = self.project(self.attention_norm(hidden)).view(batch, steps, 3, self.heads, size // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [B, heads, T, h / heads]
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.dropout(self.merge(attended.transpose(1, 2).reshape(batch, steps, size)))
        return hidden + self.dropout(self.feed(self.feed_norm(hidden)))


class Caser(Backbone):
    """Horizontal and vertical convolutions over the last few items (Tang and Wang, WSDM 2018).

    The original makes one prediction per sequence, from a padded window of the last items. Here the same window slides,
    which gives one output per position.
    """

    WINDOW = 5
    HORIZONTAL = 16
    VERTICAL = 4

    def __init__(self, config: IADSRConfig):
        super().__init__()
        size = config.collaborative_dimension
        self.dropout = Dropout(config.dropout)
        self.horizontal = nn.ModuleList(
            nn.Conv1d(size, self.HORIZONTAL, height) for height in range(1, self.WINDOW + 1)
        )
        self.vertical = nn.Conv1d(1, self.VERTICAL, self.WINDOW)
        self.leave = Linear(self.HORIZONTAL * self.WINDOW + self.VERTICAL * size, config.hidden_dimension)

    def read_sequence(self, entered: Tensor, mask: Tensor) -> Tensor:
        """Maps item vectors [B, T, d] and the mask of real positions [B, T] to interests [B, T, h]."""
        batch, steps, size = entered.shape
        across = F.pad(entered.transpose(1, 2), (self.WINDOW - 1, 0))  # [B, d, T + window - 1], only the past is padded
        found = [
            # A filter of height k fits window - k + 1 times into the window. The best fit counts.
            F.max_pool1d(F.relu(filters(across)), self.WINDOW - height + 1, stride=1)
            for height, filters in enumerate(self.horizontal, start=1)
        ]  # each [B, filters, T]
        down = self.vertical(across.reshape(batch * size, 1, -1)).reshape(batch, size * self.VERTICAL, steps)
        hidden = torch.cat([*found, down], dim=1).transpose(1, 2)  # [B, T, filters]
        return torch.tanh(self.leave(self.dropout(hidden))) * mask[..., None]  # [B, T, h]


def read_items(vectors: Tensor) -> Tensor:
    """Scales unit vectors of items [..., d] to what a backbone expects: elements of about size 1.

    Unit vectors would drown in the random output of an untrained attention block.
    """
    return vectors * vectors.shape[-1] ** 0.5


_CLASSES = {"gru4rec": GRU4Rec, "sasrec": SASRec, "caser": Caser}


def make_backbone(config: IADSRConfig) -> Backbone:
    """Builds the backbone that `config.backbone` names.

    Raises:
        ValueError: No backbone has that name.
    """
    if config.backbone not in _CLASSES:
        raise ValueError(f"backbone: expected one of {sorted(_CLASSES)}, found {config.backbone!r}")
    return _CLASSES[config.backbone](config)
