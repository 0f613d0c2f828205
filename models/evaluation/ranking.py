"""Ranks all items for each user, and measures where the right one is.

The item that the user really chose next is the target. HR (hit rate) and NDCG are computed from its rank among all
items, not among a sample of them. Scores are inner products of user and item vectors.
"""

import faiss
import numpy as np
import numpy.typing as npt

from ..core.sequences import Sequences

CUTOFFS = (5, 10, 20)
"""Lengths of the recommended list at which HR and NDCG are measured."""

MAX_CUTOFF = max(CUTOFFS)
"""The longest list. Ranks beyond it make no difference."""

METRICS = tuple(f"{name}@{cutoff}" for name in ("HR", "NDCG") for cutoff in CUTOFFS)
"""Names of the metrics, in the order in which they are returned everywhere."""

_BATCH_USERS = 512
"""Number of users that are searched together."""


def rank_targets(
    user_vectors: npt.NDArray[np.float32],
    item_vectors: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.integer],
    targets: npt.NDArray[np.integer],
    seen: Sequences | None = None,
) -> npt.NDArray[np.int64]:
    """Ranks each user's target among all candidates.

    Args:
        user_vectors: float32 [U, d].
        item_vectors: float32 [V, d].
        candidates: int [C], the items that can be recommended. A target that is not among them is a miss.
        targets: int [U], the item that each user chose.
        seen: Items that each user already has. They are not recommended again, except for the target itself. If None,
            all candidates are recommended to everybody.

    Returns:
        int64 [U], the rank of each target. 0 is the first. MAX_CUTOFF stands for every rank from there on, and for a
        miss.
    """
    index = faiss.IndexFlatIP(item_vectors.shape[1])
    index.add(np.ascontiguousarray(item_vectors[candidates]))
    ranks = np.full(len(targets), MAX_CUTOFF, np.int64)
    # The search must return enough items for the user with the most seen items. Users with histories of similar length
    # are searched together, so that few searches are deep.
    longest_last = np.argsort(seen.lengths, kind="stable") if seen else np.arange(len(targets))
    for start in range(0, len(targets), _BATCH_USERS):
        users = longest_last[start : start + _BATCH_USERS]
        hidden = int(seen.lengths[users[-1]]) if seen else 0
        _, found = index.search(user_vectors[users], min(MAX_CUTOFF + hidden, len(candidates)))
        items = candidates[found]  # [n, k], best first
        is_target = items == targets[users, None]
        listed = is_target | ~_is_seen(seen, users, items) if seen else np.ones_like(is_target)
        before = np.cumsum(listed, axis=1) - listed  # recommended items before each
        rows, columns = np.nonzero(is_target)
        ranks[users[rows]] = np.minimum(before[rows, columns], MAX_CUTOFF)
    return ranks


def measure_ranks(ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Computes HR and NDCG of each user.

    If the target is among the first k items, HR@k is 1 and NDCG@k is 1 / log2(rank + 2), since there is a single right
    item. Otherwise both are 0.

    Args:
        ranks: int64 [U], from `rank_targets`.

    Returns:
        float64 [U, 6], in the order of METRICS.
    """
    hits = (ranks[:, None] < np.array(CUTOFFS)).astype(float)  # [U, cutoffs]
    return np.concatenate([hits, hits / np.log2(ranks + 2)[:, None]], axis=1)


def _is_seen(seen: Sequences, users: npt.NDArray[np.int64], items: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Returns which of the items in each user's row the user has already, bool [n, k].

    Args:
        seen: The items that each user has.
        users: int64 [n].
        items: int [n, k], one row per user.
    """
    lengths = seen.lengths[users]
    row = np.repeat(np.arange(len(users)), lengths)
    first = np.cumsum(lengths) - lengths
    owned = seen.items[np.arange(len(row)) - np.repeat(first, lengths) + np.repeat(seen.offsets[users], lengths)]
    size = int(max(items.max(initial=0), seen.items.max(initial=0))) + 1
    return np.isin(items + np.arange(len(users))[:, None] * size, owned + row * size)
