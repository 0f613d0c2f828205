"""Vectors of items: the form that a model reads, and the packed form in which they are stored and sent.

Neither needs torch, so that processes which only join vectors start fast.
"""

from dataclasses import dataclass

import numpy as np

LIFE_BINS = 16
"""Points in time at which an item's life is measured, see `vectors/lives.py`."""


def packed_width(dimension: int, folds: int) -> int:
    """Returns the length of a row of `PackedItemVectors` of vectors of length `dimension`."""
    return (1 + 2 * folds) * dimension + folds * LIFE_BINS


@dataclass(frozen=True)
class ItemVectors:
    """Vectors of V items, by what they were learned from. Arrays may be memory-mapped, or views of packed rows.

    Users are dealt into folds. The vectors of a fold were learned from the users of all other folds.
    """

    collaborative: np.ndarray
    """E_c: learned by next-item prediction from all users, float32 [V, d]. A row means nothing where
    `has_collaborative` is false."""
    co_occurrence: np.ndarray
    """By fold, which items users have together with this one, float [V, folds, d]. With the paper's head there are
    no folds. A row means nothing where `has_collaborative` is false, and is zero where the fold does not know the
    item."""
    company: np.ndarray
    """By fold, the mean text of the items that users have together with this one, float [V, folds, d]. Otherwise as
    `co_occurrence`."""
    lives: np.ndarray
    """By fold, when the item was chosen, float32 [V, folds, LIFE_BINS]; see `vectors/lives.py`."""
    semantic: np.ndarray
    """Text embeddings, float32 or float16 [V, D]. A row means nothing where `has_semantic` is false."""
    has_collaborative: np.ndarray
    """bool [V]."""
    has_semantic: np.ndarray
    """bool [V]."""

    def pack(self) -> "PackedItemVectors":
        """Returns the same vectors as packed rows, which are a copy."""
        items, folds, dimension = self.co_occurrence.shape
        rows = np.empty((items, packed_width(dimension, folds)), np.float32)
        packed = PackedItemVectors(rows, self.semantic, self.has_collaborative, self.has_semantic)
        views = packed.unpack(dimension)  # so that the layout of a row is said only once
        views.collaborative[:] = self.collaborative
        views.co_occurrence[:] = self.co_occurrence
        views.company[:] = self.company
        views.lives[:] = self.lives
        return packed


@dataclass(frozen=True)
class PackedItemVectors:
    """Vectors of V items with all that was learned from interactions in one row per item.

    A row holds E_c, and then by fold `co_occurrence` and `company`, each of d numbers, and at last by fold `lives`:
    E_c | co_occurrence 0 | company 0 | co_occurrence 1 | company 1 | ... | lives 0 | lives 1 | ... This is the row of
    the collaborative embedding table in a model directory, and what is joined, memory-mapped and sent between workers.
    """

    collaborative: np.ndarray
    """Packed rows, float32 [V, packed_width]. A row means nothing where `has_collaborative` is false."""
    semantic: np.ndarray
    """As in `ItemVectors`."""
    has_collaborative: np.ndarray
    """bool [V]."""
    has_semantic: np.ndarray
    """bool [V]."""

    def unpack(self, dimension: int) -> ItemVectors:
        """Returns the vectors by what they were learned from, as views of the packed rows.

        Args:
            dimension: d, the model's `IADSRConfig.collaborative_dimension`.

        Raises:
            ValueError: The rows are of another width.
        """
        items, width = self.collaborative.shape
        folds, rest = divmod(width - dimension, packed_width(dimension, 1) - dimension)
        if width < dimension or rest:
            raise ValueError(
                f"packed rows: expected {dimension} numbers and {packed_width(dimension, 1) - dimension} for each fold,"
                f" found {width} numbers"
            )
        end = (1 + 2 * folds) * dimension
        by_fold = self.collaborative[:, dimension:end].reshape(items, folds, 2, dimension)
        return ItemVectors(
            self.collaborative[:, :dimension],
            by_fold[:, :, 0],
            by_fold[:, :, 1],
            self.collaborative[:, end:].reshape(items, folds, LIFE_BINS),
            self.semantic,
            self.has_collaborative,
            self.has_semantic,
        )
