"""Collaborative vectors for items that were not trained on, borrowed from their nearest neighbours by text."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import faiss
import numpy as np

from ..core.item_vectors import PackedItemVectors

MAX_EXACT_ITEMS = 200_000
"""With up to this many known items the search is exact. With more, an inverted file looks at a part of them."""

NEIGHBOURS = 20
"""Known items that a new item borrows from."""

SHARPNESS = 4
"""A neighbour's weight is this power of its similarity. Held-out items come nearer to their true vectors with it than
with a power of 1."""

NEAREST_TEXTS = 30
"""Items that count as near in text to an item."""

MAX_EXACT_TEXTS = 4_096
"""As MAX_EXACT_ITEMS, where each item asks for its neighbours, and one that is missed does not matter."""

_CELLS_SEARCHED = 32
_QUERY_ROWS = 256
_ADD_ROWS = 65_536


def with_borrowed(vectors: PackedItemVectors) -> PackedItemVectors:
    """Returns items of which those without collaborative vectors borrow them from items of similar text."""
    known, has_semantic = vectors.has_collaborative, vectors.has_semantic
    new, lenders = has_semantic & ~known, has_semantic & known
    if not new.any() or not lenders.any():
        return vectors
    rows = vectors.collaborative.copy()
    for borrowers, nearest, weights in find_lenders(vectors.semantic, lenders, new):
        rows[borrowers] = mean_of(rows, nearest, weights)
    return replace(vectors, collaborative=rows, has_collaborative=known | new)


def find_lenders(
    semantic: np.ndarray, known: np.ndarray, new: np.ndarray, *, k: int = NEIGHBOURS, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Finds for each new item the k known items that are nearest in text, some new items at a time.

    Args:
        semantic: float [V, D], text vectors of any length.
        known: bool [V]. At least one is true.
        new: bool [V].
        k: Neighbours per item; fewer if there are fewer known items.
        seed: Seed of the inverted file's cells, used beyond `MAX_EXACT_ITEMS` known items.

    Yields:
        New items, int64 [m], the known items nearest to each, int64 [m, k], and their weights, float32 [m, k].
    """
    lenders, borrowers = np.flatnonzero(known), np.flatnonzero(new)
    for rows, places, weights in _search(semantic, lenders, semantic, borrowers, k, seed):
        yield rows, lenders[places], weights


