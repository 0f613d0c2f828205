"""Scores every interaction of a batch of sequences: arrays in, arrays out, the way the pipeline calls the model."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..core.in_order import in_order
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
    model: IADSR,
    sequences: Sequences,
    vectors: ItemVectors,
    *,
    cells: int = 1,
    batch_positions: int = BATCH_POSITIONS,
    group_interactions: int | None = None,
    workers: int = 1,
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
        group_interactions: See `groups_of_users`.
        workers: Threads, each of which scores a group of users.
    """
    scores = Scores.none(len(sequences.items))
    model.eval()

    def score(users: np.ndarray) -> tuple[np.ndarray, Scores]:
        group, rows = sequences.take(users)
        return rows, GroupItems.of(model, group, vectors).score(group, batch_positions)

    groups = groups_of_users(sequences, model.config.folds, cells, group_interactions)
    for rows, scored in in_order(score, groups, workers):
        scores.put(rows, scored)
    return scores


def groups_of_users(
    sequences: Sequences, folds: int, cells: int = 1, group_interactions: int | None = None
) -> Iterator[np.ndarray]:
    """Yields users to be read together: those of one cell, or a part of a large cell, to bound memory, int64 [n].

    Users of the same fold come together, because they share what is computed of an item.

    Args:
        sequences: The log.
        folds: Folds that users are dealt into.
        cells: Users are dealt by their keys into this many cells.
        group_interactions: About this many interactions come together; None: GROUP_INTERACTIONS.
    """
    assert sequences.keys is not None
    if not len(sequences):
        return
    cell = (sequences.keys % np.uint64(cells)).astype(np.int64)
    order = np.lexsort((sequences.folds(folds), cell))
    before = np.cumsum(sequences.lengths[order]) - sequences.lengths[order]
    first = before[np.searchsorted(cell[order], np.arange(cells), side="left").clip(max=len(order) - 1)]
    part = (before - first[cell[order]]) // (group_interactions or GROUP_INTERACTIONS)
    changes = np.flatnonzero((np.diff(cell[order]) != 0) | (np.diff(part) != 0)) + 1
    yield from (users for users in np.split(order, changes) if len(users))


@dataclass(frozen=True)
class GroupItems:
    """The items of a group of users, as tensors. Only items that occur are read: there may be too many to hold all."""

    model: IADSR
    """The model that reads them."""
    known: np.ndarray
    """Which of all items it can read, bool [V]."""
    row: np.ndarray
    """The row of each item of the group, int32 [V]."""
    tensors: ItemTensors
    """The items of the group, in the folds of the users who have them."""

    @classmethod
    def of(cls, model: IADSR, sequences: Sequences, vectors: ItemVectors) -> "GroupItems":
        """Reads the items of some users, and computes what the model computes of each alone.

        Args:
            model: The model.
            sequences: The users; items are rows of `vectors`.
            vectors: All items.
        """
        known = vectors.has_collaborative | vectors.has_semantic
        context, folds = sequences.restrict(known[sequences.items]), model.config.folds
        wanted = np.zeros((len(known), folds), bool)
        wanted[context.items, np.repeat(context.folds(folds), context.lengths)] = True
        items = np.flatnonzero(wanted.any(1))
        row = np.zeros(len(known), np.int32)
        row[items] = np.arange(len(items))
        with torch.inference_mode():
            tensors = ItemTensors.select(model, vectors, items, wanted[items] & model.head.reads_other_users)
            return cls(model, known, row, tensors.project(model))

    def score(self, sequences: Sequences, batch_positions: int = BATCH_POSITIONS) -> Scores:
        """Scores every interaction of users of the group, or of what is left of their sequences."""
        model, known = self.model, self.known[sequences.items]
        context = sequences.restrict(known)
        context = replace(context, items=self.row[context.items])
        scores = Scores.none(len(sequences.items))
        origin = np.flatnonzero(known)
        with torch.inference_mode():
            builder = BatchBuilder(model, context, self.tensors)
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
