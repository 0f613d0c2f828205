"""What a model makes of each item of a catalogue by itself, gathered into batches."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..core.item_vectors import ItemVectors
from .batch import Batch, IndexedRows
from .context import TEXT
from .iadsr import IADSR, PAPER_READINGS, READINGS, READINGS_BY_FOLD

ROWS = 4096
"""So many items are read at once."""


@dataclass(frozen=True)
class ItemTensors:
    """A catalogue's vectors as a model reads them; the last row of each table, all zeros, is what padding reads.

    What depends on the fold of a user is kept by pairs of an item and a fold, P of them.

    Attributes:
        collaborative: E_c, of unit length, [V + 1, d].
        others: Both kinds of vectors learned from the users of other folds, of unit length, [P + 1, 2, d].
        semantic: Text embeddings reduced to the model's components, [V + 1, k].
        has_collaborative: bool [V + 1].
        has_others: bool [P + 1, 2].
        has_semantic: bool [V + 1].
        items: int64 [P], the item of each pair.
        folds: int64 [P], its fold.
        pairs: int64 [V + 1, folds], the row of each item and fold; P for padding, and where it was not asked for.
        readings: What the model makes of each item by itself, by name, [V + 1, ...]; empty until `read`.
        readings_by_fold: Likewise of each pair, [P + 1, ...].
    """

    collaborative: Tensor
    others: Tensor
    semantic: Tensor
    has_collaborative: Tensor
    has_others: Tensor
    has_semantic: Tensor
    items: np.ndarray
    folds: np.ndarray
    pairs: Tensor
    readings: dict[str, Tensor] = field(default_factory=dict)
    readings_by_fold: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def select(
        cls, model: IADSR, vectors: ItemVectors, items: np.ndarray, wanted: np.ndarray | None = None
    ) -> "ItemTensors":
        """Reads the rows `items` of a catalogue.

        Args:
            model: Whose components the text embeddings are reduced to.
            vectors: The catalogue.
            items: int [V], which rows to read.
            wanted: bool [V, folds], which of them are asked for in which fold; None: all in all.
        """
        size = model.config.collaborative_dimension
        by_slot = vectors.collaborative.reshape(len(vectors.collaborative), -1, size)  # E_c, then two of each fold
        folds = by_slot.shape[1] // 2  # none for the paper's head
        item, fold = np.nonzero(np.ones((len(items), folds), bool) if wanted is None else wanted)
        pairs = np.full((len(items) + 1, folds), len(item))
        pairs[item, fold] = np.arange(len(item))
        slots = 1 + 2 * fold[:, None] + np.arange(2)  # [P, 2]

        has_collaborative, has_semantic = vectors.has_collaborative[items], vectors.has_semantic[items]
        others = _unit(_padded(by_slot[items[item, None], slots], has_collaborative[item]))
        with torch.no_grad():  # not inference_mode: training backpropagates through what it reads here
            semantic = model.reduce_semantic(_padded(vectors.semantic[items], has_semantic))
        flags = [torch.from_numpy(np.append(flag, False)) for flag in (has_collaborative, has_semantic)]
        return cls(
            collaborative=_unit(_padded(by_slot[items, 0], has_collaborative)),
            others=others,
            semantic=semantic * flags[1][:, None],
            has_collaborative=flags[0],
            has_others=torch.linalg.vector_norm(others, dim=-1) > 0,
            has_semantic=flags[1],
            items=item,
            folds=fold,
            pairs=torch.from_numpy(pairs),
        )

    def read(self, model: IADSR) -> "ItemTensors":
        """Returns the catalogue with what a model makes of each item by itself, for a model that does not change."""
        every = np.arange(len(self.collaborative) - 1)
        if model.config.head == "paper":
            return replace(self, readings=self._read(model, PAPER_READINGS, every))
        readings = self._read(model, READINGS, every)
        # Read to read more, and not gathered afterwards.
        with_text = replace(self, readings={TEXT: readings.pop(TEXT)})
        readings_by_fold = with_text._read(model, READINGS_BY_FOLD, self.items, self.folds)
        return replace(self, readings=readings, readings_by_fold=readings_by_fold)

    def batch(self, items: np.ndarray, mask: np.ndarray, folds: np.ndarray | None = None) -> Batch:
        """Gathers the vectors of padded sequences of items, and what was read of them.

        Args:
            items: int [B, T].
            mask: bool [B, T], real positions.
            folds: int64 [B], the fold of each sequence's user; None: without the vectors learned from other users,
                which interests do not read.
        """
        index = torch.from_numpy(np.where(mask, items, len(self.collaborative) - 1).astype(np.int64))
        if folds is None:
            pair = torch.full((), len(self.others) - 1).expand(index.shape)
        else:
            pair = self.pairs[index, torch.from_numpy(folds)[:, None]]
        return Batch(
            collaborative=IndexedRows(self.collaborative, index),
            others=IndexedRows(self.others, pair),
            semantic=IndexedRows(self.semantic, index),
            mask=torch.from_numpy(mask),
            has_collaborative=self.has_collaborative[index],
            has_others=self.has_others[pair],
            has_semantic=self.has_semantic[index],
            readings={name: IndexedRows(table, index) for name, table in self.readings.items()}
            | {name: IndexedRows(table, pair) for name, table in self.readings_by_fold.items()},
        )

    def _read(
        self, model: IADSR, names: Iterable[str], items: np.ndarray, folds: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        """Computes readings of items [n], in a fold each, and appends the row of zeros: [n + 1, ...] for each name."""
        tables: dict[str, Tensor] = {}
        for start in range(0, max(len(items), 1), ROWS):
            rows = np.arange(start, min(start + ROWS, len(items)))
            batch = self.batch(items[rows, None], np.ones((len(rows), 1), bool), None if folds is None else folds[rows])
            for name in names:
                read = model.reading(name, batch)
                if name not in tables:
                    tables[name] = read.new_zeros(len(items) + 1, *read.shape[2:])
                tables[name][start : start + len(rows)] = read[:, 0]
                # What is read may be needed to read more.
                batch.readings[name] = IndexedRows(tables[name], torch.from_numpy(rows)[:, None])
        return tables


def _padded(vectors: np.ndarray, present: np.ndarray) -> Tensor:
    """Returns vectors [n, ...] as float32, 0 where they are not present, bool [n], and with one more row of zeros."""
    padded = np.zeros((len(vectors) + 1, *vectors.shape[1:]), np.float32)
    padded[:-1] = vectors
    padded[:-1][~present] = 0
    return torch.from_numpy(padded)


def _unit(vectors: Tensor) -> Tensor:
    """Scales vectors to unit length, in place: borrowed ones are means, and shorter."""
    return vectors.div_(torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_(min=1e-12))
