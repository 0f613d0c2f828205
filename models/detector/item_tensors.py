"""Item vectors as tensors, with what the model computes of each item alone; gathered into batches."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..core.item_vectors import ItemVectors
from ..core.windows import even_rows
from .batch import Batch, IndexedRows
from .iadsr import IADSR
from .projections import FoldProjections, InterestProjections, TextProjections

ITEMS_AT_ONCE = 4096
"""Items that are projected together."""

Projections = TypeVar("Projections", InterestProjections, TextProjections, FoldProjections)


@dataclass(frozen=True)
class ItemTensors:
    """The vectors of V items as a model reads them. The last row of each table is zeros; padding points at it.

    What depends on the fold of a user has a row for each pair of an item and a fold, P of them.
    """

    collaborative: Tensor
    """E_c, of unit length, [V + 1, d]."""
    co_occurrence: Tensor
    """Vectors learned from the users of other folds, of unit length, [P + 1, d]."""
    company: Tensor
    """Likewise, [P + 1, d]."""
    lives: Tensor
    """Likewise, [P + 1, LIFE_BINS], see `ItemVectors`."""
    semantic: Tensor
    """Text embeddings reduced to the model's components, [V + 1, k]."""
    has_collaborative: Tensor
    """bool [V + 1]."""
    has_co_occurrence: Tensor
    """bool [P + 1]."""
    has_company: Tensor
    """bool [P + 1]."""
    has_life: Tensor
    """bool [P + 1]."""
    has_semantic: Tensor
    """bool [V + 1]."""
    items: np.ndarray
    """int64 [P], the item of each pair."""
    folds: np.ndarray
    """int64 [P], its fold."""
    pairs: Tensor
    """int64 [V + 1, folds], the row of each item and fold; P for padding, and for pairs that were not asked for."""
    interest_projections: InterestProjections | None = None
    """None until `project`."""
    text_projections: TextProjections | None = None
    """None until `project`, and with a head that does not read them."""
    fold_projections: FoldProjections | None = None
    """None until `project`, and with a head that does not read them."""

    @classmethod
    def select(
        cls, model: IADSR, vectors: ItemVectors, items: np.ndarray, wanted: np.ndarray | None = None
    ) -> "ItemTensors":
        """Reads the vectors of some items.

        Args:
            model: Whose components the text embeddings are reduced to.
            vectors: All items.
            items: int [V], which rows of them to read.
            wanted: bool [V, folds], which of them are asked for in which fold; None: all in all.
        """
        if wanted is None:
            wanted = np.ones((len(items), vectors.co_occurrence.shape[1]), bool)
        item, fold = np.nonzero(wanted)
        pairs = np.full((len(items) + 1, wanted.shape[1]), len(item))
        pairs[item, fold] = np.arange(len(item))

        has_collaborative, has_semantic = vectors.has_collaborative[items], vectors.has_semantic[items]
        co_occurrence, company = (
            _unit(_padded(by_fold[items[item], fold], has_collaborative[item]))
            for by_fold in (vectors.co_occurrence, vectors.company)
        )
        lives = _padded(vectors.lives[items[item], fold], has_collaborative[item])
        flags = [torch.from_numpy(np.append(flag, False)) for flag in (has_collaborative, has_semantic)]
        return cls(
            collaborative=_unit(_padded(vectors.collaborative[items], has_collaborative)),
            co_occurrence=co_occurrence,
            company=company,
            lives=lives,
            semantic=reduce_texts(model, vectors.semantic, vectors.has_semantic, items),
            has_collaborative=flags[0],
            has_co_occurrence=torch.linalg.vector_norm(co_occurrence, dim=-1) > 0,
            has_company=torch.linalg.vector_norm(company, dim=-1) > 0,
            has_life=(lives != 0).any(-1),
            has_semantic=flags[1],
            items=item,
            folds=fold,
            pairs=torch.from_numpy(pairs),
        )

    def project(self, model: IADSR) -> "ItemTensors":
        """Returns the items with what a model computes of each alone. The model must not change afterwards."""
        items = np.arange(len(self.collaborative) - 1)
        projected = replace(self, interest_projections=self._project(model.project_interests, items))
        if not model.head.reads_other_users:
            return projected
        projected = replace(projected, text_projections=self._project(model.project_texts, items))
        # The context vector of an item and a fold is computed from what the item's text adds to it.
        return replace(projected, fold_projections=projected._project(model.project_folds, self.items, self.folds))

    def batch(
        self, items: np.ndarray, mask: np.ndarray, folds: np.ndarray | None = None, moments: np.ndarray | None = None
    ) -> Batch:
        """Gathers the vectors of padded sequences of items, and what was projected of them.

        Args:
            items: int [B, T].
            mask: bool [B, T], real positions.
            folds: int64 [B], the fold of each sequence's user. None: without the vectors learned from other users,
                which interests do not read.
            moments: float32 [B, T], the time of each interaction by the model's clock; None: the clock tells none.
        """
        index = torch.from_numpy(np.where(mask, items, len(self.collaborative) - 1).astype(np.int64))
        if folds is None:
            pair = torch.full((), len(self.co_occurrence) - 1).expand(index.shape)
        else:
            pair = self.pairs[index, torch.from_numpy(folds)[:, None]]
        return Batch(
            collaborative=IndexedRows(self.collaborative, index),
            co_occurrence=IndexedRows(self.co_occurrence, pair),
            company=IndexedRows(self.company, pair),
            lives=IndexedRows(self.lives, pair),
            moments=torch.full(index.shape, torch.nan) if moments is None else torch.from_numpy(moments),
            semantic=IndexedRows(self.semantic, index),
            mask=torch.from_numpy(mask),
            has_collaborative=self.has_collaborative[index],
            has_co_occurrence=self.has_co_occurrence[pair],
            has_company=self.has_company[pair],
            has_life=self.has_life[pair],
            has_semantic=self.has_semantic[index],
            interest_projections=self.interest_projections,
            text_projections=self.text_projections,
            fold_projections=self.fold_projections,
        )

    def _project(
        self, compute: Callable[[Batch], Projections], items: np.ndarray, folds: np.ndarray | None = None
    ) -> Projections:
        """Computes projections of items [n], in a fold each, as tables of n rows and a row of zeros."""
        tables: Projections | None = None
        for start in range(0, max(len(items), 1), ITEMS_AT_ONCE):
            chosen = items[start : start + ITEMS_AT_ONCE]
            filler = even_rows(len(chosen)) - len(chosen)
            mask = np.ones((len(chosen) + filler, 1), bool)
            mask[len(chosen) :] = False
            at = None if folds is None else np.append(folds[start : start + len(chosen)], np.zeros(filler, np.int64))
            batch = self.batch(np.append(chosen, np.zeros(filler, np.int64))[:, None], mask, at)
            projected = compute(batch)
            if tables is None:
                parts = vars(projected).values()
                tables = type(projected)(*(part.new_zeros(len(items) + 1, *part.shape[2:]) for part in parts))
            for table, part in zip(vars(tables).values(), vars(projected).values(), strict=True):
                table[start : start + len(chosen)] = part[: len(chosen), 0]
        assert tables is not None
        return tables


