"""A batch of padded sequences as the model reads them: vectors of the items, not their numbers."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Padded sequences as the model reads them. What is absent is zero, so that no layer needs to mask it again.

    Attributes:
        collaborative: Item vectors of stage 1, E_c, of unit length, [B, T, d].
        others: Item vectors of unit length learned from other users than the sequence's own, one of each kind,
            [B, T, 2, d].
        semantic: Text embeddings in the model's components (`IADSR.reduce_semantic`), [B, T, k].
        mask: bool [B, T], real positions; padding comes last.
        has_collaborative: bool [B, T].
        has_others: bool [B, T, 2].
        has_semantic: bool [B, T].
        history: Whole histories, where a sequence is a window of a longer one; None where all are whole.
        readings: What the model makes of each item by itself, by name, each [B, T, ...]; the model computes what is not
            there, see `IADSR.reading`.
    """

    collaborative: Tensor
    others: Tensor
    semantic: Tensor
    mask: Tensor
    has_collaborative: Tensor
    has_others: Tensor
    has_semantic: Tensor
    history: "History | None" = None
    readings: dict[str, Tensor] = field(default_factory=dict)

    def hide(self, collaborative: Tensor, semantic: Tensor) -> "Batch":
        """Returns the batch without the collaborative vectors of some positions, and the texts of some, bool [B, T]."""
        has_collaborative = self.has_collaborative & ~collaborative
        has_others = self.has_others & ~collaborative[..., None]
        has_semantic = self.has_semantic & ~semantic
        return replace(
            self,
            collaborative=self.collaborative * has_collaborative[..., None],
            others=self.others * has_others[..., None],
            semantic=self.semantic * has_semantic[..., None],
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
        return length[:, None].expand_as(self.mask).to(self.collaborative)


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
