"""Ranks the whole catalogue for each user by inner product, and says how high the item stands that the user chose."""

import faiss
import numpy as np
import numpy.typing as npt

from ..core.sequences import Sequences

CUTOFFS = (5, 10, 20)
"""List lengths at which HR and NDCG are reported."""


DEPTH = max(CUTOFFS)


METRICS = tuple(f"{name}@{cutoff}" for name in ("HR", "NDCG") for cutoff in CUTOFFS)


_BATCH_USERS = 512


def rank_targets(
    user_vectors: npt.NDArray[np.float32],
    item_vectors: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.integer],
    targets: npt.NDArray[np.integer],
    seen: Sequences | None = None,
) -> npt.NDArray[np.int64]:
    """Returns the place of each user's target among all candidates, 0 being first, or DEPTH where it is not that high.

    Args:
        user_vectors: [U, d].
        item_vectors: [V, d].
        candidates: int [C], the items that can be recommended; a target that is none of them is a miss.
        targets: int [U], the item that each user chose.
        seen: Items that a user already has and is not recommended again; the target is, whether seen or not.
            None: everything is recommended.
    """
    index = faiss.IndexFlatIP(item_vectors.shape[1])
    index.add(np.ascontiguousarray(item_vectors[candidates]))
    places = np.full(len(targets), DEPTH, np.int64)
    # Users of similar history are searched together: the longest one decides how deep the search must go.
    longest_last = np.argsort(seen.lengths, kind="stable") if seen else np.arange(len(targets))
    for start in range(0, len(targets), _BATCH_USERS):
        users = longest_last[start : start + _BATCH_USERS]
        hidden = int(seen.lengths[users[-1]]) if seen else 0
        _, found = index.search(user_vectors[users], min(DEPTH + hidden, len(candidates)))
        items = candidates[found]  # [n, k], best first
        is_target = items == targets[users, None]
        listed = is_target | ~_have(seen, users, items) if seen else np.ones_like(is_target)
        before = np.cumsum(listed, axis=1) - listed  # recommended items ahead of each
        rows, columns = np.nonzero(is_target)
        places[users[rows]] = np.minimum(before[rows, columns], DEPTH)
    return places


def measure_ranks(places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns HR and NDCG of each user in the order of METRICS, [U, 6], from places as `rank_targets` gives them.

    With a single right item, NDCG@k is 1 / log2(place + 2) when it is among the first k, else 0.
    """
    hits = (places[:, None] < np.array(CUTOFFS)).astype(float)  # [U, cutoffs]
    return np.concatenate([hits, hits / np.log2(places + 2)[:, None]], axis=1)


def _have(seen: Sequences, users: npt.NDArray[np.int64], items: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Whether each of the users [n] has each of the items in their row, [n, k]."""
    lengths = seen.lengths[users]
    row = np.repeat(np.arange(len(users)), lengths)
    first = np.cumsum(lengths) - lengths
    owned = seen.items[np.arange(len(row)) - np.repeat(first, lengths) + np.repeat(seen.offsets[users], lengths)]
    size = int(max(items.max(initial=0), seen.items.max(initial=0))) + 1
    return np.isin(items + np.arange(len(users))[:, None] * size, owned + row * size)
