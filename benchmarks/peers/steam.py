"""A corrector in the manner of STEAM (Lin et al., WWW 2023), with deletions only.

A bidirectional transformer reads a sequence into which random items were inserted, and decides for each item whether to
keep or to delete it. At the same time it learns to predict masked items, which shapes its item vectors.

Simplified: it inserts no missing items, and so needs no generator for them. It predicts masked items in the same pass,
from the log with the insertions; STEAM reads the log as it is, and once more as corrected.

In STEAM's favour:

- Items to delete are drawn mostly by popularity. STEAM draws uniformly, which teaches that rare items are noise.
- Item vectors start from co-occurrence, which stands for most of STEAM's 300 epochs.
- Insertions stay the same, so that these vectors have seen them, as they have seen the noise to be found.
- Training stops on held-out users.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iadsr.models.core.sequences import Sequences
from iadsr.models.noise.insertion import insert_noise
from iadsr.models.training.losses import sampled_softmax

from .learning import MAX_LENGTH, fit, popular_negatives, score_windows
from .simple import co_occurrence_vectors


@dataclass(frozen=True)
class SteamConfig:
    """The settings; heads and layers are the published code's."""

    heads: int = 1
    """Attention heads."""
    layers: int = 1
    """Transformer layers."""
    dropout: float = 0.2
    """Share of units dropped."""
    masked_share: float = 0.2
    """Share of items that are masked, to be predicted."""
    insert_rate: float = 0.15
    """Share of the items read that were inserted."""
    uniform_share: float = 0.2
    """Share of the insertions drawn uniformly over items; the rest is drawn by popularity."""
    epochs: int = 20
    """Most epochs."""
    learning_rate: float = 3e-3
    """Learning rate of Adam."""
    negatives: int = 512
    """Negative items per batch, for masked items."""
    temperature: float = 0.1
    """Divides the cosines of masked-item prediction."""


class Corrector(nn.Module):
    """Item vectors, a bidirectional encoder, and a logit of deletion for each position."""

    def __init__(self, vectors: Tensor, config: SteamConfig):
        super().__init__()
        items, size = vectors.shape
        # Elements of about size 1, as layers expect them. The last row is the mask.
        start = torch.cat([F.normalize(vectors, dim=-1) * size**0.5, torch.zeros(1, size)])
        self.items = nn.Embedding.from_pretrained(start, freeze=False)
        self.mask_item = items
        self.positions = nn.Parameter(torch.zeros(MAX_LENGTH, size))
        layer = nn.TransformerEncoderLayer(
            size, config.heads, 4 * size, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(size), enable_nested_tensor=False)
        self.dropout = nn.Dropout(config.dropout)
        self.predict = nn.Linear(size, size)
        self.delete = nn.Linear(size, 1)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """Encodes items [B, T] into [B, T, size]."""
        vectors = self.dropout(self.items(items) + self.positions[: items.shape[1]])
        return self.encoder(vectors, src_key_padding_mask=~mask)


def fit_steam(
    sequences: Sequences, items: int, seed: int, config: SteamConfig | None = None
) -> Callable[[], np.ndarray]:
    """Trains a corrector on a log of `items` items. Returns a function that computes probabilities of deletion."""
    config = config or SteamConfig()
    noisy = insert_noise(
        sequences, config.insert_rate, uniform_share=config.uniform_share, seed=np.random.SeedSequence([seed, 2])
    )
    inserted = torch.from_numpy(noisy.inserted)
    vectors, _ = co_occurrence_vectors(noisy.sequences, items)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = Corrector(torch.from_numpy(vectors.astype(np.float32)), config)

        def loss_of(batch: Tensor, mask: Tensor, index: np.ndarray) -> Tensor:
            hidden = mask & (torch.rand(batch.shape) < config.masked_share * model.training)
            states = model(batch.masked_fill(hidden, model.mask_item), mask)
            seen = mask & ~hidden
            label = inserted[torch.from_numpy(index)][seen].float()
            correction = F.binary_cross_entropy_with_logits(model.delete(states[seen])[..., 0], label)
            if not model.training:  # early stopping measures what a corrector is for
                return correction
            targets, others = batch[hidden], popular_negatives(noisy.sequences, config.negatives)
            return correction + sampled_softmax(
                model.predict(states[hidden]),
                model.items(targets),
                model.items(others),
                targets,
                others,
                config.temperature,
            )

        fit(model, noisy.sequences, loss_of, config.epochs, config.learning_rate, np.random.default_rng([seed, 0]))

    def score() -> np.ndarray:
        return score_windows(sequences, lambda batch, mask: model.delete(model(batch, mask))[..., 0].sigmoid())

    return score
