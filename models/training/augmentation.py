"""Augments the head's training examples, so that it also learns to judge new items and items without text."""

import numpy as np
import torch

from ..core.item_vectors import ItemVectors
from ..detector.batch import Batch
from ..detector.iadsr import IADSR
from ..detector.item_tensors import ItemTensors
from ..vectors.neighbours import borrow_collaborative
from .head_examples import Version
from .training_config import TrainingConfig


def poorer_version(
    model: IADSR, vectors: ItemVectors, training: TrainingConfig, generator: np.random.Generator
) -> Version:
    """Returns the items with some vectors borrowed, and some hidden in each batch.

    Args:
        model: The aligned model.
        vectors: The items.
        training: `hidden_share` says how much is borrowed and hidden.
        generator: Decides what is.
    """
    items = np.arange(len(vectors.has_semantic))
    poorer = ItemTensors.select(model, _pretend_new(vectors, training.hidden_share, generator), items)
    return Version(poorer, lambda batch, drawn: _hide(batch, training.hidden_share, drawn), generator)


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
    """Hides the text of some interactions, the collaborative vectors of as many others, and the time of some."""
    draw = torch.from_numpy(generator.random(tuple(batch.mask.shape)))
    timeless = torch.from_numpy(generator.random(tuple(batch.mask.shape))) < share
    return batch.hide(collaborative=draw >= 1 - share, semantic=draw < share, moments=timeless)
