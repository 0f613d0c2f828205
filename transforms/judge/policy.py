"""What is dropped, and what is protected."""

from dataclasses import dataclass
from typing import Literal

from ...models.core.option import MAX_INT32, POLICY, check_options, option


@dataclass(frozen=True)
class Policy:
    """What is dropped, and what is protected."""

    drop_rate: float | Literal["auto"] = option(
        "auto",
        help="Drop the share R of all interactions. Genuine interactions are equally safe at every popularity. auto "
        "drops the noise that the log holds with some certainty.",
        panel=POLICY,
        minimum=0,
        below=1,
        metavar="R|auto",
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
        """Refuses values out of their range, and a threshold beside a drop rate."""
        check_options(self)
