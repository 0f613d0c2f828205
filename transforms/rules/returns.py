"""The rule `returned`: an interaction that a later one takes back, such as a cancelled order or an unlike."""

import dataclasses
from typing import ClassVar

import numpy as np

from ..contract.columns import InteractionColumns
from ..read.clock import Clock
from .rule import Rule, RuleInput, occurs_in


@dataclasses.dataclass(frozen=True)
class Returns(Rule):
    """Takes events that take an interaction back, and what they take back.

    An event takes back the user's latest earlier interaction with the same item that has not been taken back yet. If
    behaviours have an order, it takes back one behaviour only, such as a purchase, see `taken_behaviours`.
    """

    code: ClassVar[str] = "returned"
    column: str
    """Column that says what kind of event a row is."""
    values: tuple[str, ...]
    """Values of the column in rows that take an interaction back."""

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return True

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        values, order = shard.column(self.column), shard.columns.behaviours
        taken = taken_behaviours(self.values, shard.columns)
        found = occurs_in(values, tuple(taken))
        if not found.any():
            return shard.spread(found)
        key = shard.users * (int(shard.items.max()) + 1) + shard.items
        opens = ~found
        for behaviour in dict.fromkeys(taken.values()):
            back = occurs_in(values, tuple(value for value in taken if taken[value] == behaviour))
            takes = opens & (shard.ranks == len(order) - 1 - order.index(behaviour)) if order and behaviour else opens
            rows = np.flatnonzero(np.isin(key, key[back]) & (back | takes))
            rows = rows[np.argsort(key[rows], kind="stable")]
            found[rows[_taken_back(key[rows], back[rows])]] = True
        return shard.spread(found)


def events_apart(shard: RuleInput, returns: Returns | None) -> np.ndarray:
    """Returns what each open interaction is, int [n]: as `events`, but what takes an interaction back is another thing.

    Args:
        shard: The interactions.
        returns: Says what takes one back; None: nothing does.
    """
    if returns is None:
        return shard.events
    back = occurs_in(shard.column(returns.column), tuple(taken_behaviours(returns.values, shard.columns)))
    return shard.events.astype(np.int64) * 2 + back


def taken_behaviours(values: tuple[str, ...], columns: InteractionColumns) -> dict[str, str | None]:
    """Returns what each event takes back: a behaviour, or None for any.

    If behaviours have an order, `return=purchase` says that the event `return` takes a purchase back. A single
    behaviour need not be named.

    Args:
        values: The events, as the option names them.
        columns: The order of the behaviours.

    Raises:
        ValueError: Behaviours have an order, and an event does not say which one of them it takes back.
    """
    order = columns.behaviours
    if not order:
        return dict.fromkeys(values)
    taken: dict[str, str | None] = {}
    for text in values:
        event, _, behaviour = text.rpartition("=")
        if behaviour not in order or not event:
            if order[1:]:
                raise ValueError(text)
            event, (behaviour,) = text, order
        if taken.setdefault(event, behaviour) != behaviour:
            raise ValueError(f"{event}={taken[event]} and {text}")
    return taken


def _taken_back(key: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Matches events as closing brackets with interactions as opening ones, and returns the matched, bool [n].

    Args:
        key: [n], the user and item of each row, equal ones together and in time order.
        back: bool [n], rows that take back.
    """
    step = np.where(back, -1, 1)
    begins = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    group = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(key))))
    depth = np.cumsum(step)
    depth -= (depth - step)[begins][group]
    # A closing bracket without an opening one leads to a depth below all before it. The depth is counted from there.
    apart = group * (2 * len(key) + 1)  # keeps the minima of groups apart
    depth -= np.minimum.accumulate(np.minimum(depth, 0) - apart) + apart
    before = np.append(0, depth[:-1])
    before[begins] = 0
    level = np.where(back, before, depth)
    # At one level of one group, opening and closing brackets take turns, and an opening one closes with the next.
    order = np.lexsort((np.arange(len(key)), level, group))
    first, second = order[:-1], order[1:]
    pair = (group[first] == group[second]) & (level[first] == level[second]) & ~back[first] & back[second]
    matched = np.zeros(len(key), bool)
    matched[first[pair]] = matched[second[pair]] = True
    return matched
