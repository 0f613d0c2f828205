"""Item vectors learned from which items users have together, out of fold: without the user they are used for.

An item that strayed into a user's sequence co-occurs with the rest of it because it is there. Vectors learned from the
whole log have seen that: for an item that ten users have, it is a tenth of all they know. So users are dealt into
folds, and a user is judged by the vectors learned from the users of all other folds. Any agreement that is left comes
from other users. Noise that training inserts is then as new to the vectors as noise that was there before.
"""

import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import scipy.linalg
import scipy.sparse

from ..core.in_order import in_order
from ..core.sequences import Sequences
from ..core.windows import Windows, cut_windows

MAX_TOGETHER = 100
"""Most interactions that count as together. Longer sequences are cut into windows."""

_OVERSAMPLED, _PASSES = 16, 2
_WINDOWS_AT_ONCE, _ROWS_AT_ONCE, _COLUMNS_AT_ONCE = 1 << 16, 1 << 13, 32

_PAIRS_AT_ONCE = 1 << 21
"""About so many pairs of items are counted together, or have their information computed together."""

_MIN_SQUARE = 1e-10
"""A direction in which the sum of squares is below this share of the largest one is taken for a rounding error."""


def fit_co_occurrence(
    sequences: Sequences, items: int, *, folds: int, dimension: int, seed: int, workers: int = 1
) -> "StoredVectors":
    """Learns which items occur with an item, as unit vectors around the mean interaction of the users learned from.

    They are the leading singular vectors of the items' positive pointwise mutual information (Levy and Goldberg, 2014).

    Args:
        sequences: The log; a user's fold is `sequences.folds(folds)`.
        items: V, number of items.
        folds: Number of folds, 2 or more.
        dimension: d. With fewer items than that, the last components are zero.
        seed: Seed of the randomised singular value decomposition.
        workers: Threads, each of which works on a fold and holds a matrix of its own.

    Returns:
        By fold of users, each [V, d]; zeros where unknown. Those of a fold were learned from all users of other folds.
    """
    windows, fold = cut_windows(sequences, MAX_TOGETHER), sequences.folds(folds)
    fold_of_window = fold[windows.users]
    counts_of_fold = _count_items(sequences, fold, folds, items)

    def learn(own: int) -> np.ndarray:
        together = _count(sequences, windows.select(fold_of_window != own), items)
        return _centre(_factorise(together, dimension, seed), counts_of_others(own))

    def counts_of_others(own: int) -> np.ndarray:
        return counts_of_fold.sum(0) - counts_of_fold[own]

    stored = StoredVectors((folds, items, dimension))
    for own, vectors in enumerate(in_order(learn, range(folds), workers)):
        if own:
            # Singular vectors are unique up to rotation at best. Rotated alike, all folds have the same moments.
            _transform(vectors, _rotation(vectors, stored[0], counts_of_others(own)))
        stored.append(vectors)
    return stored


class StoredVectors:
    """Vectors by fold, which wait in a temporary file, in half precision. One fold is read at a time.

    Attributes:
        shape: Folds, items V, and length d.
    """

    def __init__(self, shape: tuple[int, int, int]):
        self.shape = shape
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when this is no longer needed

    def __len__(self) -> int:
        """Returns the number of folds."""
        return self.shape[0]

    def append(self, vectors: np.ndarray) -> None:
        """Stores the vectors of the next fold, [V, d]."""
        self._file.seek(0, os.SEEK_END)
        for rows in _blocks(len(vectors)):
            self._file.write(np.ascontiguousarray(vectors[rows], np.float16).data)

    def __getitem__(self, fold: int) -> np.ndarray:
        """Reads the vectors of a fold, float16 [V, d].

        Raises:
            IndexError: There is no such fold.
        """
        if not 0 <= fold < len(self):
            raise IndexError(fold)
        _, items, dimension = self.shape
        self._file.seek(fold * items * dimension * np.dtype(np.float16).itemsize)
        return np.fromfile(self._file, np.float16, items * dimension).reshape(items, dimension)


