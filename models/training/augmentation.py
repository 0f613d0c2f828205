"""Augments the head's training examples, so that it also learns to judge new items and items without text."""

import numpy as np
import torch

from ..core.item_vectors import ItemVectors
from ..detector.batch import Batch
from ..detector.iadsr import IADSR
from ..detector.item_tensors import ItemTensors
from ..noise.insertion import NoisyLog
from ..vectors.neighbours import borrow_collaborative
from .head_examples import HeadExamples, collect_examples
from .training_config import TrainingConfig


def collect_augmented_examples(
    model: IADSR,
    log: NoisyLog,
    vectors: ItemVectors,
    item_tensors: ItemTensors,
    users: np.ndarray,
    training: TrainingConfig,
    generator: np.random.Generator,
) -> HeadExamples:
    """Collects the examples twice: as they are, and with some vectors borrowed or hidden.

    Args:
        model: The aligned model.
        log: The log.
        vectors: The items.
        item_tensors: The same items as tensors.
        users: Whose interactions to read, bool [U].
        training: `hidden_share` says how much is borrowed and hidden.
        generator: Decides what is.
    """
    items = np.arange(len(vectors.has_semantic))
    poorer = ItemTensors.select(model, _pretend_new(vectors, training.hidden_share, generator), items)

    def hide(batch: Batch) -> Batch:
        return _hide(batch, training.hidden_share, generator)

    return collect_examples(model, log, item_tensors, users, training.batch_positions) + collect_examples(
        model, log, poorer, users, training.batch_positions, hide
    )


def _pretend_new(vectors: ItemVectors, share: float, generator: np.random.Generator) -> ItemVectors:
    """Replaces the collaborative vectors of some items by borrowed ones, as `clean` does for items new to the model."""
    candidates = vectors.has_collaborative & vectors.has_semantic
    new = candidates & (generator.random(len(candidates)) < share)
    known = candidates & ~new
    if not new.any() or not known.any():
        return vectors
    packed = vectors.pack()
    packed.collaborative[new] = borrow_collaborative(
        vectors.semantic[known], packed.collaborative[known], vectors.semantic[new]
    )
    return packed.unpack(vectors.collaborative.shape[1])


def _hide(batch: Batch, share: float, generator: np.random.Generator) -> Batch:
    """Hides the text of some interactions and the collaborative vectors of as many others."""
    draw = torch.from_numpy(generator.random(tuple(batch.mask.shape)))
    return batch.hide(collaborative=draw >= 1 - share, semantic=draw < share)
