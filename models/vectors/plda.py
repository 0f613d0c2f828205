"""The directions of item vectors in which the items of one user agree.

Vectors vary in many ways that say nothing of taste. The model: an item's vector is the sum of what its user likes and
of what is the item's own, both Gaussian. The directions in which the two are independent are found (probabilistic
linear discriminant analysis; Ioffe, ECCV 2006). When an item is compared with the mean of n items of its user, a
direction deserves a weight of a / (1 + (n - 1) a), where a is its agreement: the share of its variance that is the
user's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from ..core.sequences import Sequences
from ..core.windows import Windows, cut_windows
from .co_occurrence import MAX_TOGETHER, StoredVectors, memberships, unit_vectors

_SHRINKAGE = 0.02
"""How far the covariance is drawn towards one that is equal in all directions. Otherwise rare directions would count
too much."""

_MIN_AGREEMENT = 1e-6
"""The agreement of a direction counts as this at least. An estimate may be below 0; if all are, all weigh the same."""

_HISTORY = 0.5
"""n, as a share of the median length of a sequence. It is below 1 because items near in time, and the most similar
ones, count for more."""

_ROWS_AT_ONCE = 1 << 13
"""Rows of vectors that are multiplied together, so that no copy of all of them is made."""

_ROUNDING = 1e-5
"""Texts that differ from the mean by less than this share of its length differ by rounding errors only."""

_TEXT_SIZE = 0.2
"""Root mean square of the text components over interactions: a size that suits layers with weights of about 1."""


@dataclass(frozen=True)
class _Moments:
    """Sums of products of vectors."""

    together: np.ndarray
    """Of two interactions of a window, [n, n]. The pairs of an interaction are weighted to count as one."""
    paired: float
    """Interactions in `together`."""
    alone: np.ndarray
    """Of each interaction with itself, [n, n]."""
    interactions: float
    """Interactions in `alone`."""

    def __add__(self, other: "_Moments") -> "_Moments":
        return _Moments(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def fit_text_components(
    sequences: Sequences, semantic: np.ndarray, has_semantic: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the components of text embeddings that agree most within users, and weighs them by how much they do.

    Args:
        sequences: The log with the inserted noise, which must be as familiar as the log's own.
        semantic: Text embeddings of the items, float [V, D].
        has_semantic: bool [V]; a row of `semantic` means nothing where it is false.
        count: k, how many components; at most D.

    Returns:
        The mean embedding of an interaction, float32 [D], and the basis, float32 [D, k]. Components are
        `(embedding - mean) @ basis`, those of the largest weight first. The basis is zero if no texts differ.
    """
    counts = np.bincount(sequences.items, minlength=len(semantic)) * has_semantic
    texts = np.zeros(semantic.shape, np.float32)
    np.copyto(texts, semantic, where=has_semantic[:, None], casting="same_kind")
    sums = (counts[rows] @ texts[rows].astype(np.float64) for rows in _blocks(len(texts)))
    mean = sum(sums, start=np.zeros(semantic.shape[1])) / max(counts.sum(), 1)
    for rows in _blocks(len(texts)):
        part = (texts[rows] - mean) * has_semantic[rows, None]
        part[np.linalg.norm(part, axis=1) < _ROUNDING * np.linalg.norm(mean)] = 0
        texts[rows] = part
    moments = _measure(sequences, cut_windows(sequences, MAX_TOGETHER), texts)
    basis = _weigh(moments, count, _history(sequences))
    square = np.trace(basis.T @ moments.alone @ basis) / max(moments.interactions, 1) / count
    return mean.astype(np.float32), (basis * (_TEXT_SIZE / np.sqrt(square) if square > 0 else 0)).astype(np.float32)


def agreeing_vectors(vectors: np.ndarray | StoredVectors, sequences: Sequences, count: int) -> np.ndarray:
    """Reduces out-of-fold vectors to the components that agree most within users.

    Agreement in the sequences of users that the vectors have not seen is more than chance. The other components are
    mostly noise.

    Args:
        vectors: float [folds, V, n], by fold of users, all rotated alike; zeros where unknown.
        sequences: The log with the inserted noise.
        count: How many components; at most n.

    Returns:
        Unit vectors float16 [folds, V, count]; zeros where unknown.
    """
    windows = cut_windows(sequences, MAX_TOGETHER)
    fold = sequences.folds(len(vectors))[windows.users]
    moments = [
        _measure(sequences, windows.select(fold == own), vectors[own].astype(np.float32, copy=False))
        for own in range(len(vectors))
    ]
    basis = _weigh(sum(moments[1:], start=moments[0]), count, _history(sequences)).astype(np.float32)
    agreeing = np.empty((*vectors.shape[:2], count), np.float16)
    for own in range(len(vectors)):
        of_own = vectors[own]
        for rows in _blocks(len(of_own)):
            agreeing[own, rows] = unit_vectors(of_own[rows].astype(np.float32, copy=False) @ basis)
    return agreeing


def _history(sequences: Sequences) -> float:
    lengths = sequences.lengths[sequences.lengths > 1]
    return max(_HISTORY * float(np.median(lengths)), 1.0) if len(lengths) else 1.0


def _measure(sequences: Sequences, windows: Windows, vectors: np.ndarray) -> _Moments:
    """Adds up products of vectors [V, n] over windows. Items whose vector is zero are left out."""
    present = np.any(vectors, axis=1)
    empty = np.zeros((vectors.shape[1],) * 2)
    moments = _Moments(empty, 0.0, empty, 0.0)
    for members in memberships(sequences, windows, len(vectors)):
        members = members.multiply(present[None]).tocsr()
        size = members.sum(axis=1)  # [W]
        weight = (1 / np.maximum(size - 1, 1)).astype(np.float32)
        sums = members @ vectors  # [W, n]
        moments += _Moments(
            _gram(sums, weight) - _gram(vectors, members.T @ weight),
            float(size[size > 1].sum()),
            _gram(vectors, members.sum(axis=0)),
            float(size.sum()),
        )
    return moments


def _gram(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the sum over rows [V, n] of each row's products with itself, weighted, some rows at a time, [n, n]."""
    parts = ((vectors[rows] * weights[rows, None]).T @ vectors[rows] for rows in _blocks(len(vectors)))
    return sum(parts, start=np.zeros((vectors.shape[1],) * 2))


def _blocks(count: int) -> Iterator[slice]:
    return (slice(first, first + _ROWS_AT_ONCE) for first in range(0, count, _ROWS_AT_ONCE))


def _weigh(moments: _Moments, count: int, history: float) -> np.ndarray:
    """Returns the basis of the components that agree most, [n, count], scaled by the roots of their weights."""
    width = len(moments.alone)
    covariance = moments.alone / max(moments.interactions, 1)
    variance = np.trace(covariance) / width
    if variance <= 0:
        return np.zeros((width, count))
    regular = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variance * np.eye(width)
    agreement, directions = scipy.linalg.eigh(moments.together / max(moments.paired, 1), regular)  # ascending
    agreement = np.clip(agreement[::-1][:count], _MIN_AGREEMENT, 1)
    return directions[:, ::-1][:, :count] * np.sqrt(agreement / (1 + (history - 1) * agreement))
