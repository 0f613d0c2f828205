"""Augments the head's training examples, so that it also learns to judge new items and items without text."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ..core.item_vectors import ItemVectors
from ..detector.batch import Batch
from ..vectors.neighbours import find_lenders, mean_of
from .head_examples import Version
from .training_config import TrainingConfig


@contextmanager
def poorer_version(
    vectors: ItemVectors, read: np.ndarray, training: TrainingConfig, generator: np.random.Generator
) -> Iterator[Version]:
    """Gives the items with some vectors borrowed, and some hidden in each batch.

    The items are changed, and put back in the end: a copy of all would take much memory.

    Args:
        vectors: The items.
        read: Which of them are read, bool [V].
        training: `hidden_share` says how much is borrowed and hidden.
        generator: Decides what is.
    """
    with _pretend_new(vectors, read, training.hidden_share, generator):
        yield Version(vectors, lambda batch, drawn: _hide(batch, training.hidden_share, drawn), generator)


@contextmanager
def _pretend_new(
    vectors: ItemVectors, read: np.ndarray, share: float, generator: np.random.Generator
) -> Iterator[None]:
    """Replaces the collaborative vectors of some items by borrowed ones, as `clean` does for items new to the model."""
    candidates = vectors.has_collaborative & vectors.has_semantic
    new = candidates & (generator.random(len(candidates)) < share)
    known = candidates & ~new
    if not new.any() or not known.any():
        yield
        return
    columns = [vectors.collaborative, vectors.co_occurrence, vectors.company, vectors.lives]
    borrowers = np.flatnonzero(new & read)
    own = [column[borrowers] for column in columns]
    for rows, lenders, weights in find_lenders(vectors.semantic, known, new & read):
        for column in columns:  # lenders are no borrowers, so that the order does not matter
            column[rows] = mean_of(column, lenders, weights)
    try:
        yield
    finally:
        for column, values in zip(columns, own, strict=True):
            column[borrowers] = values


def _hide(batch: Batch, share: float, generator: np.random.Generator) -> Batch:
    """Hides the text of some interactions, the collaborative vectors of as many others, and the time of some."""
    draw = torch.from_numpy(generator.random(tuple(batch.mask.shape)))
    timeless = torch.from_numpy(generator.random(tuple(batch.mask.shape))) < share
    return batch.hide(collaborative=draw >= 1 - share, semantic=draw < share, moments=timeless)
