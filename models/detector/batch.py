"""A batch of padded sequences as the model reads them: vectors of the items, not their numbers."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class IndexedRows:
    """Vectors of positions as rows of a table, which are copied side by side only where something needs them so.

    Attributes:
        table: [R + 1, ...], contiguous; its last row, zeros, is what absent positions read.
        index: int64 [B, T].
    """

    table: Tensor
    index: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> "IndexedRows":
        """Makes rows of vectors that lie side by side, [B, T, ...]."""
        table = vectors.flatten(0, 1)
        index = torch.arange(len(table)).view(vectors.shape[:2])
        return cls(torch.cat([table, table.new_zeros(1, *table.shape[1:])]), index)

    def gathered(self) -> Tensor:
        """Returns the vectors side by side, [B, T, ...]: what `table[index]` does, but a lot faster."""
        return self.table.index_select(0, self.index.flatten()).view(*self.index.shape, *self.table.shape[1:])

    def without(self, hidden: Tensor) -> "IndexedRows":
        """Returns them with zeros where `hidden`, bool [B, T]."""
        return replace(self, index=self.index.masked_fill(hidden, len(self.table) - 1))


@dataclass(frozen=True)
class Batch:
    """Padded sequences as the model reads them. What is absent is zero, so that no layer needs to mask it again.

    Attributes:
        collaborative: Item vectors of stage 1, E_c, of unit length, rows of a table [., d].
        others: Item vectors of unit length learned from other users than the sequence's own, one of each kind,
            rows of a table [., 2, d].
        semantic: Text embeddings in the model's components (`IADSR.reduce_semantic`), rows of a table [., k].
        mask: bool [B, T], real positions; padding comes last.
        has_collaborative: bool [B, T].
        has_others: bool [B, T, 2].
        has_semantic: bool [B, T].
        history: Whole histories, where a sequence is a window of a longer one; None where all are whole.
        readings: What the model makes of each item by itself, by name; the model computes what is not there, see
            `IADSR.reading`.
    """

    collaborative: IndexedRows
    others: IndexedRows
    semantic: IndexedRows
    mask: Tensor
    has_collaborative: Tensor
    has_others: Tensor
    has_semantic: Tensor
    history: "History | None" = None
    readings: dict[str, IndexedRows] = field(default_factory=dict)

    def hide(self, collaborative: Tensor, semantic: Tensor) -> "Batch":
        """Returns the batch without the collaborative vectors of some positions, and the texts of some, bool [B, T]."""
        has_collaborative = self.has_collaborative & ~collaborative
        has_others = self.has_others & ~collaborative[..., None]
        has_semantic = self.has_semantic & ~semantic
        return replace(
            self,
            collaborative=self.collaborative.without(collaborative),
            others=self.others.without(collaborative),
            semantic=self.semantic.without(semantic),
            has_collaborative=has_collaborative,
            has_others=has_others,
            has_semantic=has_semantic,
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
    """What windows are part of: sums over whole histories, meaningless where the window is the whole.

    Attributes:
        longer: bool [B], true on windows of a longer history.
        length: Interactions in it, int64 [B].
        totals: Sum of its vectors in each of VIEWS, each [B, n].
        counts: Vectors in each of those sums, [B, 3].
    """

    longer: Tensor
    length: Tensor
    totals: tuple[Tensor, ...]
    counts: Tensor
