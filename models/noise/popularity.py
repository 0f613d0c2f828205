"""Groups items into popularity buckets.

Each bucket holds about the same number of interactions, so there are few popular items in the last bucket and many rare
ones in the first. Noise scores and the report are broken down by bucket, to show whether rare items are treated worse.
"""

import numpy as np

BUCKETS = 6
"""Maximum number of buckets. A log with few distinct item counts has fewer."""


def bucket_edges(counts: np.ndarray, buckets: int = BUCKETS) -> np.ndarray:
    """Finds k buckets of items with about the same number of interactions. Items of equal count share a bucket.

    Args:
        counts: int64 [V], the number of interactions of each item, at least 1.
        buckets: Maximum number of buckets. There are fewer if there are few distinct counts.

    Returns:
        int64 [k], ascending: the highest count in each bucket. There is no bucket if there is no item.
    """
    if not len(counts):
        return np.zeros(0, np.int64)
    distinct, items = np.unique(counts, return_counts=True)
    mass = np.cumsum(distinct * items)
    targets = mass[-1] * np.arange(1, buckets + 1) / buckets
    return np.unique(distinct[np.searchsorted(mass, targets)])


def popularity_buckets(items: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the bucket of each interaction's item, int64 [n]. Bucket 0 holds the rarest items.

    Args:
        items: int [n], the item of each interaction.
        counts: int64 [V], the number of interactions of each item. An item with none falls into bucket 0.
    """
    edges = bucket_edges(counts[counts > 0])
    return np.searchsorted(edges, counts[items])