def reduce_texts(model: IADSR, semantic: np.ndarray, has_semantic: np.ndarray, items: np.ndarray) -> Tensor:
    """Returns the components of the texts of some items, some at a time, and a row of zeros, [n + 1, k].

    Args:
        model: Whose components they are.
        semantic: Text embeddings, float [V, D].
        has_semantic: bool [V]; the components of an item without a text are zeros.
        items: int [n], which rows to read.
    """
    components = torch.zeros(len(items) + 1, model.semantic_basis.shape[1])
    with torch.no_grad():  # not inference_mode: training backpropagates through what it reads here
        for first in range(0, len(items), ITEMS_AT_ONCE):
            rows = items[first : first + ITEMS_AT_ONCE]
            present = has_semantic[rows]
            texts = np.zeros((even_rows(len(rows)), semantic.shape[1]), np.float32)
            texts[: len(rows)][present] = semantic[rows[present]]
            reduced = model.reduce_semantic(torch.from_numpy(texts))[: len(rows)]
            components[first : first + len(rows)] = reduced * torch.from_numpy(present)[:, None]
    return components


def _padded(vectors: np.ndarray, present: np.ndarray) -> Tensor:
    """Returns vectors [n, ...] as float32, 0 where they are not present, bool [n], and with one more row of zeros."""
    padded = np.zeros((len(vectors) + 1, *vectors.shape[1:]), np.float32)
    padded[:-1] = vectors
    padded[:-1][~present] = 0
    return torch.from_numpy(padded)


def _unit(vectors: Tensor) -> Tensor:
    """Scales vectors to unit length, in place. Borrowed vectors are means, and so shorter."""
    return vectors.div_(torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_(min=1e-12))
