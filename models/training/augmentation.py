"""Augments the training examples with what new items and items without text lack."""

from dataclasses import replace

import numpy as np
import torch

from ..core.item_vectors import ItemVectors
from ..detector.batch import Batch
from ..detector.iadsr import IADSR
from ..detector.item_tensors import ItemTensors
from ..noise.insertion import NoisyLog
from ..vectors.neighbours import borrow_collaborative
from .examples import Examples, collect_examples
from .training_config import TrainingConfig


def _two_views(
    model: IADSR,
    log: NoisyLog,
    vectors: ItemVectors,
    catalogue: ItemTensors,
    users: np.ndarray,
    training: TrainingConfig,
    generator: np.random.Generator,
) -> Examples:
    """Collects the examples as they are, and once more poorer in what new items and items without text lack."""
    every = np.arange(len(vectors.has_semantic))
    poor = ItemTensors.select(model, _pretend_new(vectors, training.hidden_share, generator), every)

    def hide(batch: Batch) -> Batch:
        return _hide(batch, training.hidden_share, generator)

    return collect_examples(model, log, catalogue, users, training.batch_positions) + collect_examples(
        model, log, poor, users, training.batch_positions, hide
    )


def _pretend_new(vectors: ItemVectors, share: float, generator: np.random.Generator) -> ItemVectors:
    """Replaces the collaborative vectors of some items by borrowed ones, as `clean` does for items new to the model."""
    candidates = vectors.has_collaborative & vectors.has_semantic
    new = candidates & (generator.random(len(candidates)) < share)
    known = candidates & ~new
    if not new.any() or not known.any():
        return vectors
    collaborative = vectors.collaborative.copy()
    collaborative[new] = borrow_collaborative(
        vectors.semantic[known], vectors.collaborative[known], vectors.semantic[new]
    )
    return replace(vectors, collaborative=collaborative)


def _hide(batch: Batch, share: float, generator: np.random.Generator) -> Batch:
    """Hides the text of some interactions and the collaborative vectors of as many others."""
    draw = torch.from_numpy(generator.random(tuple(batch.mask.shape)))
    return batch.hide(collaborative=draw >= 1 - share, semantic=draw < share)
