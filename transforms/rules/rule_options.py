"""The options of the rules. Commands that read a log with rules bring them along."""

from dataclasses import dataclass
from typing import Literal

from ...models.core.errors import UsageError
from ...models.core.option import MAX_INT32, RULES, check_options, option


@dataclass(frozen=True)
class RuleOptions:
    """Which rules take interactions, and which only count them."""

    file: str | None = option(
        None,
        name="rules",
        help="YAML file with the options of the rules, to share between train and clean. Flags win over it.",
        panel=RULES,
        metavar="FILE",
    )
    duplicates: Literal["auto", "drop", "count"] = option(
        "auto",
        help="The same user, item and time again. auto drops repetitions if times are known to the second, else counts "
        "them.",
        panel=RULES,
    )
    event_column: str | None = option(
        None, help="Column of event ids: the same id of the same user again is a duplicate, and dropped.", panel=RULES
    )
    repeats: Literal["drop", "count"] = option(
        "count", help="The same user and item again, within --repeat-seconds.", panel=RULES
    )
    repeat_seconds: float = option(
        60.0, help="Seconds within which an item is a repeat; 0: none is.", panel=RULES, minimum=0, metavar="S"
    )
    repeat_in_a_row: bool = option(
        False, help="Take an item for a repeat whenever it was the user's previous one as well.", panel=RULES
    )
    machines: Literal["auto", "drop", "count"] = option(
        "auto",
        help="Users at a pace that no person has, with a timer's regularity, or with one long list that several users "
        "share. auto drops them if times are known to the second, else names them.",
        panel=RULES,
    )
    machine_pace: float = option(
        1.0,
        help="Seconds: shortest mean gap between interactions that a person sustains for a minute.",
        panel=RULES,
        above=0,
        metavar="S",
    )
    machine_per_day: int = option(
        10_000, help="Most interactions of a person on one day.", panel=RULES, minimum=1, maximum=MAX_INT32, metavar="N"
    )
    bursts: Literal["drop", "one-per-item", "count"] = option(
        "count",
        help="Many interactions of one user at one instant. one-per-item keeps the first of each item.",
        panel=RULES,
    )
    burst_size: int = option(
        20,
        help="So many interactions at one instant are a burst.",
        panel=RULES,
        minimum=2,
        maximum=MAX_INT32,
        metavar="N",
    )
    nobody: Literal["drop", "count"] = option(
        "count", help="Users whose id stands for nobody, such as nan, None or -1.", panel=RULES
    )
    non_items: str | None = option(
        None,
        help="Ids that are no items: a text file with one on each line, or a Parquet or CSV file with the item column.",
        panel=RULES,
        metavar="FILE",
    )
    catalogue: str | None = option(
        None, help="Catalogue for --non-item-column and --catalogue-only.", panel=RULES, metavar="PATH"
    )
    non_item_column: str | None = option(
        None, help="Column of the catalogue that is true, or not 0, for what is no item.", panel=RULES
    )
    catalogue_only: bool = option(
        False, help="Drop interactions with items that the catalogue does not have.", panel=RULES
    )
    returned_column: str | None = option(
        None, help="Column that says what kind of event a row is, for --returned-values.", panel=RULES
    )
    returned_values: tuple[str, ...] | None = option(
        None,
        help="Comma-separated values of it that take an earlier interaction back, such as cancel,return. Drops both. "
        "With --behaviours: and what each takes back, such as return=purchase.",
        panel=RULES,
        metavar="VALUES",
    )
    value_column: str | None = option(
        None, help="Column of numbers, such as a rating or a dwell time, for the bounds below.", panel=RULES
    )
    min_value: float | None = option(None, help="Drop interactions with a lower value.", panel=RULES, metavar="X")
    max_value: float | None = option(None, help="Drop interactions with a higher value.", panel=RULES, metavar="X")
    after: str | None = option(
        None, help="Drop interactions before this date or time (ISO 8601, UTC).", panel=RULES, metavar="TIME"
    )
    before: str | None = option(
        None, help="Drop interactions at or after this date or time (ISO 8601, UTC).", panel=RULES, metavar="TIME"
    )
    last_days: float | None = option(
        None,
        help="Drop interactions older than D days before the last one of the log.",
        panel=RULES,
        above=0,
        metavar="D",
    )
    first_interactions: int | None = option(
        None, help="Keep at most each user's first N.", panel=RULES, minimum=1, maximum=MAX_INT32, metavar="N"
    )
    last_interactions: int | None = option(
        None,
        help="Keep at most each user's last N. Instead of --first-interactions.",
        panel=RULES,
        minimum=1,
        maximum=MAX_INT32,
        metavar="N",
        instead_of="first_interactions",
    )
    min_user_interactions: int | None = option(
        None,
        help="Drop users with fewer interactions, and items with fewer than --min-item-interactions, until all that "
        "stay have enough.",
        panel=RULES,
        minimum=1,
        maximum=MAX_INT32,
        metavar="N",
    )
    min_item_interactions: int | None = option(
        None,
        help="Drop items with fewer interactions, and users with fewer than --min-user-interactions.",
        panel=RULES,
        minimum=1,
        maximum=MAX_INT32,
        metavar="N",
    )

    max_user_interactions: int | None = option(
        None,
        help="Drop users with more interactions. Upper bounds hold before the lower ones are looked at.",
        panel=RULES,
        minimum=1,
        maximum=MAX_INT32,
        metavar="N",
    )
    max_item_interactions: int | None = option(
        None,
        help="Drop items with more interactions.",
        panel=RULES,
        minimum=1,
        maximum=MAX_INT32,
        metavar="N",
    )

    def __post_init__(self):
        """Refuses values out of range, and options that need another one."""
        check_options(self)
        needs = (
            ("returned_values", "returned_column"),
            ("returned_column", "returned_values"),
            ("min_value", "value_column"),
            ("max_value", "value_column"),
            ("non_item_column", "catalogue"),
            ("catalogue_only", "catalogue"),
        )
        for name, needed in needs:
            if getattr(self, name) not in (None, False) and getattr(self, needed) is None:
                raise _alone(_flag(name), _flag(needed))
        if self.value_column is not None and self.min_value is None and self.max_value is None:
            raise _alone("--value-column", "--min-value or --max-value")
        if self.catalogue is not None and self.non_item_column is None and not self.catalogue_only:
            raise _alone("--catalogue", "--non-item-column or --catalogue-only")
        for what in ("value", "user_interactions", "item_interactions"):
            low, high = f"min_{what}", f"max_{what}"
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise nothing_between(_flag(low), least, _flag(high), most)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the log that the rules read, beside those that every command reads."""
        named = (self.event_column, self.returned_column, self.value_column)
        return tuple(dict.fromkeys(name for name in named if name is not None))


def nothing_between(low: str, least: object, high: str, most: object) -> UsageError:
    """Returns the error about two bounds between which nothing lies."""
    return UsageError(
        f"Nothing lies between {low} and {high}",
        code="OPTION-BOUNDS",
        found=f"{low} {least} and {high} {most}",
        expected=f"{low} below {high}",
        fix="exchange or correct the two",
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _alone(flag: str, other: str) -> UsageError:
    return UsageError(
        f"{flag} needs {other}",
        code="OPTION-NEEDS",
        found=f"{flag} alone",
        fix=f"give {other} too, or leave {flag} out",
    )
