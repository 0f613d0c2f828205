"""The two inconsistency signals of HSD (Zhang et al., CIKM 2022): with the sequence, and with the user's interests.

- Sequence: a bidirectional LSTM reads the sequence. An item that its context does not lead to is inconsistent.
- Interests: attention summarises the user's items as one interest. An item far from it is inconsistent.

HSD drops an item that both signals call noise. Here the score is their standardised sum.

Simplified: HSD has no labels either. It learns both signals through a recommender that is trained on what two Gumbel
gates leave, easy sequences first. Here each signal is trained directly, to tell the user's item from items drawn by
popularity. In HSD's favour, context and interest leave out the item under test (HSD's own LSTM reconstructs an item
that it has read), the interest is computed from the user's items instead of an embedding learned per user, and training
stops on held-out users.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.models.core.sequences import Sequences
from iadsr.models.training.losses import sampled_softmax

from .learning import fit, popular_negatives, score_windows


@dataclass(frozen=True)
class HSDConfig:
    """The settings."""

    size: int = 64
    """Length of item vectors and hidden states."""
    dropout: float = 0.3
    """Share of units dropped."""
    epochs: int = 12
    """Most epochs."""
    learning_rate: float = 3e-3
    """Learning rate of Adam."""
    negatives: int = 512
    """Negative items per batch."""
    temperature: float = 0.1
    """Divides the cosines of prediction."""


class Signals(nn.Module):
    """Item vectors, and two predictions at each position: from the context, and from the user's other items."""

    def __init__(self, items: int, config: HSDConfig):
        super().__init__()
        size = config.size
        self.items = nn.Embedding(items, size)
        nn.init.normal_(self.items.weight, std=0.03)
        self.dropout = nn.Dropout(config.dropout)
        self.forwards = nn.LSTM(size, size, batch_first=True)
        self.backwards = nn.LSTM(size, size, batch_first=True)
        self.context = nn.Linear(2 * size, size)
        self.attention = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1))
        self.interest = nn.Linear(size, size)

    def forward(self, items: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Predicts each item [B, T] from its context and from the user's other items, both [B, T, size]."""
        vectors = self.dropout(F.normalize(self.items(items), dim=-1) * self.items.embedding_dim**0.5)
        turn = _reversal(mask)  # [B, T, 1]
        before = self.forwards(vectors)[0]
        after = self.backwards(vectors.take_along_dim(turn, 1))[0].take_along_dim(turn, 1)
        blank = torch.zeros_like(before[:, :1])
        beside = torch.cat([torch.cat([blank, before[:, :-1]], 1), torch.cat([after[:, 1:], blank], 1)], -1)
        last = mask & ~F.pad(mask[:, 1:], (0, 1))
        beside = torch.cat([beside[..., : before.shape[-1]], beside[..., before.shape[-1] :] * ~last[..., None]], -1)
        # The clamp bounds exp. The item's own share is subtracted from both sums.
        weight = self.attention(vectors).clamp(-10, 10).exp() * mask[..., None]  # [B, T, 1]
        read = weight * vectors
        others = (read.sum(1, keepdim=True) - read) / (weight.sum(1, keepdim=True) - weight).clamp(min=1e-6)
        return self.context(self.dropout(beside)), self.interest(self.dropout(others))


def fit_hsd(sequences: Sequences, items: int, seed: int, config: HSDConfig | None = None) -> Callable[[], np.ndarray]:
    """Trains both signals on a log of `items` items. Returns a function that scores each interaction by their sum."""
    config = config or HSDConfig()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = Signals(items, config)

        def loss_of(batch: Tensor, mask: Tensor, index: np.ndarray) -> Tensor:
            real = mask & (mask.sum(1, keepdim=True) > 1)
            targets, others = batch[real], popular_negatives(sequences, config.negatives)
            vectors, negatives = model.items(targets), model.items(others)
            losses = [
                sampled_softmax(read[real], vectors, negatives, targets, others, config.temperature)
                for read in model(batch, mask)
            ]
            return losses[0] + losses[1]

        fit(model, sequences, loss_of, config.epochs, config.learning_rate, np.random.default_rng([seed, 1]))

    def signal(which: int) -> np.ndarray:
        def inconsistency(batch: Tensor, mask: Tensor) -> Tensor:
            return -F.cosine_similarity(model(batch, mask)[which], model.items(batch), dim=-1)

        values = score_windows(sequences, inconsistency)
        return (values - values.mean()) / values.std()

    def score() -> np.ndarray:
        return signal(0) + signal(1)

    return score


def _reversal(mask: Tensor) -> Tensor:
    """Returns the positions that reverse each sequence and leave its padding in place, int64 [B, T, 1]."""
    steps = torch.arange(mask.shape[1])
    turned = mask.sum(1, keepdim=True) - 1 - steps  # [B, T]
    return torch.where(mask, turned, steps)[..., None]
