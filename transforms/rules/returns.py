"""The rule `returned`: an interaction that a later one takes back, such as a cancelled order or an unlike."""

import dataclasses
from typing import ClassVar

import numpy as np

from ..read.clock import Clock
from .rule import Rule, RuleInput, occurs_in


@dataclasses.dataclass(frozen=True)
class Returns(Rule):
    """Takes events that take an interaction back, and what they take back.

    An event takes back the user's latest earlier interaction with the same item that has not been taken back yet.
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
        back = occurs_in(shard.column(self.column), self.values)
        if not back.any():
            return shard.spread(back)
        key = shard.users * (int(shard.items.max()) + 1) + shard.items
        rows = np.flatnonzero(np.isin(key, key[back]))
        order = rows[np.argsort(key[rows], kind="stable")]
        found = back.copy()
        found[order[_taken_back(key[order], back[order])]] = True
        return shard.spread(found)


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
