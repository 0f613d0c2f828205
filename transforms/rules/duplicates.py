"""The rule `duplicate`: the same event again, as at-least-once delivery and repeated imports write it."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract.nobody import is_nobody
from ..read.clock import Clock
from .returns import Returns, events_apart
from .rule import Rule, RuleInput, shows_seconds


@dataclasses.dataclass(frozen=True)
class Duplicates(Rule):
    """Takes each repetition of the same user, item, behaviour and time, and of the same event id. The first stays.

    A cancellation is no repetition of the purchase.
    """

    code: ClassVar[str] = "duplicate"
    mode: Literal["auto", "drop", "count"] = "auto"
    """`auto` drops if the clock shows seconds. In a coarser one, two equal rows may well be two events, such as two
    lines of one invoice."""
    event_column: str | None = None
    """Column of event ids. Two rows of a user with the same id are one event, whatever else they hold."""
    returns: Returns | None = dataclasses.field(default=None, repr=False)
    """What takes an interaction back."""

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return self.mode == "drop" or (self.mode == "auto" and (self.event_column is not None or shows_seconds(clock)))

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        found = np.zeros(len(shard.rows), bool)
        # With a coarse clock, the event ids alone say what is certain.
        if self.event_column is None or self.mode != "auto" or shows_seconds(shard.clock):
            first = firsts_of_moments(shard.users, shard.time, events_apart(shard, self.returns))
            found |= first != np.arange(len(found))
        if self.event_column is not None:
            found |= _same_event(shard, self.event_column)
        return shard.spread(found)


def firsts_of_moments(users: np.ndarray, time: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Returns the first interaction with the same user, time and item as each one, int64 [n], often itself.

    Args:
        users: int [n], ascending.
        time: int64 [n], ascending for each user.
        items: int [n].
    """
    first = np.arange(len(items))
    tied = (users[1:] == users[:-1]) & (time[1:] == time[:-1])
    rows = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
    if not len(rows):
        return first
    moment = np.cumsum(np.append(True, ~tied[rows[1:] - 1]))
    # Within a moment, another column may have decided the order, so equal items need not be neighbours.
    order = np.lexsort((rows, items[rows], moment))
    new = (np.diff(moment[order], prepend=-1) != 0) | (np.diff(items[rows][order], prepend=-1) != 0)
    begins = np.flatnonzero(new)
    first[rows[order]] = np.repeat(rows[order[begins]], np.diff(np.append(begins, len(order))))
    return first


def _same_event(shard: RuleInput, column: str) -> np.ndarray:
    """Returns which open interactions have user and event id of an earlier one, bool [n].

    What stands for a missing id, such as null, blank text or NaN, is none.
    """
    values = shard.column(column)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    event = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    event = np.append(np.where(is_nobody(encoded.dictionary), -1, np.arange(len(encoded.dictionary))), -1)[event]
    key = shard.users * (len(encoded.dictionary) + 1) + event
    order = np.argsort(key, kind="stable")
    again = (np.diff(key[order], prepend=-1) == 0) & (event[order] >= 0)
    found = np.zeros(len(key), bool)
    found[order[again]] = True
    return found
