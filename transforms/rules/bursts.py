"""The rule `burst`: many interactions of one user at one instant, as imports and bulk orders write them."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from ..read.clock import Clock
from .rule import Rule, RuleInput


@dataclasses.dataclass(frozen=True)
class Bursts(Rule):
    """Takes interactions of a user who has many at the same time."""

    code: ClassVar[str] = "burst"
    mode: Literal["drop", "one-per-item", "count"] = "count"
    """`one-per-item` keeps the first of each item, and of each behaviour if the log has them."""
    min_interactions: int = 20
    """So many interactions at one time are a burst."""

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return self.mode != "count"

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        users, time = shard.users, shard.time
        if not len(users):
            return shard.spread(np.zeros(0, bool))
        begins = np.flatnonzero(np.append(True, (users[1:] != users[:-1]) | (time[1:] != time[:-1])))
        sizes = np.diff(np.append(begins, len(users)))
        found = np.repeat(sizes >= self.min_interactions, sizes)
        if self.mode == "one-per-item":
            rows = np.flatnonzero(found)
            moment = np.repeat(np.arange(len(sizes)), sizes)[rows]
            order = np.lexsort((rows, shard.events[rows], moment))
            first = (np.diff(moment[order], prepend=-1) != 0) | (np.diff(shard.events[rows][order], prepend=-1) != 0)
            found[rows[order[first]]] = False
        return shard.spread(found)
