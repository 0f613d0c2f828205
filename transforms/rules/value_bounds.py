"""The rule `value`: a value column, such as a rating or a dwell time, that is below or above a bound."""

import dataclasses
from typing import ClassVar

import numpy as np
import pyarrow as pa

from ..read.clock import Clock
from .rule import Rule, RuleInput


@dataclasses.dataclass(frozen=True)
class ValueBounds(Rule):
    """Takes interactions whose value does not lie within the bounds. A null or NaN does not, as in other libraries."""

    code: ClassVar[str] = "value"
    column: str
    """Column of numbers."""
    minimum: float | None = None
    """Smallest value that stays."""
    maximum: float | None = None
    """Largest value that stays."""

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return True

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        values = shard.column(self.column).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        found = np.zeros(len(values), bool)
        if self.minimum is not None:
            found |= ~(values >= self.minimum)
        if self.maximum is not None:
            found |= ~(values <= self.maximum)
        return shard.spread(found)
