"""The rule `machine`: users at a pace or with a regularity that no person has, such as crawlers and scripts."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from ..read.clock import Clock
from .rule import Rule, RuleInput, shows_seconds
from .window import DAY

SUSTAINED = ((60, 1.0), (120, 1.5), (300, 2.5), (1_000, 4.0))
"""No person interacts so many times in a row at a mean gap of so many times `pace`."""

MIN_REGULAR = 100
"""So many equal gaps in a row are a timer."""

MIN_CRAWLED = 100
"""So many items in a row in the order of their ids are a crawl, if the mean gap is short."""

CRAWL_PACE = 10.0
"""Seconds. People who watch a series in order are slower."""


@dataclasses.dataclass(frozen=True)
class Machines(Rule):
    """Takes all interactions of a user who is a machine.

    Interactions at one instant count once, so that a person who imports a list is none. A user is a machine

    1. at a sustained pace, see SUSTAINED,
    2. with more moments on one day than `per_day`,
    3. with MIN_REGULAR equal gaps in a row, or
    4. with MIN_CRAWLED items in a row in ascending or descending order of id, quickly.

    A clock that is coarser than a second shows none of these. Users with more than `per_day` interactions on one day
    are named then, and not dropped.
    """

    code: ClassVar[str] = "machine"
    mode: Literal["auto", "drop", "count"] = "auto"
    """`auto` drops where the clock is fine enough to be certain."""
    pace: float = 1.0
    """Seconds. Shortest mean gap that a person sustains for a minute. Longer runs need no such pace."""
    per_day: int = 10_000
    """Most interactions of a person on one day."""

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return self.mode == "drop" or (self.mode == "auto" and shows_seconds(clock))

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        machine = np.zeros(len(shard.ordered.offsets) - 1, bool)
        if shard.clock.resolution is None or not len(shard.rows):
            return shard.spread_users(machine)
        users, time = shard.users, shard.time
        if not shows_seconds(shard.clock):
            machine[self._busy(users, shard.seconds + shard.clock.start)] = True
            return shard.spread_users(machine)
        # Most users have too few interactions to be judged at all.
        smallest = min(SUSTAINED[0][0], MIN_REGULAR, MIN_CRAWLED, self.per_day)
        judged = (np.diff(shard.offsets) >= smallest)[users]
        moment = judged & np.append(True, (users[1:] != users[:-1]) | (time[1:] != time[:-1]))
        users, seconds, items = users[moment], shard.seconds[moment] + shard.clock.start, shard.items[moment]
        for found in (
            self._sustained(users, seconds),
            self._busy(users, seconds),
            _regular(users, seconds),
            _crawled(users, seconds, items),
        ):
            machine[found] = True
        return shard.spread_users(machine)

    def _sustained(self, users: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        found = []
        for count, gap in SUSTAINED:
            last = slice(count - 1, None)
            first = slice(None, max(len(users) - count + 1, 0))
            quick = seconds[last] - seconds[first] <= (count - 1) * gap * self.pace
            found.append(users[last][quick & (users[last] == users[first])])
        return np.unique(np.concatenate(found))

    def _busy(self, users: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        day = np.floor(seconds / DAY)
        changes = (
            np.append(True, (users[1:] != users[:-1]) | (day[1:] != day[:-1])) if len(users) else np.zeros(0, bool)
        )
        begins = np.flatnonzero(changes)
        return np.unique(users[begins[np.diff(np.append(begins, len(users))) > self.per_day]])


def _regular(users: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Returns the users with MIN_REGULAR equal gaps in a row."""
    gap = np.round(np.diff(seconds), 3)
    same = (users[2:] == users[:-2]) & (gap[1:] == gap[:-1])
    return _users_with_runs(users[2:], same, MIN_REGULAR - 1)


def _crawled(users: np.ndarray, seconds: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Returns the users with MIN_CRAWLED items in a row in the order of their ids, quickly."""
    step = np.sign(np.diff(items.astype(np.int64)))
    quick = (users[1:] == users[:-1]) & (np.diff(seconds) <= CRAWL_PACE)
    found = [_users_with_runs(users[1:], quick & (step == sign), MIN_CRAWLED - 1) for sign in (1, -1)]
    return np.unique(np.concatenate(found))


def _users_with_runs(users: np.ndarray, holds: np.ndarray, count: int) -> np.ndarray:
    """Returns the users with `count` neighbouring entries that hold. No entry between two users does."""
    before = np.append(0, np.cumsum(holds))  # [n + 1]
    if len(holds) < count:
        return users[:0]
    full = before[count:] - before[:-count] == count
    return np.unique(users[count - 1 :][full])
