"""The columns of an interaction log, and the columns that a run uses internally.

You need this whenever you name a column. The command line imports it, so it imports nothing heavy.
"""

from dataclasses import dataclass

from ...models.core.errors import UsageError
from ...models.core.option import COLUMNS, check_options, option
from ...models.detector.features import SIMILARITIES

INTERNAL_PREFIX = "__iadsr_"
"""Prefix of the internal columns. No column of the user's log may start with it."""

ROW = f"{INTERNAL_PREFIX}row"
"""Internal column: the number of the row in the whole input, int64. Files count in sorted order."""

TIME = f"{INTERNAL_PREFIX}time"
"""Internal column: the timestamp as an int64 that sorts like it. Only logs whose timestamps are strings have it."""

SIMILARITY_COLUMNS = tuple(f"{name}_similarity" for name in SIMILARITIES)
"""Columns that show how similar an interaction is to its context, one for each similarity of the model."""


@dataclass(frozen=True)
class InteractionColumns:
    """The names of the user's columns, by the role that each one plays."""

    user: str = option("user_id", name="user_column", help="User ids: string or integer.", panel=COLUMNS)
    item: str = option("item_id", name="item_column", help="Item ids: string or integer.", panel=COLUMNS)
    timestamp: str = option(
        "timestamp",
        name="timestamp_column",
        help="Times: number of any unit, timestamp, date or ISO 8601 string.",
        panel=COLUMNS,
    )
    position: str | None = option(
        None,
        name="position_column",
        help="Integers that order a user's interactions of equal time. Without it: by item id, then input order.",
        panel=COLUMNS,
    )

    def __post_init__(self):
        """Refuses a column that is named for two roles."""
        check_options(self)
        doubled = sorted({name for name in self.required if self.required.count(name) > 1})
        if doubled:
            raise UsageError(
                f"Column {doubled[0]!r} is named for more than one role",
                code="OPTION-COLUMNS",
                found=f"user {self.user!r}, item {self.item!r}, timestamp {self.timestamp!r}, "
                f"position {self.position!r}",
                expected="a different column for each role",
                fix="correct --user-column, --item-column, --timestamp-column or --position-column",
            )

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that every file of the log must have."""
        return (self.user, self.item, self.timestamp, *((self.position,) if self.position else ()))
