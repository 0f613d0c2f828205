"""Item vectors learned from which items users have together, out of fold: without the user they are used for.

An item that strayed into a user's sequence co-occurs with the rest of it because it is there. Vectors learned from the
whole log have seen that: for an item that ten users have, it is a tenth of all they know. So users are dealt into
folds, and a user is judged by the vectors learned from the users of all other folds. Any agreement that is left comes
from other users. Noise that training inserts is then as new to the vectors as noise that was there before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.linalg
import scipy.sparse
from sklearn.utils.extmath import randomized_svd

from ..core.in_order import in_order
from ..core.sequences import Sequences
from ..core.windows import Windows, cut_windows

MAX_TOGETHER = 100
"""Most interactions that count as together. Longer sequences are cut into windows."""

_OVERSAMPLED, _PASSES = 16, 2
_WINDOWS_AT_ONCE, _ROWS_AT_ONCE = 1 << 16, 1 << 12


@dataclass(frozen=True)
class OutOfFoldVectors:
    """Vectors of V items by fold of users. Those of a fold were learned from all users of other folds."""

    co_occurrence: np.ndarray
    """Which items an item occurs with, float16 [folds, V, d]; zeros where unknown."""
    company: np.ndarray
    """The mean text of the items that an item occurs with, float32 [folds, V, k]; zeros where unknown."""


def fit_out_of_fold_vectors(
    sequences: Sequences,
    texts: np.ndarray,
    has_text: np.ndarray,
    *,
    folds: int,
    dimension: int,
    seed: int,
    workers: int = 1,
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
        workers: Threads, each of which works on a fold and holds a matrix of its own.
    """
    items = len(texts)
    unit_texts = unit_vectors(np.where(has_text[:, None], texts, 0).astype(np.float32))
    windows = cut_windows(sequences, MAX_TOGETHER)
    fold_of_user = sequences.folds(folds)
    fold, fold_of_interaction = fold_of_user[windows.users], fold_of_user[sequences.users]
    all_together, all_company = _count(sequences, windows, unit_texts)

    def learn(own: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Each fold is counted a second time, so that no more than two matrices are needed at once.
        together, of_own = _count(sequences, windows.select(fold == own), unit_texts)
        of_others = all_together - together
        del together
        counts = np.bincount(sequences.items[fold_of_interaction != own], minlength=items)
        # If no company of an item has a text, sums that should cancel leave rounding errors. They are no vector.
        has_company = of_others @ has_text.astype(np.float32) > of_others.diagonal() * has_text
        company = _centre((all_company - of_own) * has_company[:, None], counts)
        return counts, _centre(_factorise(of_others, dimension, seed), counts), company

    reference = None
    co_occurrence = np.empty((folds, items, dimension), np.float16)
    company = np.empty((folds, *unit_texts.shape), np.float32)
    for own, (counts, vectors, of_fold) in enumerate(in_order(learn, range(folds), workers)):
        # Singular vectors are unique up to rotation at best. Rotated alike, all folds have the same moments.
        reference = vectors if reference is None else reference
        co_occurrence[own] = _rotate(vectors, reference, counts)
        company[own] = of_fold
    return OutOfFoldVectors(co_occurrence, company)


def _count(sequences: Sequences, windows: Windows, unit_texts: np.ndarray) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """Counts the windows in which two items occur together, [V, V], and adds up company.

    Company is the sum, over the windows that hold an item, of the mean text of the rest of the window, [V, k].
    """
    items = len(unit_texts)
    together = scipy.sparse.csr_array((items, items), dtype=np.float32)
    company = np.zeros(unit_texts.shape, np.float32)
    for members in memberships(sequences, windows, items):
        together = together + members.T @ members
        share = 1 / np.maximum(members.sum(axis=1) - 1, 1)  # [W]
        texts = (members @ unit_texts) * share[:, None]  # [W, k]
        company += members.T @ texts - unit_texts * (members.T @ share)[:, None]
    return together, company


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
    """Returns item vectors from co-occurrence counts [V, V]: singular vectors of the PPMI, scaled by root strength.

    The counts are replaced by the PPMI.
    """
    _make_positive_information(together)
    items = len(together.indptr) - 1
    left, strength, _ = randomized_svd(
        together,
        min(dimension, items),
        n_oversamples=_OVERSAMPLED,
        n_iter=_PASSES,  # pyright: ignore[reportArgumentType]
        power_iteration_normalizer="QR",
        random_state=seed,
    )
    vectors = np.zeros((items, dimension), np.float32)
    vectors[:, : left.shape[1]] = left * np.sqrt(strength)
    # With few items, some directions have no strength and are arbitrary. They reach items of which nothing is known.
    return vectors * (np.diff(together.indptr) > 0)[:, None]


def _make_positive_information(together: scipy.sparse.csr_array) -> None:
    """Replaces counts [V, V] by the positive pointwise mutual information of two items, some rows at a time."""
    items = len(together.indptr) - 1
    cuts = together.indptr[np.append(np.arange(0, items, _ROWS_AT_ONCE), items)]
    parts = [slice(*cut) for cut in pairwise(cuts)]
    total = np.zeros(items)
    for number, part in enumerate(parts):
        first = number * _ROWS_AT_ONCE
        lengths = np.diff(together.indptr[first : first + _ROWS_AT_ONCE + 1])
        row = np.repeat(np.arange(first, first + len(lengths)), lengths)
        together.data[part][row == together.indices[part]] = 0
        total += np.bincount(row, weights=together.data[part], minlength=items)
    for number, part in enumerate(parts):
        first = number * _ROWS_AT_ONCE
        lengths = np.diff(together.indptr[first : first + _ROWS_AT_ONCE + 1])
        row = np.repeat(np.arange(first, first + len(lengths)), lengths)
        count = together.data[part].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):  # a count of 0 has no information
            information = np.log(count * total.sum() / (total[row] * total[together.indices[part]]))
        together.data[part] = np.where(count > 0, np.maximum(information, 0), 0)
    together.eliminate_zeros()


def _centre(vectors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns unit vectors of items around the mean over interactions. Items without a vector stay zero."""
    known = np.any(vectors, axis=1)
    unit = unit_vectors(vectors).astype(np.float32, copy=False)
    weights = (counts * known).astype(np.float32)
    unit -= weights @ unit / max(weights.sum(), 1)
    unit[~known] = 0
    return unit_vectors(unit)


def _rotate(vectors: np.ndarray, reference: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rotates vectors as near to a reference as a rotation can bring them (orthogonal Procrustes)."""
    rotation, _ = scipy.linalg.orthogonal_procrustes(vectors * counts[:, None].astype(np.float32), reference)
    return vectors @ rotation


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors [..., n] to unit length; zeros stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
