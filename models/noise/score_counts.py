"""Counts noise probabilities, so that the scores of a whole log fit into one small array.

The counts are histograms of the log odds of the noise probability. There is one histogram per place in the sequence,
popularity bucket and, for a log, group of users. Counts of shards are simply added up, in any order. `share.py`
estimates from them how much noise a log holds, and `recalibration.py` adapts the probabilities to it.
"""

import numpy as np

BINS = 256
"""Number of bins of a histogram, all equally wide in log odds."""

_MAX_LOG_ODDS = 8.0
"""The bins cover log odds from minus this to plus this. What lies beyond is counted in the outermost bins."""

CENTRES = (np.arange(BINS) + 0.5) * (2 * _MAX_LOG_ODDS / BINS) - _MAX_LOG_ODDS
"""Log odds in the middle of each bin, [BINS]."""

END_LENGTH = 2
"""This many interactions at the end of each user are the end of the sequence. Recommenders are usually evaluated on
them, so they may be free of noise when the rest of the log is not."""

PLACES = 2
"""Number of places in a sequence: 0 is before its end, 1 is at its end."""

REFERENCES = 4
"""Number of mixtures of noise whose scores are known: all kinds that training inserts; single items alone; and those
of each that look like another kind than single items."""

GROUPS = 32
"""Number of groups of users, by hash of the user id. Differences between groups show how certain an estimate is."""


def places(offsets: np.ndarray) -> np.ndarray:
    """Returns the place of each interaction in its sequence, int64 [N], from the users' offsets [U + 1]."""
    from_end = np.repeat(offsets[1:], np.diff(offsets)) - np.arange(offsets[-1])
    return (from_end <= END_LENGTH).astype(np.int64)


def count_scores(noise_probability: np.ndarray, place: np.ndarray, bucket: np.ndarray, buckets: int) -> np.ndarray:
    """Counts n interactions by place, popularity bucket and noise probability.

    Args:
        noise_probability: float32 [n].
        place: int64 [n], see `places`.
        bucket: int64 [n], the popularity bucket of the item.
        buckets: Number of popularity buckets.

    Returns:
        int64 [PLACES, buckets, BINS].
    """
    counts = _count(noise_probability, place * buckets + bucket, PLACES * buckets)
    return counts.reshape(PLACES, buckets, BINS)


def count_by_group(
    noise_probability: np.ndarray, group: np.ndarray, place: np.ndarray, bucket: np.ndarray, buckets: int
) -> np.ndarray:
    """Counts as `count_scores` does, but also by group of users.

    Args:
        noise_probability: float32 [n].
        group: int64 [n], the group of the user, below GROUPS.
        place: int64 [n], see `places`.
        bucket: int64 [n], the popularity bucket of the item.
        buckets: Number of popularity buckets.

    Returns:
        int64 [GROUPS, PLACES, buckets, BINS].
    """
    cells = PLACES * buckets
    counts = _count(noise_probability, group * cells + place * buckets + bucket, GROUPS * cells)
    return counts.reshape(GROUPS, PLACES, buckets, BINS)


def count_all(noise_probability: np.ndarray) -> np.ndarray:
    """Counts interactions by noise probability alone, float32 [n]. Returns int64 [BINS]."""
    return _count(noise_probability, np.zeros(len(noise_probability), np.int64), 1)[0]


def _count(noise_probability: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """Counts interactions by cell, int64 [n], and noise probability, [n]. Returns int64 [cells, BINS]."""
    with np.errstate(divide="ignore"):
        scaled = (log_odds(noise_probability) + _MAX_LOG_ODDS) * (BINS / (2 * _MAX_LOG_ODDS))
    bins = np.clip(scaled, 0, BINS - 1).astype(np.int64)
    return np.bincount(cell * BINS + bins, minlength=cells * BINS).reshape(cells, BINS)


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Returns the log odds of probabilities, float64 [n]: minus infinity for 0, plus infinity for 1."""
    probability = probability.astype(np.float64)
    return np.log(probability) - np.log1p(-probability)
