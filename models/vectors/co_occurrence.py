"""Item vectors learned from which items users have together, out of fold: without the user they are used for.

An item that strayed into a user's sequence co-occurs with the rest of it because it is there. Vectors learned from the
whole log have seen that: for an item that ten users have, it is a tenth of all they know. So users are dealt into
folds, and a user is judged by the vectors learned from the users of all other folds. Any agreement that is left comes
from other users. Noise that training inserts is then as new to the vectors as noise that was there before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse

from ..core.sequences import Sequences
from ..core.windows import Windows, cut_windows

MAX_TOGETHER = 100
"""Most interactions that count as together. Longer sequences are cut into windows."""

_OVERSAMPLED, _PASSES = 16, 4
_WINDOWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class OutOfFoldVectors:
    """Vectors of V items by fold of users. Those of a fold were learned from all users of other folds."""

    co_occurrence: np.ndarray
    """Which items an item occurs with, float32 [folds, V, d]; zeros where unknown."""
    company: np.ndarray
    """The mean text of the items that an item occurs with, float32 [folds, V, k]; zeros where unknown."""


def fit_out_of_fold_vectors(
    sequences: Sequences, texts: np.ndarray, has_text: np.ndarray, *, folds: int, dimension: int, seed: int
) -> OutOfFoldVectors:
    """Learns both kinds of vectors, as unit vectors around the mean interaction of the users learned from.

    `co_occurrence` are the leading singular vectors of the items' positive pointwise mutual information (Levy and
    Goldberg, 2014). `company` can be computed from a single meeting of two items, and so helps cold items most.

    Args:
        sequences: The log; a user's fold is `sequences.folds(folds)`.
        texts: Text vectors of the items, float [V, k].
        has_text: bool [V].
        folds: Number of folds, 2 or more.
        dimension: d. With fewer items than that, the last components are zero.
        seed: Seed of the randomised singular value decomposition.
    """
    items = len(texts)
    unit_texts = unit_vectors(np.where(has_text[:, None], texts, 0).astype(np.float32))
    windows = cut_windows(sequences, MAX_TOGETHER)
    fold_of_user = sequences.folds(folds)
    fold, fold_of_interaction = fold_of_user[windows.users], fold_of_user[sequences.users]
    together = [_count_together(sequences, windows.select(fold == own), items) for own in range(folds)]
    of_own = [_mean_company(sequences, windows.select(fold == own), unit_texts) for own in range(folds)]
    all_together, all_company = _sum(together), sum(of_own)

    reference = None
    co_occurrence = np.empty((folds, items, dimension), np.float32)
    company = np.empty((folds, *unit_texts.shape), np.float32)
    for own in range(folds):
        counts = np.bincount(sequences.items[fold_of_interaction != own], minlength=items)
        of_others = all_together - together[own]
        vectors = _centre(_factorise(of_others, dimension, seed), counts)
        # Singular vectors are unique up to rotation at best. Rotated alike, all folds have the same moments.
        reference = vectors if reference is None else reference
        co_occurrence[own] = _rotate(vectors, reference, counts)
        # If no company of an item has a text, sums that should cancel leave rounding errors. They are no vector.
        has_company = of_others @ has_text.astype(np.float32) > of_others.diagonal() * has_text
        company[own] = _centre((all_company - of_own[own]) * has_company[:, None], counts)
    return OutOfFoldVectors(co_occurrence, company)


def _count_together(sequences: Sequences, windows: Windows, items: int) -> scipy.sparse.csr_array:
    """Counts the windows in which two items occur together, [V, V]."""
    counted = scipy.sparse.csr_array((items, items), dtype=np.float32)
    for members in memberships(sequences, windows, items):
        counted = counted + members.T @ members
    return counted


def _mean_company(sequences: Sequences, windows: Windows, unit_texts: np.ndarray) -> np.ndarray:
    """Adds up, over the windows that hold an item, the mean text of the rest of the window, [V, k]."""
    total = np.zeros(unit_texts.shape, np.float32)
    for members in memberships(sequences, windows, len(unit_texts)):
        share = 1 / np.maximum(members.sum(axis=1) - 1, 1)  # [W]
        texts = (members @ unit_texts) * share[:, None]  # [W, k]
        total += members.T @ texts - unit_texts * (members.T @ share)[:, None]
    return total


def memberships(sequences: Sequences, windows: Windows, items: int) -> Iterator[scipy.sparse.csr_array]:
    """Yields which items occur in which windows, 0 or 1, float32 [W, V], some windows at a time."""
    for start in range(0, len(windows), _WINDOWS_AT_ONCE):
        part = windows.select(slice(start, start + _WINDOWS_AT_ONCE))
        window = np.repeat(np.arange(len(part)), part.lengths)
        first = np.repeat(part.starts - (np.cumsum(part.lengths) - part.lengths), part.lengths)
        item = sequences.items[np.arange(len(window)) + first]
        members = scipy.sparse.csr_array((np.ones(len(item), np.float32), (window, item)), shape=(len(part), items))
        members.sum_duplicates()
        members.data[:] = 1
        yield members


def _sum(matrices: list[scipy.sparse.csr_array]) -> scipy.sparse.csr_array:
    total = matrices[0]
    for matrix in matrices[1:]:
        total = total + matrix
    return total


def _factorise(together: scipy.sparse.csr_array, dimension: int, seed: int) -> np.ndarray:
    """Returns item vectors from co-occurrence counts [V, V]: singular vectors of the PPMI, scaled by root strength."""
    pairs = scipy.sparse.coo_array(together)
    real = (pairs.row != pairs.col) & (pairs.data > 0)
    row, column, count = pairs.row[real], pairs.col[real], pairs.data[real]
    items = len(together.indptr) - 1
    total = np.bincount(row, weights=count, minlength=items)
    information = np.log(count * total.sum() / (total[row] * total[column]))
    positive = information > 0
    ppmi = scipy.sparse.csr_array(
        (information[positive].astype(np.float32), (row[positive], column[positive])), shape=(items, items)
    )
    left, strength = _leading_singular_vectors(ppmi, min(dimension, items), seed)
    vectors = np.zeros((items, dimension), np.float32)
    vectors[:, : left.shape[1]] = left * np.sqrt(strength)
    # With few items, some directions have no strength and are arbitrary. They reach items of which nothing is known.
    return vectors * (np.bincount(row[positive], minlength=items) > 0)[:, None]


def _leading_singular_vectors(matrix: scipy.sparse.csr_array, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the leading singular vectors [V, n] and values [n] of a symmetric matrix (Halko et al., 2011).

    They are its eigenvectors, and the absolute values of its eigenvalues.
    """
    items = len(matrix.indptr) - 1
    size = min(count + _OVERSAMPLED, items)
    start = np.random.default_rng(seed).standard_normal((items, size)).astype(np.float32)
    basis, _ = np.linalg.qr(matrix @ start)
    for _ in range(_PASSES):
        basis, _ = np.linalg.qr(matrix @ (matrix @ basis))
    values, vectors = np.linalg.eigh(basis.T @ (matrix @ basis))
    strongest = np.argsort(-np.abs(values), kind="stable")[:count]
    return basis @ vectors[:, strongest], np.abs(values[strongest])


def _centre(vectors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns unit vectors of items around the mean over interactions. Items without a vector stay zero."""
    known = np.any(vectors, axis=1)
    unit = unit_vectors(vectors)
    weights = (counts * known).astype(np.float32)
    mean = weights @ unit / max(weights.sum(), 1)
    return (unit_vectors(unit - mean) * known[:, None]).astype(np.float32)


def _rotate(vectors: np.ndarray, reference: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rotates vectors as near to a reference as a rotation can bring them (orthogonal Procrustes)."""
    rotation, _ = scipy.linalg.orthogonal_procrustes(vectors * counts[:, None].astype(np.float32), reference)
    return vectors @ rotation


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors [..., n] to unit length; zeros stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
