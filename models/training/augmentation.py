"""Augments the head's training examples, so that it also learns to judge new items and items without text."""

from dataclasses import replace

import numpy as np
import torch

from ..core.item_vectors import ItemVectors
from ..detector.batch import Batch
from ..vectors.neighbours import find_lenders, mean_of
from .head_examples import Version
from .training_config import TrainingConfig


def poorer_version(
    vectors: ItemVectors, read: np.ndarray, training: TrainingConfig, generator: np.random.Generator
) -> Version:
    """Returns the items with some vectors borrowed, and some hidden in each batch.

    Args:
        vectors: The items.
        read: Which of them are read, bool [V].
        training: `hidden_share` says how much is borrowed and hidden.
        generator: Decides what is.
    """
    poorer = _pretend_new(vectors, read, training.hidden_share, generator)
    return Version(poorer, lambda batch, drawn: _hide(batch, training.hidden_share, drawn), generator)


def _pretend_new(vectors: ItemVectors, read: np.ndarray, share: float, generator: np.random.Generator) -> ItemVectors:
    """Replaces the collaborative vectors of some items by borrowed ones, as `clean` does for items new to the model."""
    candidates = vectors.has_collaborative & vectors.has_semantic
    new = candidates & (generator.random(len(candidates)) < share)
    known = candidates & ~new
    if not new.any() or not known.any():
        return vectors
    learned = ("collaborative", "co_occurrence", "company", "lives")
    changed = replace(vectors, **{name: getattr(vectors, name).copy(order="K") for name in learned})
    for borrowers, lenders, weights in find_lenders(vectors.semantic, known, new & read):
        for name in learned:
            getattr(changed, name)[borrowers] = mean_of(getattr(vectors, name), lenders, weights)
    return changed


def _hide(batch: Batch, share: float, generator: np.random.Generator) -> Batch:
    """Hides the text of some interactions, the collaborative vectors of as many others, and the time of some."""
    draw = torch.from_numpy(generator.random(tuple(batch.mask.shape)))
    timeless = torch.from_numpy(generator.random(tuple(batch.mask.shape))) < share
    return batch.hide(collaborative=draw >= 1 - share, semantic=draw < share, moments=timeless)
