"""The rule `non_item`: interactions with what is no item to recommend, such as postage, bags and test articles."""

import dataclasses
from typing import ClassVar

import numpy as np

from ..contract.hashing import hash_values
from ..read.clock import Clock
from .rule import Rule, RuleInput


@dataclasses.dataclass(frozen=True)
class NonItems(Rule):
    """Takes interactions with items that are named, or that are not in the catalogue."""

    code: ClassVar[str] = "non_item"
    named: np.ndarray = dataclasses.field(repr=False)
    """uint64, ascending: hashes of the ids that are no items."""
    catalogue: np.ndarray | None = dataclasses.field(default=None, repr=False)
    """uint64, ascending: hashes of the only ids that are items. None: all others are."""

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return True

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        hashes = hash_values(shard.ordered.item_ids)
        bad = np.isin(hashes, self.named)
        if self.catalogue is not None:
            bad |= ~np.isin(hashes, self.catalogue)
        return shard.spread(bad[shard.items])
