"""Dropout with a random stream of its own, so that trainings in several threads do not disturb one another."""

import numpy as np
import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Sets elements to 0 in training, and enlarges the others, so that sums stay about the same.

    Attributes:
        generator: Decides which. None: seeded from torch's generator when it is first needed.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share
        self.generator: np.random.Generator | None = None

    def forward(self, vectors: Tensor) -> Tensor:
        """Returns vectors of any shape without some of their elements."""
        if not self.training or self.share == 0:
            return vectors
        if self.generator is None:
            self.generator = np.random.default_rng(int(torch.randint(2**62, ())))
        drawn = np.frombuffer(self.generator.bytes(2 * vectors.numel()), np.uint16)
        kept = np.multiply(drawn >= round(self.share * _LEVELS), 1 / (1 - self.share), dtype=np.float32)
        return vectors * torch.from_numpy(kept).view(vectors.shape)


def seed_dropout(module: nn.Module, stream: np.random.SeedSequence) -> list[np.random.Generator]:
    """Gives every dropout of a module a generator, and returns them."""
    parts = [part for part in module.modules() if isinstance(part, Dropout)]
    generators = [np.random.default_rng(child) for child in stream.spawn(len(parts))]
    for part, generator in zip(parts, generators, strict=True):
        part.generator = generator
    return generators
