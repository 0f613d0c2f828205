"""The rule `core`: users and items with too many interactions are removed, then those with too few.

Those with too few are removed in turn until all that stay have enough.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from ..contract.hashing import hash_values
from ..read.clock import Clock
from .rule import Rule, RuleInput


class Edges(NamedTuple):
    """The interactions of one shard that no other rule has taken."""

    users: np.ndarray
    """int [n], the user of each, as a number below the shard's number of users."""
    items: np.ndarray
    """int [n], the item of each, as an index into `item_hashes`."""
    item_hashes: np.ndarray
    """uint64, a hash of each item's id."""


@dataclasses.dataclass(frozen=True)
class Core(Rule):
    """Takes interactions outside the core of the log.

    Users and items with more interactions than the upper bounds are left out first. The core is the largest part of the
    rest in which every user has at least `min_user_interactions`, and every item at least `min_item_interactions`. It
    is decided over all shards.
    """

    code: ClassVar[str] = "core"
    min_user_interactions: int = 1
    min_item_interactions: int = 1
    max_user_interactions: int | None = None
    max_item_interactions: int | None = None
    items: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)
    """uint64, ascending: hashes of the items in the core. None until all shards have been looked at."""

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return True

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        if self.items is None:
            return shard.spread(np.zeros(len(shard.rows), bool))
        inside = np.isin(hash_values(shard.ordered.item_ids), self.items)[shard.items]
        inside &= self.users_below(shard.users)[shard.users]
        # An item of the core has all its interactions with users of the core, so it decides about the users too.
        count = np.bincount(shard.users[inside], minlength=len(shard.ordered.offsets) - 1)
        return shard.spread(~inside | (count < self.min_user_interactions)[shard.users])

    def users_below(self, users: np.ndarray) -> np.ndarray:
        """Returns which users have at most `max_user_interactions`, bool [users].

        Args:
            users: The user of each interaction, as a number.
        """
        counts = np.bincount(users)
        most = self.max_user_interactions
        return np.ones(len(counts), bool) if most is None else counts <= most


def core_items(shards: Sequence[Callable[[], Edges]], core: Core) -> np.ndarray:
    """Returns the hashes of the items in the core of a log, uint64, ascending.

    Args:
        shards: Give the interactions of each shard. They are read again in every round, so that one shard at a time
            is in memory.
        core: The bounds.
    """
    known = np.unique(np.concatenate([np.zeros(0, np.uint64), *(shard().item_hashes for shard in shards)]))
    alive = np.ones(len(known), bool)
    if core.max_item_interactions is not None:
        counts = np.zeros(len(known), np.int64)
        for shard in shards:
            _, items, item_hashes = shard()
            place = np.searchsorted(known, item_hashes)
            np.add.at(counts, place, np.bincount(items, minlength=len(place)))
        alive = counts <= core.max_item_interactions
    while True:
        counts = np.zeros(len(known), np.int64)
        for shard in shards:
            users, items, item_hashes = shard()
            place = np.searchsorted(known, item_hashes)
            inside = alive[place][items] & core.users_below(users)[users]
            enough = np.bincount(users[inside], minlength=int(users.max(initial=-1)) + 1) >= core.min_user_interactions
            np.add.at(counts, place, np.bincount(items[inside & enough[users]], minlength=len(place)))
        still = alive & (counts >= max(core.min_item_interactions, 1))
        if (still == alive).all():
            return known[alive]
        alive = still