def fit_company(sequences: Sequences, texts: np.ndarray, has_text: np.ndarray, *, folds: int) -> np.ndarray:
    """Learns the mean text of the items that an item occurs with, as unit vectors around the mean interaction.

    It can be computed from a single meeting of two items, and so helps cold items most.

    Args:
        sequences: The log; a user's fold is `sequences.folds(folds)`.
        texts: Text vectors of the items, float [V, k].
        has_text: bool [V].
        folds: Number of folds, 2 or more.

    Returns:
        By fold of users, float32 [folds, V, k]; zeros where unknown. Those of a fold were learned from all users of
        other folds.
    """
    items = len(texts)
    unit_texts = _normalised(np.where(has_text[:, None], texts, 0).astype(np.float32))
    windows, fold = cut_windows(sequences, MAX_TOGETHER), sequences.folds(folds)
    fold_of_window = fold[windows.users]
    company = np.zeros((folds, *unit_texts.shape), np.float32)
    met = np.zeros((folds, items))  # other items with a text, over all windows of an item
    for own in range(folds):
        for members in memberships(sequences, windows.select(fold_of_window == own), items):
            number = members @ has_text.astype(np.float32)  # [W]
            met[own] += members.T @ number - members.sum(axis=0) * has_text
            share = 1 / np.maximum(members.sum(axis=1) - 1, 1)  # [W]
            mean = (members @ unit_texts) * share[:, None]  # [W, k]
            company[own] += members.T @ mean - unit_texts * (members.T @ share)[:, None]
    total, all_met, counts = company.sum(0), met.sum(0), _count_items(sequences, fold, folds, items)
    for own in range(folds):
        np.subtract(total, company[own], out=company[own])
        # If no company of an item has a text, sums that should cancel leave rounding errors. They are no vector.
        company[own][all_met - met[own] == 0] = 0
        _centre(company[own], counts.sum(0) - counts[own])
    return company


def _count_items(sequences: Sequences, fold: np.ndarray, folds: int, items: int) -> np.ndarray:
    """Counts the interactions of each item by fold of users, int64 [folds, items]."""
    of_interaction = np.repeat(fold.astype(np.int8), sequences.lengths)
    return np.stack([np.bincount(sequences.items[of_interaction == own], minlength=items) for own in range(folds)])


def _count(sequences: Sequences, windows: Windows, items: int) -> scipy.sparse.csr_array:
    """Counts the windows in which two items occur together, float32 [V, V]. Of two items, only the pair (i, j > i).

    Items are counted one after the other, so that nothing has to be added up: some rows of the matrix at a time.
    """
    parts = list(memberships(sequences, windows, items))
    members = scipy.sparse.vstack(parts, format="csr") if parts else scipy.sparse.csr_array((0, items), dtype="f4")
    del parts
    of_item = members.T.tocsr()
    bound = np.cumsum(
        of_item @ members.sum(axis=1), dtype=np.float64
    )  # pairs with the items up to each, repetitions included
    indices, counts, lengths, first = [], [], np.zeros(items, np.int64), 0
    while first < items:
        before = bound[first - 1] if first else 0
        last = max(int(np.searchsorted(bound, before + _PAIRS_AT_ONCE, side="right")), first + 1)
        part = (of_item[first:last] @ members).tocsr()
        row = np.repeat(np.arange(first, last, dtype=np.int32), np.diff(part.indptr))
        upper = part.indices > row
        indices.append(part.indices[upper].astype(np.int32))
        counts.append(part.data[upper])
        lengths[first:last] = np.bincount(row[upper] - first, minlength=last - first)
        first = last
    starts = np.concatenate([[0], np.cumsum(lengths)])
    nothing = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
    joined = np.concatenate(indices or nothing[0])
    indices.clear()
    return scipy.sparse.csr_array((np.concatenate(counts or nothing[1]), joined, starts), shape=(items, items))


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


def _factorise(together: scipy.sparse.csr_array, dimension: int, seed: int) -> np.ndarray:
    """Returns item vectors from what `_count` returned: singular vectors of the PPMI, scaled by root strength.

    The counts are replaced by the PPMI.
    """
    _make_positive_information(together)
    items = len(together.indptr) - 1
    count = min(dimension, items)
    vectors = np.random.default_rng(seed).standard_normal((items, min(count + _OVERSAMPLED, items)), np.float32)
    for _ in range(2 * _PASSES + 1):
        _multiply(together, vectors)
        _transform(vectors, _to_orthonormal(vectors))
    # The matrix is symmetric. So what it makes of an orthonormal basis has nearly its singular values and vectors.
    _multiply(together, vectors)
    squares, directions = np.linalg.eigh(_gram(vectors))  # ascending
    directions = directions * np.maximum(squares, _MIN_SQUARE * max(squares[-1], 1e-9)) ** -0.25
    known = (np.diff(together.indptr) > 0) | (np.bincount(together.indices, minlength=items) > 0)
    factors = np.zeros((items, dimension), np.float32)
    for rows in _blocks(items):
        # With few items, some directions have no strength and are arbitrary. They reach items that nothing is known of.
        factors[rows, :count] = (vectors[rows] @ directions[:, ::-1][:, :count].astype(np.float32)) * known[rows, None]
    return factors


