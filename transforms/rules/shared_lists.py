"""The rule `shared_list`: several users who went quickly through one and the same long list of items."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from ..contract.hashing import hash_values
from ..read.clock import Clock
from .machines import CRAWL_PACE
from .rule import Rule, RuleInput, shows_seconds

MIN_ITEMS = 50
"""So many different items are a long list."""

MIN_USERS = 3
"""So many users share a list."""


@dataclasses.dataclass(frozen=True)
class SharedLists(Rule):
    """Takes all interactions of users who share a long list with others. It is decided over all shards of the log.

    Only users count who took at most CRAWL_PACE seconds in the mean for each item. People who follow one course, or
    have seen all of a small catalogue, are slower.
    """

    code: ClassVar[str] = "shared_list"
    mode: Literal["auto", "drop", "count"] = "auto"
    """`auto` drops where the clock is fine enough to be certain."""
    shared: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)
    """uint64, ascending: fingerprints of the lists that users share. None until all shards have been looked at."""

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return self.mode != "count"

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        found = np.zeros(len(shard.ordered.offsets) - 1, bool)
        if self.shared is not None and len(self.shared):
            users, fingerprints = list_fingerprints(shard)
            found[users[np.isin(fingerprints, self.shared)]] = True
        return shard.spread_users(found)


def list_fingerprints(shard: RuleInput) -> tuple[np.ndarray, np.ndarray]:
    """Returns the users with a long list that they went through quickly, and its fingerprint: int64 [k], uint64 [k].

    The order of the items does not matter.
    """
    lengths = np.diff(shard.offsets)
    nobody = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    if not shows_seconds(shard.clock):
        return nobody
    long = np.flatnonzero(lengths >= MIN_ITEMS)
    if not len(long):
        return nobody
    begins, ends = shard.offsets[long], shard.offsets[long + 1]
    span = shard.clock.seconds(shard.time[ends - 1]) - shard.clock.seconds(shard.time[begins])
    long = long[span <= CRAWL_PACE * (lengths[long] - 1)]
    chosen = np.isin(shard.users, long)
    width = int(shard.items.max()) + 1
    pairs = np.unique(shard.users[chosen] * width + shard.items[chosen])
    users, items = pairs // width, pairs % width
    begins = np.flatnonzero(np.diff(users, prepend=-1))
    sizes = np.diff(np.append(begins, len(users)))
    hashes = hash_values(shard.ordered.item_ids)[items]
    sums = np.add.reduceat(hashes, begins) if len(begins) else np.zeros(0, np.uint64)
    enough = sizes >= MIN_ITEMS
    return users[begins[enough]], sums[enough]


def shared_fingerprints(fingerprints: list[np.ndarray]) -> np.ndarray:
    """Returns the fingerprints that MIN_USERS users have, uint64, ascending.

    Args:
        fingerprints: Of all shards, each uint64, one for each user with a long list.
    """
    values, counts = np.unique(np.concatenate([np.zeros(0, np.uint64), *fingerprints]), return_counts=True)
    return values[counts >= MIN_USERS]
