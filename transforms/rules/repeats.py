"""The rule `repeat`: the same item again, soon after or in a row, as double clicks and reloads write it."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from ..read.clock import Clock
from .returns import Returns, events_apart
from .rule import Rule, RuleInput


@dataclasses.dataclass(frozen=True)
class Repeats(Rule):
    """Takes an interaction with an item that the user interacted with just before. The first one stays.

    With behaviours, only the same behaviour again is a repeat: to buy what one has just viewed is none. Nor is to
    cancel what one has bought.
    """

    code: ClassVar[str] = "repeat"
    mode: Literal["drop", "count"] = "count"
    within_seconds: float = 60.0
    """The user's last interaction with the same item is at most so long ago. 0 turns this half off."""
    in_a_row: bool = False
    """Whether to take the same item as in the user's previous interaction, however long ago that was."""
    returns: Returns | None = dataclasses.field(default=None, repr=False)
    """What takes an interaction back."""

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return self.mode == "drop"

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        users, items = shard.users, events_apart(shard, self.returns)
        found = np.zeros(len(items), bool)
        if self.in_a_row:
            found[1:] |= (users[1:] == users[:-1]) & (items[1:] == items[:-1])
        # Where the clock is coarser than the window, nothing is known about what lies within it.
        fine = shard.clock.resolution is not None and shard.clock.resolution <= self.within_seconds
        if self.within_seconds > 0 and fine:
            found |= self._soon_after(shard, items)
        return shard.spread(found)

    def _soon_after(self, shard: RuleInput, items: np.ndarray) -> np.ndarray:
        """Returns which open interactions follow one with the same item within the window, bool [n]."""
        users, seconds = shard.users, shard.seconds
        found = np.zeros(len(items), bool)
        # Only interactions with another one of the same user soon before them can be repeats. Most are not.
        near = (users[1:] == users[:-1]) & (np.diff(seconds) <= self.within_seconds)
        rows = np.flatnonzero(np.append(near, False) | np.append(False, near))
        if len(rows):
            key = users[rows] * (int(items.max()) + 1) + items[rows]
            order = np.argsort(key, kind="stable")
            same = np.diff(key[order], prepend=-1) == 0
            soon = np.diff(seconds[rows[order]], prepend=-np.inf) <= self.within_seconds
            found[rows[order[same & soon]]] = True
        return found