def _search(
    semantic_known: np.ndarray, lenders: np.ndarray, semantic_new: np.ndarray, borrowers: np.ndarray, k: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields some borrowers, rows of `semantic_new`, the places of their neighbours among the lenders, and weights."""
    index = _build_index(semantic_known, lenders, seed, MAX_EXACT_ITEMS)
    for start in range(0, len(borrowers), _QUERY_ROWS):
        rows = borrowers[start : start + _QUERY_ROWS]
        # Always the same number of queries: how a matrix product rounds depends on its shape.
        queries = np.zeros((_QUERY_ROWS, semantic_new.shape[1]), np.float32)
        queries[: len(rows)] = _normalised(semantic_new[rows])
        similarity, nearest = (found[: len(rows)] for found in index.search(queries, min(k, len(lenders))))
        weights = np.where(nearest >= 0, np.maximum(similarity, 0) ** SHARPNESS, 0)
        # If no known item is similar at all, all neighbours count the same.
        weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, nearest >= 0)
        yield rows, nearest, weights


def mean_of(vectors: np.ndarray, nearest: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the weighted mean of k vectors for each of m items, float32 [m, ...].

    Args:
        vectors: float [V, ...].
        nearest: int [m, k], which of them.
        weights: float32 [m, k].
    """
    weights = weights.reshape(*weights.shape, *[1] * (vectors.ndim - 1))
    return (weights * vectors[nearest].astype(np.float32, copy=False)).sum(axis=1) / weights.sum(axis=1)


def borrow_collaborative(
    semantic_known: np.ndarray,
    collaborative_known: np.ndarray,
    semantic_new: np.ndarray,
    *,
    k: int = NEIGHBOURS,
    seed: int = 0,
) -> np.ndarray:
    """Gives each new item the weighted mean of the collaborative vectors of its k nearest known items.

    Nearer items weigh more. A row's result does not depend on the other new rows. If more than k known items are
    exactly equally similar, their order decides which are taken.

    Args:
        semantic_known: float [K, D], text vectors of the known items, of any length.
        collaborative_known: float [K, n], their collaborative vectors, such as packed rows of `PackedItemVectors`.
        semantic_new: float [M, D], text vectors of the new items.
        k: Neighbours per item; fewer if there are fewer known items.
        seed: Seed of the inverted file's cells, used beyond `MAX_EXACT_ITEMS` known items.

    Returns:
        float32 [M, n].

    Raises:
        ValueError: There are no known items, or the shapes do not fit.
    """
    known, dimension = semantic_known.shape
    if not known or len(collaborative_known) != known or semantic_new.shape[1] != dimension:
        raise ValueError(
            f"semantic_known {semantic_known.shape}, collaborative_known {collaborative_known.shape} and "
            f"semantic_new {semantic_new.shape} do not fit, or there is no known item"
        )
    return borrow_from(collaborative_known, lenders_of(semantic_known, semantic_new, k=k, seed=seed))


class Lenders(NamedTuple):
    """Known items that each of M new items borrows from."""

    nearest: np.ndarray
    """int64 [M, k], by their places among the known items; -1: none."""
    weights: np.ndarray
    """float32 [M, k], at least 0."""

    def at(self, rows: np.ndarray | slice) -> "Lenders":
        """Returns those of some of the new items: int64 [m], bool [M] or a slice."""
        return Lenders(self.nearest[rows], self.weights[rows])


def lenders_of(semantic_known: np.ndarray, semantic_new: np.ndarray, *, k: int = NEIGHBOURS, seed: int = 0) -> Lenders:
    """Finds the known items that each new item borrows from. For arguments see `borrow_collaborative`."""
    known, count = len(semantic_known), len(semantic_new)
    k = min(k, known)
    found = Lenders(np.empty((count, k), np.int64), np.empty((count, k), np.float32))
    if count:
        for rows, nearest, weights in _search(
            semantic_known, np.arange(known), semantic_new, np.arange(count), k, seed
        ):
            found.nearest[rows], found.weights[rows] = nearest, weights
    return found


def borrow_from(collaborative_known: np.ndarray, lenders: Lenders) -> np.ndarray:
    """Returns the weighted mean of the lenders' collaborative vectors, float32 [M, n]."""
    borrowed = np.empty((len(lenders.nearest), collaborative_known.shape[1]), np.float32)
    for start in range(0, len(borrowed), _QUERY_ROWS):
        rows = slice(start, start + _QUERY_ROWS)
        borrowed[rows] = mean_of(collaborative_known, *lenders.at(rows))
    return borrowed


def nearest_texts(semantic: np.ndarray, wanted: np.ndarray, *, k: int = NEAREST_TEXTS, seed: int = 0) -> np.ndarray:
    """Finds for each wanted item the k wanted items that are nearest in text, itself left out.

    With more than MAX_EXACT_TEXTS wanted items, a few of the nearest are missed.

    Args:
        semantic: float [V, D], text vectors of any length.
        wanted: bool [V].
        k: Neighbours per item.
        seed: Seed of the inverted file's cells.

    Returns:
        int32 [V, k]; -1 for items that are not wanted, and where there are fewer neighbours.
    """
    nearest = np.full((len(semantic), k), -1, np.int32)
    items = np.flatnonzero(wanted)
    if not len(items):
        return nearest
    index = _build_index(semantic, items, seed, MAX_EXACT_TEXTS)
    for start in range(0, len(items), _QUERY_ROWS):
        own = np.arange(start, min(start + _QUERY_ROWS, len(items)))
        _, found = index.search(_normalised(semantic[items[own]]), k + 1)
        other = found != own[:, None]
        other[other.all(1), -1] = False  # among items of one text, the item itself may not be found
        nearest[items[own]] = np.where(found >= 0, items[found], -1)[other].reshape(-1, k)
    return nearest


def _build_index(vectors: np.ndarray, rows: np.ndarray, seed: int, max_exact: int) -> faiss.Index:
    """Builds an index of some rows of vectors [V, D]. It answers with places among them."""
    count, dimension = len(rows), vectors.shape[1]
    if count <= max_exact:
        index = faiss.IndexFlatIP(dimension)
    else:
        cells = int(4 * count**0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, cells, faiss.METRIC_INNER_PRODUCT)
        index.nprobe, index.cp.seed = _CELLS_SEARCHED, seed
        index.cp.min_points_per_centroid = 1  # else faiss warns of few points on the terminal
        sample = np.sort(np.random.default_rng(seed).choice(count, min(count, 64 * cells), replace=False))
        index.train(_normalised(vectors[rows[sample]]))
    for start in range(0, count, _ADD_ROWS):  # in blocks: the vectors may be memory-mapped, in half precision
        index.add(_normalised(vectors[rows[start : start + _ADD_ROWS]]))
    return index


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """Returns rows of unit length, float32 [n, D]. A row of zeros stays zero."""
    vectors = np.array(vectors, dtype=np.float32, order="C")
    faiss.normalize_L2(vectors)
    return vectors