def _make_positive_information(together: scipy.sparse.csr_array) -> None:
    """Replaces counts by the positive pointwise mutual information of two items, some rows at a time."""
    starts, items = together.indptr, len(together.indptr) - 1
    cuts = np.unique(np.append(np.searchsorted(starts, np.arange(0, starts[-1], _PAIRS_AT_ONCE)), [0, items]))
    parts = [(slice(starts[first], starts[last]), first, last) for first, last in pairwise(cuts)]
    total = np.zeros(items)
    for part, first, last in parts:
        row = np.repeat(np.arange(first, last), np.diff(starts[first : last + 1]))
        for side in (row, together.indices[part]):
            total += np.bincount(side, weights=together.data[part], minlength=items)
    for part, first, last in parts:
        row = np.repeat(np.arange(first, last), np.diff(starts[first : last + 1]))
        information = together.data[part].astype(np.float64)
        information *= total.sum() / total[row]
        information /= total[together.indices[part]]
        together.data[part] = np.maximum(np.log(information, out=information), 0, out=information)
    together.eliminate_zeros()


def _multiply(upper: scipy.sparse.csr_array, vectors: np.ndarray) -> None:
    """Multiplies a symmetric matrix, given by what is above its diagonal, [V, V], with vectors [V, n], in place.

    A few columns at a time: both halves of the matrix make a product of their own.
    """
    lower = upper.T
    for first in range(0, vectors.shape[1], _COLUMNS_AT_ONCE):
        columns = slice(first, first + _COLUMNS_AT_ONCE)
        some = vectors[:, columns].copy()
        vectors[:, columns] = upper @ some
        vectors[:, columns] += lower @ some


def _gram(vectors: np.ndarray) -> np.ndarray:
    """Returns the dot products of the columns of vectors [V, n], float64 [n, n]."""
    parts = (vectors[rows].astype(np.float64) for rows in _blocks(len(vectors)))
    return sum((part.T @ part for part in parts), start=np.zeros((vectors.shape[1],) * 2))


def _to_orthonormal(vectors: np.ndarray) -> np.ndarray:
    """Returns what makes the columns of vectors [V, n] orthonormal, [n, n]; zero where they depend on one another."""
    squares, directions = np.linalg.eigh(_gram(vectors))
    real = squares > _MIN_SQUARE * squares[-1] if squares[-1] > 0 else np.zeros(len(squares), bool)
    return directions * np.divide(1, np.sqrt(squares, where=real, out=np.ones_like(squares))) * real


def _transform(vectors: np.ndarray, by: np.ndarray) -> None:
    """Multiplies vectors [V, n] by a matrix [n, n], in place."""
    for rows in _blocks(len(vectors)):
        vectors[rows] = vectors[rows] @ by.astype(np.float32)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(first, first + _ROWS_AT_ONCE) for first in range(0, count, _ROWS_AT_ONCE))


def _centre(vectors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Makes vectors of items unit vectors around the mean over interactions, in place, and returns them.

    Items without a vector stay zero.
    """
    known = np.any(vectors, axis=1)
    weights = (counts * known).astype(np.float32)
    mean = weights @ _normalised(vectors) / max(weights.sum(), 1)
    for rows in _blocks(len(vectors)):
        vectors[rows] -= mean * known[rows, None]
    return _normalised(vectors)


def _rotation(vectors: np.ndarray, reference: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the rotation that brings vectors [V, n] as near to a reference as one can (orthogonal Procrustes)."""
    product = np.zeros((vectors.shape[1],) * 2)
    for rows in _blocks(len(vectors)):
        product += (vectors[rows] * counts[rows, None].astype(np.float32)).T @ reference[rows].astype(np.float32)
    left, _, right = scipy.linalg.svd(product)
    return left @ right


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors [V, n] to unit length, in place, and returns them; zeros stay zero."""
    for rows in _blocks(len(vectors)):
        vectors[rows] = unit_vectors(vectors[rows])
    return vectors


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors [..., n] to unit length; zeros stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
