"""The names of the columns that cleaning adds to a log, for logs that have columns of these names themselves.

The command line imports this module, so it imports nothing heavy.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ...models.core.errors import UsageError
from ...models.core.option import COLUMNS, check_options, option
from .columns import INTERNAL_PREFIX, SIMILARITY_COLUMNS

ADDED_COLUMNS = ("noise_probability", "keep", "reason", "weight", *SIMILARITY_COLUMNS, "split")
"""The columns that cleaning adds to every interaction, in their order. See `ADDED_FIELDS` for their types."""

_SCORED_COLUMNS = ("noise_probability", *SIMILARITY_COLUMNS)
"""Those that only a model gives."""

SPLITS = ("train", "validation", "test")
"""Values of the column `split`."""


def added_columns(*, scored: bool, split: bool) -> tuple[str, ...]:
    """Returns those of ADDED_COLUMNS that a run adds.

    Args:
        scored: Whether a model scores the interactions.
        split: Whether each user's last interactions are held out.
    """
    left_out = {*(() if scored else _SCORED_COLUMNS), *(() if split else ("split",))}
    return tuple(column for column in ADDED_COLUMNS if column not in left_out)


@dataclass(frozen=True)
class AddedColumns:
    """How the columns that cleaning adds are called in the output."""

    prefix: str | None = option(
        None,
        name="added_prefix",
        help="Put this before the name of every column that cleaning adds, such as iadsr_ for a log that has a column "
        "weight itself.",
        panel=COLUMNS,
        metavar="PREFIX",
    )
    names: tuple[str, ...] | None = option(
        None,
        name="added_names",
        help="Comma-separated names for single columns that cleaning adds: weight=my_weight,keep=my_keep.",
        panel=COLUMNS,
        metavar="NAME=NEW",
    )

    def __post_init__(self):
        """Refuses names that cannot be written, or that no reader could tell apart."""
        check_options(self)
        if problem := self._find_problem():
            raise UsageError(
                "The columns that cleaning adds cannot have these names",
                code="OPTION-ADDED",
                found=problem,
                expected=f"NAME=NEW with NAME one of {', '.join(ADDED_COLUMNS)}, and a name of its own for each",
                fix="correct --added-prefix or --added-names",
            )

    def written(self, *, scored: bool, split: bool = False) -> dict[str, str]:
        """Returns the name in the output of each added column, by its name in ADDED_COLUMNS and in that order.

        Args:
            scored: Whether a model scores the interactions.
            split: Whether each user's last interactions are held out.
        """
        renamed = dict(self._pairs())
        columns = added_columns(scored=scored, split=split)
        return {column: renamed.get(column, f"{self.prefix or ''}{column}") for column in columns}

    def taken(self, names: Iterable[str], *, scored: bool, split: bool = False) -> dict[str, str]:
        """Finds columns of a log that bear the name of an added one.

        Names that differ only in case count as equal, because Spark does not tell them apart.

        Args:
            names: Names of all columns of the log.
            scored: Whether a model scores the interactions.
            split: Whether each user's last interactions are held out.

        Returns:
            The log's column by the added one, under its name in ADDED_COLUMNS.
        """
        there = {name.lower(): name for name in names}
        written = self.written(scored=scored, split=split)
        return {column: there[name.lower()] for column, name in written.items() if name.lower() in there}

    def _pairs(self) -> list[tuple[str, str]]:
        split = (pair.partition("=") for pair in self.names or ())
        return [(column.strip(), name.strip()) for column, _, name in split]

    def _find_problem(self) -> str | None:
        columns = [column for column, _ in self._pairs()]
        for column in columns:
            if column not in ADDED_COLUMNS:
                return f"{column!r}, which is not a column that cleaning adds"
            if columns.count(column) > 1:
                return f"two names for {column}"
        written = list(self.written(scored=True, split=True).values())
        for name in written:
            if not name or not name.isprintable():
                return f"the name {name!r}"
            if name.startswith(INTERNAL_PREFIX):
                return f"{name!r}, which starts with the reserved {INTERNAL_PREFIX}"
            if [other.lower() for other in written].count(name.lower()) > 1:
                return f"two columns named {name!r}, or the same but for case"
        return None


def is_cleaned(names: Iterable[str]) -> bool:
    """Whether a table with these columns is the output of an earlier run, with a prefix or without.

    It is known by the columns whose names nothing else uses. The others may have been renamed one by one.
    """
    names, first, *others = set(names), "noise_probability", *SIMILARITY_COLUMNS
    prefixes = [name.removesuffix(first) for name in names if name.endswith(first)]
    return any(names.issuperset(prefix + column for column in others) for prefix in prefixes)
