"""When items are interacted with: their lives, learned from a log, out of fold.

What people choose depends on the time: items appear, become popular and are forgotten. An interaction with an item that
hardly anybody else chose at that time is more probably noise.

Times are only compared, never measured. The clock of a log says which share of its interactions came before a time. So
any unit will do, and a month in which much happened counts for more than a quiet year.
"""

import numpy as np

from ..core.item_vectors import LIFE_BINS
from ..core.sequences import Sequences

CLOCK_TICKS = 1024
"""The clock cuts a log into so many parts of about as many interactions each."""

_TIMES_AT_ONCE = 1 << 20


def make_clock(times: np.ndarray | None) -> np.ndarray:
    """Returns the times at which the parts of a log begin, and its last time, int64 [CLOCK_TICKS + 1], ascending.

    Args:
        times: int64 [N]; None if the log has no times. The clock then tells none: all of it is 0.
    """
    if times is None or not len(times):
        return np.zeros(CLOCK_TICKS + 1, np.int64)
    ranks = np.linspace(0, len(times) - 1, CLOCK_TICKS + 1).round().astype(np.int64)
    return np.sort(times)[ranks].astype(np.int64)


def tell(clock: np.ndarray, times: np.ndarray | None, number: int) -> np.ndarray:
    """Returns the share of the clock's log that came before each time, float32 [N] in [0, 1].

    It is NaN before the first time of that log and after its last one, and without times.

    Args:
        clock: From `make_clock`.
        times: int64 [N]; None if there are none.
        number: N.
    """
    if times is None or clock[0] == clock[-1]:
        return np.full(number, np.nan, np.float32)
    told = np.empty(number, np.float32)
    for start in range(0, number, _TIMES_AT_ONCE):
        told[start : start + _TIMES_AT_ONCE] = _tell(clock, times[start : start + _TIMES_AT_ONCE])
    return told


def _tell(clock: np.ndarray, times: np.ndarray) -> np.ndarray:
    # Interactions of the same time share the middle of what they take up.
    first, last = (np.searchsorted(clock, times, side) for side in ("left", "right"))
    low = np.maximum(first - 1, 0)
    span = clock[np.minimum(first, CLOCK_TICKS)].astype(np.float64) - clock[low]
    between = np.where(first == last, (times - clock[low].astype(np.float64)) / np.where(span > 0, span, 1), 0)
    place = np.where(first == last, low + between, (first + last - 1) / 2) / CLOCK_TICKS
    told = np.clip(place, 0, 1).astype(np.float32)
    told[(times < clock[0]) | (times > clock[-1])] = np.nan
    return told


def fit_lives(sequences: Sequences, moments: np.ndarray, items: int, folds: int) -> np.ndarray:
    """Learns for each item how much more often it was chosen around each point of the clock than on average.

    Args:
        sequences: The log; a user's fold is `sequences.folds(folds)`.
        moments: float32 [N], from `tell`. Interactions without one count nowhere.
        items: V, number of items.
        folds: Number of folds; 0: no lives are asked for. Those of a fold are learned from the users of all others.

    Returns:
        float32 [V, folds, LIFE_BINS]: the logarithm of the ratio of what was seen to what was to be expected, each with
        one interaction added; 0 where the fold knows nothing of the item.
    """
    lives = np.zeros((items, folds, LIFE_BINS), np.float32)
    if not folds:
        return lives
    seen = np.zeros((folds, items, LIFE_BINS))
    fold = np.repeat(sequences.folds(folds).astype(np.int8), sequences.lengths)
    for own in range(folds):
        here = np.flatnonzero((fold == own) & ~np.isnan(moments))
        low, part = life_place(moments[here])
        cell = sequences.items[here].astype(np.int64) * LIFE_BINS + low
        for at, weight in ((cell, 1 - part), (cell + 1, part)):
            seen[own] += np.bincount(at, weight, items * LIFE_BINS).reshape(items, LIFE_BINS)
    together = seen.sum(0)
    for own in range(folds):
        others = together - seen[own]
        usual = others.sum(0) / max(others.sum(), 1)  # [LIFE_BINS]
        lives[:, own] = np.log((others + 1) / (others.sum(1, keepdims=True) * usual + 1))
    return lives


def life_place(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the point of the clock below each moment, int64 [n], and how far the moment is from it to the next."""
    place = np.clip(moments * np.float32(LIFE_BINS) - np.float32(0.5), 0, LIFE_BINS - 1)
    low = np.minimum(place.astype(np.int64), LIFE_BINS - 2)
    return low, place - low
