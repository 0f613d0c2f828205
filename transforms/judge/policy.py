"""What is dropped, and what is protected."""

from dataclasses import dataclass
from typing import Literal

from ...models.core.errors import UsageError
from ...models.core.option import MAX_INT32, POLICY, check_options, option
from ...models.noise.weights import DEFAULT_STRENGTH


@dataclass(frozen=True)
class Policy:
    """What is dropped, and what is protected."""

    file: str | None = option(
        None,
        name="policy",
        help="YAML file with a policy, as iadsr tune writes it: drop_rate, weight_strength and the like. Flags win "
        "over it.",
        panel=POLICY,
        metavar="FILE",
    )
    drop_rate: float | Literal["auto", "weightless"] = option(
        "auto",
        help="Drop the share R of all interactions. Genuine interactions are equally safe at every popularity. auto "
        "drops the noise that the log holds with some certainty. weightless drops what weighs 0.",
        panel=POLICY,
        minimum=0,
        below=1,
        metavar="R|auto|weightless",
    )
    threshold: float | None = option(
        None,
        help="Drop every interaction with at least this noise probability, at any popularity. Instead of --drop-rate.",
        panel=POLICY,
        above=0,
        maximum=1,
        metavar="P",
        instead_of="drop_rate",
    )
    weight_strength: float = option(
        DEFAULT_STRENGTH,
        help="An interaction weighs 1 - S p in training, p being the model's own probability that it is a stray, noise "
        "by itself. 0: all that is kept weighs 1.",
        panel=POLICY,
        minimum=0,
        maximum=1000,
        metavar="S",
    )
    min_weight: float = option(
        0.0,
        help="Nothing that is kept weighs less than this.",
        panel=POLICY,
        minimum=0,
        below=1,
        metavar="W",
    )
    min_length: int = option(
        1,
        help="Never shorten a user below N interactions: the least noisy ones are kept. At 1, no user disappears.",
        panel=POLICY,
        minimum=0,
        maximum=MAX_INT32,
        metavar="N",
    )
    keep_last: int = option(
        0,
        help="Never drop one of a user's last N interactions.",
        panel=POLICY,
        minimum=0,
        maximum=MAX_INT32,
        metavar="N",
    )

    def __post_init__(self):
        """Refuses values out of their range, a threshold beside a drop rate, and weights that drop nothing."""
        check_options(self)
        if self.drop_rate == "weightless" and (self.min_weight > 0 or self.weight_strength <= 1):
            raise UsageError(
                "--drop-rate weightless drops nothing, because nothing can weigh 0",
                code="OPTION-WEIGHTLESS",
                found=f"--weight-strength {self.weight_strength:g} --min-weight {self.min_weight:g}",
                expected="--weight-strength above 1, and --min-weight 0",
                fix="change the weights, or leave out --drop-rate weightless",
            )

    @property
    def weightless_from(self) -> float:
        """The lowest probability of a stray, as the model gives it, of what weighs 0. Above 1: nothing does."""
        return 1 / self.weight_strength if self.min_weight == 0 and self.weight_strength > 1 else 2.0
