"""The three sequential recommenders that can carry the model: item vectors in, an interest per position out.

All are causal (the output at t sees positions up to t only) and vectorised over batch and time. Sequences are
right-padded, so padding never comes before a real position and needs no attention mask of its own.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import IADSRConfig


class GRU4Rec(nn.Module):
    """A gated recurrent unit over the sequence (Hidasi et al., ICLR 2016)."""

    def __init__(self, config: IADSRConfig):
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.gru = nn.GRU(config.collaborative_dimension, config.hidden_dimension, batch_first=True)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Maps item vectors [B, T, d] and the mask of real positions [B, T] to interests [B, T, h]."""
        return self.gru(self.dropout(vectors))[0] * mask[..., None]  # [B, T, h]


class SASRec(nn.Module):
    """Causal self-attention with learned positions (Kang and McAuley, ICDM 2018), normalised before each block."""

    BLOCKS = 2
    HEADS = 2

    def __init__(self, config: IADSRConfig):
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.enter = nn.Linear(config.collaborative_dimension, config.hidden_dimension)
        self.positions = nn.Parameter(torch.zeros(config.max_length, config.hidden_dimension))
        self.blocks = nn.ModuleList(_AttentionBlock(config, self.HEADS) for _ in range(self.BLOCKS))
        self.norm = nn.LayerNorm(config.hidden_dimension)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Maps item vectors [B, T, d] and the mask of real positions [B, T] to interests [B, T, h]."""
        hidden = self.dropout(self.enter(vectors) + self.positions[: vectors.shape[1]])  # [B, T, h]
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden) * mask[..., None]  # [B, T, h]


class _AttentionBlock(nn.Module):
    def __init__(self, config: IADSRConfig, heads: int):
        super().__init__()
        size = config.hidden_dimension
        self.heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.project, self.merge = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.feed = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, size))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        batch, steps, size = hidden.shape
        parts = self.project(self.attention_norm(hidden)).view(batch, steps, 3, self.heads, size // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [B, heads, T, h / heads]
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.dropout(self.merge(attended.transpose(1, 2).reshape(batch, steps, size)))
        return hidden + self.dropout(self.feed(self.feed_norm(hidden)))


class Caser(nn.Module):
    """Horizontal and vertical convolutions over the last few items (Tang and Wang, WSDM 2018).

    The original pads a window of the last items for one prediction per sequence; here the same window slides, which
    gives one output per position.
    """

    WINDOW = 5
    HORIZONTAL = 16
    VERTICAL = 4

    def __init__(self, config: IADSRConfig):
        super().__init__()
        size = config.collaborative_dimension
        self.dropout = nn.Dropout(config.dropout)
        self.horizontal = nn.ModuleList(
            nn.Conv1d(size, self.HORIZONTAL, height) for height in range(1, self.WINDOW + 1)
        )
        self.vertical = nn.Conv1d(1, self.VERTICAL, self.WINDOW)
        self.leave = nn.Linear(self.HORIZONTAL * self.WINDOW + self.VERTICAL * size, config.hidden_dimension)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Maps item vectors [B, T, d] and the mask of real positions [B, T] to interests [B, T, h]."""
        batch, steps, size = vectors.shape
        across = F.pad(vectors.transpose(1, 2), (self.WINDOW - 1, 0))  # [B, d, T + window - 1], only the past is padded
        found = [
            # A filter of height k fits window - k + 1 times into the window; the best fit counts.
            F.max_pool1d(F.relu(filters(across)), self.WINDOW - height + 1, stride=1)
            for height, filters in enumerate(self.horizontal, start=1)
        ]  # each [B, filters, T]
        down = self.vertical(across.reshape(batch * size, 1, -1)).reshape(batch, size * self.VERTICAL, steps)
        hidden = torch.cat([*found, down], dim=1).transpose(1, 2)  # [B, T, filters]
        return torch.tanh(self.leave(self.dropout(hidden))) * mask[..., None]  # [B, T, h]


def read_items(vectors: Tensor) -> Tensor:
    """Scales unit vectors of items [..., d] to what a backbone expects, elements of size 1.

    As they are they would drown in the random output of an untrained attention block.
    """
    return vectors * vectors.shape[-1] ** 0.5


_CLASSES = {"gru4rec": GRU4Rec, "sasrec": SASRec, "caser": Caser}


def make_backbone(config: IADSRConfig) -> nn.Module:
    """Builds the backbone that `config.backbone` names.

    Raises:
        ValueError: There is no backbone of that name.
    """
    if config.backbone not in _CLASSES:
        raise ValueError(f"backbone: expected one of {sorted(_CLASSES)}, found {config.backbone!r}")
    return _CLASSES[config.backbone](config)
