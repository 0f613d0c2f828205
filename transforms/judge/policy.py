"""What is dropped, and what is protected."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...models.core.errors import UsageError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Policy:
    """What is dropped, and what is protected."""

    drop_rate: float | Literal["auto"] = "auto"
    """Share of all interactions to drop, in [0, 1); auto: what the log holds of noise with some certainty."""
    threshold: float | None = None
    """Drop interactions whose noise probability is at least this, in (0, 1]; None: drop by rate."""
    min_length: int = 1
    """Never shorten a user below this many interactions: the least noisy of the dropped ones are kept. At 1, the
    default, no user disappears."""
    keep_last: int = 0
    """Never drop one of a user's last so many interactions."""

    def __post_init__(self):
        """Refuses values outside their range."""
        if self.drop_rate != "auto" and not 0 <= self.drop_rate < 1:
            raise UsageError(
                "--drop-rate is out of range",
                code="OPTION-RATE",
                fix="give --drop-rate a share such as 0.05, or auto",
                found=f"{self.drop_rate:g}",
                expected="0 <= rate < 1",
            )
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise UsageError(
                "--threshold is out of range",
                code="OPTION-THRESHOLD",
                fix="give --threshold a probability such as 0.5",
                found=f"{self.threshold:g}",
                expected="0 < threshold <= 1",
            )
        for name, value in (("--min-length", self.min_length), ("--keep-last", self.keep_last)):
            if value < 0:
                raise UsageError(
                    f"{name} is negative",
                    code="OPTION-NEGATIVE",
                    fix=f"give {name} a whole number such as 1",
                    found=str(value),
                    expected="0 or more",
                )
