"""The columns of an interaction log, and the columns that a run uses internally.

You need this whenever you name a column. The command line imports it, so it imports nothing heavy.
"""

from dataclasses import dataclass
from typing import Literal

from ...models.core.errors import UsageError
from ...models.core.option import COLUMNS, check_options, option
from ...models.detector.features import SIMILARITIES
from .time_formats import check_format, check_timezone

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
    """The names of the user's columns, by the role that each one plays, and how their values are read."""

    user: str = option("user_id", name="user_column", help="User ids: string, integer or UUID.", panel=COLUMNS)
    item: str = option("item_id", name="item_column", help="Item ids: string, integer or UUID.", panel=COLUMNS)
    timestamp: str = option(
        "timestamp",
        name="timestamp_column",
        help="Times: number of any unit, timestamp, date or text.",
        panel=COLUMNS,
    )
    position: str | None = option(
        None,
        name="position_column",
        help="Integers that order a user's interactions of equal time. Without it: by item id, then input order.",
        panel=COLUMNS,
    )
    behaviour: str | None = option(
        None,
        name="behaviour_column",
        help="What the user did with the item, such as view, cart or purchase. All that a user does with one item is "
        "one journey then, and counts once.",
        panel=COLUMNS,
    )
    behaviours: tuple[str, ...] | None = option(
        None,
        help="Comma-separated values of --behaviour-column, weakest first: view,cart,purchase. The last one ends a "
        "journey. Without it: behaviours have no order, and nothing ends a journey.",
        panel=COLUMNS,
        metavar="NAMES",
    )

    timestamp_unit: Literal["s", "ms", "us", "ns"] | None = option(
        None,
        help="Unit of times that are numbers or timestamps. Those of another unit are converted to it; numbers show "
        "theirs by their magnitude. Without it, a log that mixes units is refused.",
        panel=COLUMNS,
    )
    timestamp_format: str | None = option(
        None,
        help="Format of times that are text, as for strptime: '%d/%m/%Y %H:%M'. Without it: ISO 8601 in its usual "
        "variants, and numbers.",
        panel=COLUMNS,
        metavar="FORMAT",
    )
    timezone: str | None = option(
        None,
        help="Zone of times that do not say theirs, such as Europe/Paris. Without it: UTC.",
        panel=COLUMNS,
        metavar="ZONE",
    )
    carried: tuple[str, ...] | None = option(
        None,
        name="columns",
        help="Comma-separated other columns to carry through, or those to leave out, each with a minus: "
        "--columns=-tags,-geo. Without it: all.",
        panel=COLUMNS,
        metavar="NAMES",
    )
    reject_users: tuple[str, ...] | None = option(
        None,
        help="Comma-separated users whose rows are rejected. nobody: ids that stand for no one, such as nan, None, -1, "
        "or a nil UUID.",
        panel=COLUMNS,
        metavar="IDS",
    )
    forget: str | None = option(
        None,
        help="Text file with one user id per line: users to be forgotten. Their rows are rejected, and none of their "
        "values is written anywhere.",
        panel=COLUMNS,
        metavar="FILE",
    )

    def __post_init__(self):
        """Refuses a column that is named for two roles, and a format or time zone that is none."""
        check_options(self)
        if self.timestamp_format is not None:
            check_format(self.timestamp_format)
        if self.timezone is not None:
            check_timezone(self.timezone)
        if self.carried and len({name.startswith("-") for name in self.carried}) > 1:
            raise UsageError(
                "--columns names columns to carry and columns to leave out",
                code="OPTION-CARRIED",
                found=", ".join(self.carried),
                expected="all with a minus, or none",
                fix="name either those to carry or those to leave out",
            )
        doubled = sorted({name for name in self.required if self.required.count(name) > 1})
        if doubled:
            raise UsageError(
                f"Column {doubled[0]!r} is named for more than one role",
                code="OPTION-COLUMNS",
                found=f"user {self.user!r}, item {self.item!r}, timestamp {self.timestamp!r}, "
                f"position {self.position!r}" + (f", behaviour {self.behaviour!r}" if self.behaviour else ""),
                expected="a different column for each role",
                fix="correct --user-column, --item-column, --timestamp-column, --position-column or --behaviour-column",
            )
        if self.behaviours is not None:
            self._check_behaviours(self.behaviours)

    def _check_behaviours(self, named: tuple[str, ...]) -> None:
        doubled = not all(named) or len(set(named)) < len(named)
        if doubled or self.behaviour is None:
            raise UsageError(
                "--behaviours names a behaviour twice, or an empty one"
                if doubled
                else "--behaviours needs --behaviour-column",
                code="OPTION-BEHAVIOURS",
                found=f"--behaviours {','.join(named)}",
                expected="each behaviour once, weakest first, and the column that holds them: "
                "--behaviour-column event --behaviours view,cart,purchase",
                fix="correct --behaviours, or name the column with --behaviour-column",
            )

    @property
    def keeps_only(self) -> bool:
        """Whether only the columns that are named are carried."""
        return self.carried is not None and not any(name.startswith("-") for name in self.carried)

    @property
    def named_carried(self) -> tuple[str, ...]:
        """The columns that --columns names, to carry or to leave out."""
        return tuple(name.removeprefix("-") if not self.keeps_only else name for name in self.carried or ())

    def reads(self, name: str) -> bool:
        """Whether a column is read. What is not read is as if the files did not have it."""
        return self.carried is None or name in self.required or (name in self.named_carried) == self.keeps_only

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that every file of the log must have."""
        return (self.user, self.item, self.timestamp, *filter(None, (self.position, self.behaviour)))
