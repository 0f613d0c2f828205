"""The rule `nobody`: user ids that stand for no person, such as "nan" or "-1". One such user has the rows of many."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from ..contract.nobody import is_nobody
from ..read.clock import Clock
from .rule import Rule, RuleInput


@dataclasses.dataclass(frozen=True)
class NobodyUsers(Rule):
    """Takes all interactions of users that are nobody."""

    code: ClassVar[str] = "nobody"
    mode: Literal["drop", "count"] = "count"

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return self.mode == "drop"

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        return shard.spread_users(is_nobody(shard.ordered.user_ids(shard.columns)))
