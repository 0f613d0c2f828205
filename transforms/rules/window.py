"""The rule `window`: interactions outside a span of time, or beyond the first or last of a user."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from ..read.clock import Clock
from .rule import Rule, RuleInput

DAY = 86_400.0


@dataclasses.dataclass(frozen=True)
class Window(Rule):
    """Takes interactions outside the window.

    All bounds hold together. Of what they leave, a user keeps the first or the last interactions.
    """

    code: ClassVar[str] = "window"
    after: float | None = None
    """Seconds since 1970. Interactions at this time or later stay."""
    before: float | None = None
    """Seconds since 1970. Interactions before this time stay."""
    last_days: float | None = None
    """Interactions of so many days before the last time of the log stay."""
    first_interactions: int | None = None
    """So many of each user's first interactions stay."""
    last_interactions: int | None = None
    """So many of each user's last interactions stay."""

    @property
    def parameters(self) -> dict[str, Any]:
        """See `Rule`; times as ISO 8601."""
        return {**super().parameters, "after": _moment(self.after), "before": _moment(self.before)}

    @property
    def names_times(self) -> bool:
        """Whether a bound is a time."""
        return any(bound is not None for bound in (self.after, self.before, self.last_days))

    def takes(self, clock: Clock) -> bool:
        """See `Rule`."""
        return True

    def find(self, shard: RuleInput) -> np.ndarray:
        """See `Rule`."""
        found = np.zeros(len(shard.rows), bool)
        if self.after is not None:
            found |= shard.seconds < self.after - shard.clock.start
        if self.before is not None:
            found |= shard.seconds >= self.before - shard.clock.start
        if self.last_days is not None:
            (last,) = shard.clock.seconds(np.array([shard.clock.last]))
            found |= shard.seconds <= last - self.last_days * DAY
        inside = np.append(0, np.cumsum(~found))  # [n + 1]
        rank = inside[:-1] - inside[shard.offsets[:-1]][shard.users]  # among those of the user that are inside
        count = np.diff(inside[shard.offsets])[shard.users]
        if self.first_interactions is not None:
            found |= rank >= self.first_interactions
        if self.last_interactions is not None:
            found |= rank < count - self.last_interactions
        return shard.spread(found)


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    # Unlike datetime, this has no first and no last year.
    moment = np.datetime64(round(seconds * 1_000_000), "us")
    return np.datetime_as_string(moment, "s" if seconds.is_integer() else "us") + "Z"
