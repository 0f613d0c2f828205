"""Counts noise probabilities by group of users, place in the sequence, popularity bucket and score."""

import numpy as np

BINS = 256


_LIMIT = 8.0
"""Log odds beyond this fall into the outermost bins."""


CENTRES = (np.arange(BINS) + 0.5) * (2 * _LIMIT / BINS) - _LIMIT
"""Log odds in the middle of each bin, [BINS]."""


LAST = 2
"""So many of a user's last interactions are the end of the sequence. Most evaluations of recommenders hold them out."""


PLACES = 2
"""Before the end of the sequence, and at it."""


GROUPS = 32
"""Groups of users, by hash of the id."""


def places(offsets: np.ndarray) -> np.ndarray:
    """Returns the place of each interaction, below PLACES, int64 [N], from the users' offsets [U + 1]."""
    from_end = np.repeat(offsets[1:], np.diff(offsets)) - np.arange(offsets[-1])
    return (from_end <= LAST).astype(np.int64)


def count_scores(noise_probability: np.ndarray, place: np.ndarray, bucket: np.ndarray, buckets: int) -> np.ndarray:
    """Counts interactions by place, bucket and noise probability, each [n]; int64 [PLACES, buckets, BINS]."""
    counts = _count(noise_probability, place * buckets + bucket, PLACES * buckets)
    return counts.reshape(PLACES, buckets, BINS)


def count_by_group(
    noise_probability: np.ndarray, group: np.ndarray, place: np.ndarray, bucket: np.ndarray, buckets: int
) -> np.ndarray:
    """Counts as `count_scores` does, by group of users [n], too: int64 [GROUPS, PLACES, buckets, BINS]."""
    cells = PLACES * buckets
    counts = _count(noise_probability, group * cells + place * buckets + bucket, GROUPS * cells)
    return counts.reshape(GROUPS, PLACES, buckets, BINS)


def _count(noise_probability: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """Counts by cell [n] and score, int64 [cells, BINS]."""
    with np.errstate(divide="ignore"):
        scaled = (_log_odds(noise_probability) + _LIMIT) * (BINS / (2 * _LIMIT))
    bins = np.clip(scaled, 0, BINS - 1).astype(np.int64)
    return np.bincount(cell * BINS + bins, minlength=cells * BINS).reshape(cells, BINS)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    probability = probability.astype(np.float64)
    return np.log(probability) - np.log1p(-probability)
