"""What a model computes of an item alone: once for each item, instead of once for each position that holds it.

Each part of the detector has a dataclass of its own. All arrays are tables: one row per item or per pair of an item and
a fold of users, and a last row of zeros, which padding points at.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class InterestProjections:
    """What interests need of an item. V items, h hidden."""

    backbone: Tensor
    """What the item feeds into the backbone (`Backbone.read_item`), [V + 1, e]."""
    short_semantic: Tensor
    """W_1 of its text, of unit length, [V + 1, h]."""
    long_semantic: Tensor
    """W_2 of its text, [V + 1, h]."""


@dataclass(frozen=True)
class TextProjections:
    """What the agreement features need of an item's text. k text components, c context dimensions."""

    unit: Tensor
    """The text components, of unit length, [V + 1, k]."""
    chance: Tensor
    """Mean and deviation of the similarity of texts that chance gives the item, [V + 1, 2]."""
    context: Tensor
    """What the text adds to the item's context vector, [V + 1, c]. `FoldProjections.context_item` is computed from
    it."""


@dataclass(frozen=True)
class FoldProjections:
    """What the agreement features need of an item in one fold of users. P pairs of an item and a fold."""

    co_occurrence_chance: Tensor
    """Mean and deviation of the similarity that chance gives the item, compared by `co_occurrence`, [P + 1, 2]."""
    company_chance: Tensor
    """Likewise, compared by `company`, [P + 1, 2]."""
    context_item: Tensor
    """The item's context vector, of unit length, [P + 1, c]."""
    context_gates: Tensor
    """What the item keeps of a context state and what it adds to it, [P + 1, 2, 2c]."""
