"""The columns of an interaction log. The command line imports this module, so it imports nothing heavy."""

from dataclasses import dataclass

from ...models.core.errors import UsageError
from ...models.core.option import COLUMNS, check_options, option
from ...models.detector.features import SIMILARITIES

INTERNAL_PREFIX = "__iadsr_"
"""No column of a user's may start with this."""

ROW = f"{INTERNAL_PREFIX}row"
"""Internal column: number of the row in the whole input (files in sorted order), int64."""

TIME = f"{INTERNAL_PREFIX}time"
"""Internal column, where timestamps are strings: the timestamp as an int64 that sorts like it."""

SIMILARITY_COLUMNS = tuple(f"{name}_similarity" for name in SIMILARITIES)


@dataclass(frozen=True)
class InteractionColumns:
    """Which columns of the user's log play which part."""

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
        """Refuses a column that is named for two parts."""
        check_options(self)
        doubled = sorted({name for name in self.required if self.required.count(name) > 1})
        if doubled:
            raise UsageError(
                f"Column {doubled[0]!r} is named for more than one part",
                code="OPTION-COLUMNS",
                found=f"user {self.user!r}, item {self.item!r}, timestamp {self.timestamp!r}, "
                f"position {self.position!r}",
                expected="a column of its own for each",
                fix="correct --user-column, --item-column, --timestamp-column or --position-column",
            )

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (self.user, self.item, self.timestamp, *((self.position,) if self.position else ()))
