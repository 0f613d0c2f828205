"""Scores every interaction of a batch of sequences: arrays in, arrays out, the way the pipeline calls the model."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from ..core.item_vectors import ItemVectors
from ..core.sequences import Sequences
from ..core.windows import even_batches
from .batch_builder import BATCH_POSITIONS, BatchBuilder
from .features import SIMILARITIES
from .iadsr import IADSR
from .item_tensors import ItemTensors
from .scores import Scores

GROUP_INTERACTIONS = 1 << 18
"""About this many interactions are scored together. Each of their items is projected once, and memory is bounded."""


def score_sequences(
    model: IADSR, sequences: Sequences, vectors: ItemVectors, *, cells: int = 1, batch_positions: int = BATCH_POSITIONS
) -> Scores:
    """Scores every interaction of every sequence, however long.

    The same input gives the same scores, and a sequence has the same ones whatever else is scored with it. Sequences
    longer than the model's `max_length` are read in overlapping windows. Each interaction is judged by its window and
    by the whole sequence. Items unknown to both modalities are left out.

    Args:
        model: A trained model.
        sequences: Interactions; items are rows of `vectors`. Users that the model was trained on must have the keys
            that they had then.
        vectors: The items.
        cells: Users are dealt by their keys into this many cells. Each cell is scored apart, which bounds memory.
        batch_positions: Padded positions per batch.
    """
    scores = Scores.none(len(sequences.items))
    model.eval()
    for users in _groups(sequences, cells, model.config.folds):
        group, rows = sequences.take(users)
        scores.put(rows, _score_group(model, group, vectors, batch_positions))
    return scores


def _groups(sequences: Sequences, cells: int, folds: int) -> Iterator[np.ndarray]:
    """Yields the users to be scored together: those of one cell, or a part of a large cell, to bound memory.

    Users of the same fold come together, because they share the projections of an item.
    """
    assert sequences.keys is not None
    if not len(sequences):
        return
    cell = (sequences.keys % np.uint64(cells)).astype(np.int64)
    order = np.lexsort((sequences.folds(folds), cell))
    before = np.cumsum(sequences.lengths[order]) - sequences.lengths[order]
    first = before[np.searchsorted(cell[order], np.arange(cells), side="left").clip(max=len(order) - 1)]
    part = (before - first[cell[order]]) // GROUP_INTERACTIONS
    changes = np.flatnonzero((np.diff(cell[order]) != 0) | (np.diff(part) != 0)) + 1
    yield from (users for users in np.split(order, changes) if len(users))


def _score_group(model: IADSR, sequences: Sequences, vectors: ItemVectors, batch_positions: int) -> Scores:
    known_items = vectors.has_collaborative | vectors.has_semantic
    known = known_items[sequences.items]
    context = sequences.restrict(known)
    scores = Scores.none(len(sequences.items))

    # Only items that occur are read, and once: there may be far more of them than fit into memory.
    wanted = np.zeros((len(known_items), model.config.folds), bool)
    wanted[context.items, context.folds(model.config.folds)[context.users]] = True
    occurs = wanted.any(1)
    context = replace(context, items=(np.cumsum(occurs) - 1)[context.items])
    wanted = wanted[occurs] & model.head.reads_other_users
    origin = np.flatnonzero(known)
    with torch.inference_mode():
        item_tensors = ItemTensors.select(model, vectors, np.flatnonzero(occurs), wanted).project(model)
        builder = BatchBuilder(model, context, item_tensors)
        windows = builder.windows.select(builder.windows.lengths > 1)
        for chosen, index, mask in even_batches(windows, batch_positions, model.config.max_length):
            batch = builder.batch(windows.users[chosen], index, mask)
            probabilities, values, defined, kind = model(batch)
            standing = (values - model.genuine_mean) / model.genuine_deviation
            lowest = standing.masked_fill(~defined, torch.inf).argmin(-1)
            sign = torch.where(kind > 0, len(SIMILARITIES) - 1 + kind, lowest)
            judged = windows.judged(chosen, mask)
            where = origin[index[judged]]
            noise, stray = probabilities.numpy()[judged].T
            values = values.masked_fill(~defined, torch.nan).numpy()[judged]
            told = Scores(noise, values, np.ones(len(where), bool), sign.numpy()[judged], stray)
            scores.put(where, told)
    return scores
