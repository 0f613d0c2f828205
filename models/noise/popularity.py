"""Cuts items into buckets by how often they occur, each holding about the same number of interactions."""

import numpy as np

BUCKETS = 6


def bucket_edges(counts: np.ndarray, buckets: int = BUCKETS) -> np.ndarray:
    """Cuts items into buckets that hold about the same number of interactions; items of equal count stay together.

    Args:
        counts: int64 [V], interactions of each item, 1 at least.
        buckets: Most buckets; fewer come out when few distinct counts occur.

    Returns:
        int64 [k], ascending: the highest count in each bucket.
    """
    distinct, items = np.unique(counts, return_counts=True)
    mass = np.cumsum(distinct * items)
    targets = mass[-1] * np.arange(1, buckets + 1) / buckets
    return np.unique(distinct[np.searchsorted(mass, targets)])


def popularity_buckets(items: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the bucket of each item of `items` (int [n]), from the rarest, given all items' counts [V]; int64 [n]."""
    edges = bucket_edges(counts[counts > 0])
    # An item that the counts do not know is rarer than all others.
    return np.searchsorted(edges, counts[items])
