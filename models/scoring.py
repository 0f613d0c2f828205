"""Scores every interaction of a batch of sequences: arrays in, arrays out, the way the pipeline calls the model."""

from dataclasses import dataclass

import numpy as np
import torch

from .iadsr import IADSR, SIMILARITIES, Batch
from .sequences import Sequences, batches, cut_windows

BATCH_POSITIONS = 4096


@dataclass(frozen=True)
class ItemVectors:
    """Vectors of a catalogue of V items.

    Attributes:
        collaborative: float32 [V, d]; a row is meaningless where `has_collaborative` is false.
        semantic: float32 [V, D], may be memory-mapped or float16; meaningless where `has_semantic` is false.
        has_collaborative: bool [V].
        has_semantic: bool [V].
    """

    collaborative: np.ndarray
    semantic: np.ndarray
    has_collaborative: np.ndarray
    has_semantic: np.ndarray


@dataclass(frozen=True)
class Scores:
    """What the model says of N interactions, in the order they came.

    Attributes:
        noise_probability: float32 [N] in [0, 1], high = noise; 0 where not scored.
        similarities: float32 [N, 3] in the order of SIMILARITIES; NaN where not defined (no text, not scored).
        scored: bool [N]; false where the model cannot judge: the item is unknown to both modalities, or
            there is nothing else in the sequence to compare it with.
        weakest: int8 [N], index of the similarity that is lowest against what is usual for genuine interactions.
            Where none is defined, the head judged from the collaborative side alone, and this is 0.
    """

    noise_probability: np.ndarray
    similarities: np.ndarray
    scored: np.ndarray
    weakest: np.ndarray


def score_sequences(
    model: IADSR, sequences: Sequences, vectors: ItemVectors, *, batch_positions: int = BATCH_POSITIONS
) -> Scores:
    """Scores every interaction of every sequence, however long.

    The same input gives the same scores. Sequences longer than the model's `max_length` are scored in windows of
    even size; items unknown to both modalities are left out of the context.

    Args:
        model: A trained model.
        sequences: Interactions, items being rows of `vectors`.
        vectors: The catalogue.
        batch_positions: Padded positions per batch.
    """
    known = (vectors.has_collaborative | vectors.has_semantic)[sequences.items]
    context = sequences.restrict(known)
    probability = np.zeros(len(sequences.items), np.float32)
    similarities = np.full((len(sequences.items), len(SIMILARITIES)), np.nan, np.float32)
    scored = np.zeros(len(sequences.items), bool)
    weakest = np.zeros(len(sequences.items), np.int8)

    # Only the items that occur are read, once each: the catalogue may be far larger than memory.
    used, items = np.unique(context.items, return_inverse=True)
    table = CatalogueTensors.select(model, vectors, used)
    windows = cut_windows(context, model.config.max_length)
    windows = windows.select(windows.lengths > 1)
    origin = np.flatnonzero(known)
    model.eval()
    with torch.inference_mode():
        for _, index, mask in batches(windows, batch_positions):
            batch = table.batch(items[index], mask)
            noise, values, defined = model(batch)
            standing = (values - model.genuine_mean) / model.genuine_deviation
            lowest = standing.masked_fill(~defined, torch.inf).argmin(-1)
            where = origin[index[mask]]
            probability[where] = noise.numpy()[mask]
            similarities[where] = values.masked_fill(~defined, torch.nan).numpy()[mask]
            weakest[where] = lowest.numpy()[mask]
            scored[where] = True
    return Scores(probability, similarities, scored, weakest)


@dataclass(frozen=True)
class CatalogueTensors:
    """A catalogue's vectors as the model reads them, the text embeddings reduced to its components.

    Attributes:
        collaborative: [V, d].
        semantic: [V, k].
        has_collaborative: bool [V].
        has_semantic: bool [V].
    """

    collaborative: torch.Tensor
    semantic: torch.Tensor
    has_collaborative: torch.Tensor
    has_semantic: torch.Tensor

    @classmethod
    def select(cls, model: IADSR, vectors: ItemVectors, items: np.ndarray) -> "CatalogueTensors":
        """Reads the rows `items` of a catalogue, zeros where a vector is absent."""
        has_collaborative, has_semantic = vectors.has_collaborative[items], vectors.has_semantic[items]
        collaborative = np.where(has_collaborative[:, None], vectors.collaborative[items], 0).astype(np.float32)
        raw = np.where(has_semantic[:, None], vectors.semantic[items], 0).astype(np.float32)
        with torch.no_grad():  # not inference_mode: training backpropagates through what it reads here
            semantic = model.reduce_semantic(torch.from_numpy(raw))
        return cls(
            torch.from_numpy(collaborative),
            semantic,
            torch.from_numpy(has_collaborative),
            torch.from_numpy(has_semantic),
        )

    def batch(self, items: np.ndarray, mask: np.ndarray) -> Batch:
        """Gathers the vectors of padded sequences of items, int [B, T], with their mask of real positions."""
        index, real = torch.from_numpy(items), torch.from_numpy(mask)
        return Batch(
            self.collaborative[index],
            self.semantic[index],
            real,
            self.has_collaborative[index] & real,
            self.has_semantic[index] & real,
        )
