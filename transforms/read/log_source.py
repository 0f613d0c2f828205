"""Where an interaction log is, what its columns are called, and what happens to what cannot be used of it."""

from dataclasses import dataclass, field
from typing import Literal

from ...models.core.option import PATHS, RUN, check_options, option
from ..contract.columns import InteractionColumns

OnBadFile = Literal["fail", "skip"]
"""What to do about a file that cannot be used: stop with an error, or leave the file out and report it."""

MAX_REJECTED = 0.1
"""If more than one row in ten is unusable, a wrong column is named, or somebody should look at the log first."""


@dataclass(frozen=True)
class LogSource:
    """An interaction log, and how it is read."""

    path: str = option(name="interactions", help="Interaction log: Parquet file, directory or glob.", panel=PATHS)
    columns: InteractionColumns = field(default_factory=InteractionColumns)
    """Names of its columns."""
    on_bad_file: OnBadFile = option(
        "fail",
        help="What to do about a file that cannot be used: fail, or skip it and say so. If only some row groups of a "
        "file cannot be read, skip rejects their rows.",
        panel=RUN,
    )
    max_rejected: float = option(
        MAX_REJECTED,
        help="Stop if more than this share of the rows is unusable.",
        panel=RUN,
        minimum=0,
        maximum=1,
        metavar="SHARE",
    )

    def __post_init__(self):
        """Refuses values out of their range."""
        check_options(self)
