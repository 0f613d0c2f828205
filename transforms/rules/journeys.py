"""Journeys: what one user does with one item, such as to view it, put it into the cart and buy it.

The steps of a journey are one piece of evidence: that somebody looked at an item before buying it says nothing more
about the user than the purchase does. A journey ends with its strongest behaviour, such as a purchase. To buy the item
again is another journey. What the user does with the item after the last such end belongs to that journey too: to look
at an item that one has bought is no new interest. Without an order of behaviours nothing ends a journey.
"""

from typing import NamedTuple

import numpy as np

from ..read.behaviours import STRONGEST


class Journeys(NamedTuple):
    """The journey of each of n interactions."""

    first: np.ndarray
    """int64 [n], the first interaction of the journey."""
    reached: np.ndarray
    """int32 [n], how strong the strongest behaviour of the journey is, see `behaviour_ranks`."""


def find_journeys(users: np.ndarray, items: np.ndarray, time: np.ndarray, behaviours: np.ndarray) -> Journeys:
    """Finds the journeys of users. Interactions with one item at one time belong together.

    Args:
        users: int [n], ascending.
        items: int [n].
        time: int64 [n], ascending for each user.
        behaviours: int32 [n], how strong the behaviour of each is, see `behaviour_ranks`.
    """
    if not len(items):
        return Journeys(np.zeros(0, np.int64), np.zeros(0, np.int32))
    pair = users * (int(items.max()) + 1) + items
    order = np.argsort(pair, kind="stable")
    pair, time, rank = pair[order], time[order], behaviours[order]
    new_pair = np.append(True, pair[1:] != pair[:-1])
    moments = np.flatnonzero(new_pair | np.append(True, time[1:] != time[:-1]))
    ends = np.minimum.reduceat(rank, moments) == STRONGEST  # [moments]
    # The journey of a moment is the number of ends before it, within its pair.
    pairs = np.flatnonzero(new_pair[moments])
    sizes = np.diff(np.append(pairs, len(moments)))
    before = np.cumsum(ends) - ends
    nth = before - np.repeat(before[pairs], sizes)
    # What comes after the last end belongs to the journey that it has ended.
    last = np.repeat(np.maximum(np.add.reduceat(ends, pairs, dtype=np.int64) - 1, 0), sizes)
    nth = np.minimum(nth, last)
    begins = moments[new_pair[moments] | (np.diff(nth, prepend=-1) != 0)]
    lengths = np.diff(np.append(begins, len(order)))
    first, reached = np.empty(len(order), np.int64), np.empty(len(order), np.int32)
    first[order] = np.repeat(order[begins], lengths)
    reached[order] = np.repeat(np.minimum.reduceat(rank, begins), lengths)
    return Journeys(first, reached)
