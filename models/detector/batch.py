"""A batch of padded sequences as the model reads them: vectors of the items, not their numbers."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .projections import FoldProjections, InterestProjections, TextProjections


@dataclass(frozen=True)
class IndexedRows:
    """Vectors of positions as rows of a table. They are copied side by side only if something needs them that way."""

    table: Tensor
    """[R + 1, ...], contiguous. The last row is zeros; absent positions point at it."""
    index: Tensor
    """int64 [B, T]."""

    @classmethod
    def of(cls, vectors: Tensor) -> "IndexedRows":
        """Makes rows of vectors that lie side by side, [B, T, ...]."""
        table = vectors.flatten(0, 1)
        index = torch.arange(len(table)).view(vectors.shape[:2])
        return cls(torch.cat([table, table.new_zeros(1, *table.shape[1:])]), index)

    def gathered(self) -> Tensor:
        """Returns the vectors side by side, [B, T, ...]. Same as `table[index]`, but a lot faster."""
        return self.table.index_select(0, self.index.flatten()).view(*self.index.shape, *self.table.shape[1:])

    def in_table(self, table: Tensor) -> "IndexedRows":
        """Returns the same rows of another table, [R + 1, ...]."""
        return replace(self, table=table)

    def without(self, hidden: Tensor) -> "IndexedRows":
        """Returns the rows with zeros where `hidden`, bool [B, T], is true."""
        return replace(self, index=self.index.masked_fill(hidden, len(self.table) - 1))


@dataclass(frozen=True)
class Batch:
    """Padded sequences as the model reads them. Absent vectors are zero, so that no layer has to mask them again."""

    collaborative: IndexedRows
    """E_c, of unit length, rows of a table [V + 1, d] of items."""
    co_occurrence: IndexedRows
    """Which items other users have together, of unit length, rows of a table [P + 1, d] of pairs of an item and a fold:
    learned from other users than the sequence's own."""
    company: IndexedRows
    """The mean text of those items, likewise."""
    semantic: IndexedRows
    """Text embeddings in the model's components (`IADSR.reduce_semantic`), rows of a table [V + 1, k] of items."""
    lives: IndexedRows
    """When the items were chosen, rows of a table [P + 1, LIFE_BINS] of pairs of an item and a fold."""
    moments: Tensor
    """The time of each interaction by the model's clock, [B, T] in [0, 1]; NaN where it tells none."""
    mask: Tensor
    """bool [B, T], real positions; padding comes last."""
    has_collaborative: Tensor
    """bool [B, T]."""
    has_co_occurrence: Tensor
    """bool [B, T]."""
    has_company: Tensor
    """bool [B, T]."""
    has_life: Tensor
    """bool [B, T]."""
    has_semantic: Tensor
    """bool [B, T]."""
    history: "History | None" = None
    """Whole histories, if a sequence is a window of a longer one. None if all sequences are whole."""
    interest_projections: InterestProjections | None = None
    """Tables with the rows of `collaborative`. None: the model computes them position by position."""
    text_projections: TextProjections | None = None
    """Tables with the rows of `semantic`; None likewise."""
    fold_projections: FoldProjections | None = None
    """Tables with the rows of `co_occurrence`; None likewise."""

    def hide(self, collaborative: Tensor, semantic: Tensor, moments: Tensor | None = None) -> "Batch":
        """Returns the batch without some vectors, and without projections.

        Args:
            collaborative: Positions that lose all vectors learned from interactions, bool [B, T].
            semantic: Positions that lose their text, bool [B, T].
            moments: Positions that lose their time, bool [B, T]; None: no others.
        """
        return replace(
            self,
            collaborative=self.collaborative.without(collaborative),
            co_occurrence=self.co_occurrence.without(collaborative),
            company=self.company.without(collaborative),
            semantic=self.semantic.without(semantic),
            moments=self.moments if moments is None else self.moments.masked_fill(moments, torch.nan),
            has_collaborative=self.has_collaborative & ~collaborative,
            has_co_occurrence=self.has_co_occurrence & ~collaborative,
            has_company=self.has_company & ~collaborative,
            has_life=self.has_life & ~collaborative,
            has_semantic=self.has_semantic & ~semantic,
            interest_projections=None,
            text_projections=None,
            fold_projections=None,
        )

    @property
    def length(self) -> Tensor:
        """Interactions in the whole history of each position, float [B, T]."""
        length = self.mask.sum(1)
        if self.history is not None:
            length = torch.where(self.history.longer, self.history.length, length)
        return length[:, None].expand_as(self.mask).to(self.collaborative.table)


@dataclass(frozen=True)
class History:
    """The whole histories that windows are cut from, as sums. They mean nothing if the window is the whole history."""

    longer: Tensor
    """bool [B], true for a window of a longer history."""
    length: Tensor
    """Interactions in the history, int64 [B]."""
    totals: tuple[Tensor, ...]
    """Sum of its vectors in each of VIEWS, each [B, n]."""
    counts: Tensor
    """Vectors in each of those sums, [B, 3]."""
