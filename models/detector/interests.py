"""What the two modalities say a user wants, short-term and long-term (paper section 4.1)."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .agreement import leave_one_out_max, leave_one_out_mean


@dataclass(frozen=True)
class Interests:
    """The short-term interests of both modalities. Long-term interests are computed from them when asked for."""

    collaborative: Tensor
    """c_t, short-term, [B, T, h]."""
    semantic: Tensor
    """s_t, short-term, of unit length, [B, T, h]; 0 without text."""
    texts: Tensor
    """W_2 of each item's text, [B, T, h]; 0 without text."""
    mask: Tensor
    """bool [B, T], real positions."""
    has_semantic: Tensor
    """bool [B, T]."""
    leaves_item_out: bool
    """Whether the long-term interests at t leave out the item at t."""

    @cached_property
    def user_collaborative(self) -> Tensor:
        """C, the maximum over positions, [B, h]. The paper takes Caser's own sequence vector instead."""
        return self.collaborative.masked_fill(~self.mask[..., None], -torch.inf).amax(1)

    @cached_property
    def user_semantic(self) -> Tensor:
        """S, W_2 of the mean text, whatever the order, [B, h]."""
        return self.texts.sum(1) / self.has_semantic.sum(1, keepdim=True).clamp(min=1)

    @cached_property
    def long_collaborative(self) -> Tensor:
        """C: for each position, [B, T, h], or one for all, [B, 1, h].

        Interests after t are part of it, though they have read the item at t.
        """
        if self.leaves_item_out:
            return leave_one_out_max(self.collaborative, self.mask)
        return self.user_collaborative[:, None]

    @cached_property
    def long_semantic(self) -> Tensor:
        """S: for each position, [B, T, h], or one for all, [B, 1, h]."""
        if self.leaves_item_out:
            return leave_one_out_mean(self.texts, self.has_semantic)
        return self.user_semantic[:, None]
