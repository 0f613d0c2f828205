"""Builds batches from the windows of a log. Each window knows the sums over the whole history it was cut from."""

from dataclasses import replace

import numpy as np
import torch

from ..core.sequences import Sequences
from ..core.windows import cut_windows, even_batches
from ..vectors.lives import tell
from .batch import Batch, History
from .iadsr import IADSR
from .item_tensors import ItemTensors

BATCH_POSITIONS = 4096
"""Most padded positions per batch, unless another number is asked for."""


class BatchBuilder:
    """Gathers windows of a log into batches.

    Attributes:
        windows: Windows of the log. Each interaction is judged in one of them.
    """

    def __init__(self, model: IADSR, sequences: Sequences, item_tensors: ItemTensors):
        """Cuts the log into windows.

        Args:
            model: The model that will read the batches.
            sequences: The log.
            item_tensors: The items of the log.
        """
        self._sequences, self._item_tensors = sequences, item_tensors
        self._moments = tell(model.clock.numpy(), sequences.times, len(sequences.items))
        self._folds = sequences.folds(model.config.folds) if model.head.reads_other_users else None
        self.windows = cut_windows(sequences, model.config.max_length, model.config.overlap)
        long = np.flatnonzero(sequences.lengths > model.config.max_length)
        self._row = np.full(len(sequences), -1, np.int64)
        self._row[long] = np.arange(len(long))
        self._totals, self._counts = self._sum_histories(model, long)

    def batch(self, users: np.ndarray, index: np.ndarray, mask: np.ndarray) -> Batch:
        """Gathers windows of the log.

        Args:
            users: int64 [B], the user of each window.
            index: Interaction at each position, int64 [B, T].
            mask: bool [B, T], real positions.
        """
        batch = self._gather(users, index, mask)
        row = self._row[users]
        if (row < 0).all():
            return batch
        at = torch.from_numpy(row).clamp(min=0)
        history = History(
            torch.from_numpy(row >= 0),
            torch.from_numpy(self._sequences.lengths[users]),
            tuple(total[at] for total in self._totals),
            self._counts[at],
        )
        return replace(batch, history=history)

    def _sum_histories(self, model: IADSR, users: np.ndarray) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Adds up the vectors of whole histories in each view, each [L, n], and counts them, [L, 3]."""
        pieces = cut_windows(self._sequences, model.config.max_length)
        pieces = pieces.select(self._row[pieces.users] >= 0)
        totals = [torch.zeros(len(users), len(chance.mean)) for chance in model.chances]
        counts = torch.zeros(len(users), len(totals))
        with torch.no_grad():
            for chosen, index, mask in even_batches(pieces, BATCH_POSITIONS, model.config.max_length):
                views = model.views(self._gather(pieces.users[chosen], index, mask))
                row = torch.from_numpy(self._row[pieces.users[chosen]])
                for total, view in zip(totals, views, strict=True):
                    total.index_add_(0, row, view.vectors.gathered().sum(1))
                counts.index_add_(0, row, torch.stack([view.present.sum(1) for view in views], -1).to(counts))
        return totals, counts

    def _gather(self, users: np.ndarray, index: np.ndarray, mask: np.ndarray) -> Batch:
        folds = None if self._folds is None else self._folds[users]
        return self._item_tensors.batch(self._sequences.items[index], mask, folds, self._moments[index])
