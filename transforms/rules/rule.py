"""What a rule is: a name, its parameters, and a pure function over the interactions of one shard."""

import dataclasses
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract.columns import InteractionColumns
from ..read.clock import Clock
from ..read.ordering import OrderedShard


@dataclasses.dataclass(frozen=True)
class RuleInput:
    """The interactions of one shard, as a rule sees them."""

    ordered: OrderedShard
    """All interactions, users together and in time order."""
    columns: InteractionColumns
    """Names of the log's columns."""
    clock: Clock
    """What the times of the whole log mean."""
    open: np.ndarray
    """bool [rows]; false for interactions that an earlier rule has taken."""

    @cached_property
    def rows(self) -> np.ndarray:
        """The open interactions, int64 [n], in order."""
        return np.flatnonzero(self.open)

    @cached_property
    def users(self) -> np.ndarray:
        """The user of each open interaction, int64 [n], ascending."""
        return self._select(self.ordered.users)

    @cached_property
    def items(self) -> np.ndarray:
        """The item of each open interaction, int32 [n], as an index into the shard's items."""
        return self._select(self.ordered.items)

    @cached_property
    def events(self) -> np.ndarray:
        """What each open interaction is, int [n]: equal for the same item and, if the log has them, behaviour."""
        if self.ordered.behaviours is None:
            return self.items
        return self.items.astype(np.int64) * (int(self.ranks.max(initial=0)) + 1) + self.ranks

    @cached_property
    def ranks(self) -> np.ndarray:
        """How strong the behaviour of each open interaction is, int32 [n], see `behaviour_ranks`."""
        behaviours = self.ordered.behaviours
        assert behaviours is not None
        return self._select(behaviours)

    @cached_property
    def time(self) -> np.ndarray:
        """The time of each open interaction, int64 [n], in the unit of the log."""
        return self._select(self.ordered.time)

    @cached_property
    def seconds(self) -> np.ndarray:
        """Seconds of each open interaction since the first time of the log, float64 [n]."""
        return self.clock.seconds(self.time)

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 [users + 1]; user u has the open interactions offsets[u] to offsets[u + 1]."""
        return np.append(0, np.cumsum(self.open))[self.ordered.offsets]

    def _select(self, values: np.ndarray) -> np.ndarray:
        return values if len(self.rows) == len(values) else values[self.rows]

    def without(self, found: np.ndarray) -> "RuleInput":
        """Returns what the next rule sees after this one has taken what it found, bool [rows]."""
        left = RuleInput(self.ordered, self.columns, self.clock, self.open & ~found)
        stays = np.flatnonzero(left.open[self.rows])
        # What has been worked out once is only thinned out.
        for name in self.__dict__.keys() & {"rows", "users", "items", "time", "seconds"}:
            left.__dict__[name] = self.__dict__[name][stays]
        return left

    def column(self, name: str) -> pa.Array:
        """Returns a column of the open interactions, [n], in a type that all of Arrow's functions support."""
        column = self.ordered.table[name]
        column = (column.take(pa.array(self.rows)) if len(self.rows) < len(self.open) else column).combine_chunks()
        if isinstance(column, pa.ExtensionArray):  # UUIDs, JSON, booleans of eight bits
            column = column.storage
        return column.cast(_SUPPORTED[type(column)](column.type)) if type(column) in _SUPPORTED else column

    def spread(self, found: np.ndarray) -> np.ndarray:
        """Returns a mark of open interactions, bool [n], as a mark of all interactions, bool [rows]."""
        if len(self.rows) == len(self.open):
            return found
        marked = np.zeros(len(self.open), bool)
        marked[self.rows] = found
        return marked

    def spread_users(self, found: np.ndarray) -> np.ndarray:
        """Returns a mark of users, bool [users], as a mark of their open interactions, bool [rows]."""
        return self.spread(found[self.users]) if found.any() else np.zeros(len(self.open), bool)


_SUPPORTED = {
    pa.HalfFloatArray: lambda _: pa.float32(),
    pa.Decimal32Array: lambda kind: pa.decimal128(kind.precision, kind.scale),
    pa.Decimal64Array: lambda kind: pa.decimal128(kind.precision, kind.scale),
    pa.FixedSizeBinaryArray: lambda _: pa.binary(),
}
"""A type that holds the same values, for arrays of which Arrow lacks some functions."""


def shows_seconds(clock: Clock) -> bool:
    """Whether a log's times are known to the second or finer."""
    return clock.resolution is not None and clock.resolution <= 1


@dataclasses.dataclass(frozen=True)
class Rule(ABC):
    """A rule. Its fields are its parameters."""

    code: ClassVar[str]
    """Name of the rule, and code of the reason in `models.core.reasons` that an interaction gets."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as the manifest records them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.repr}

    @abstractmethod
    def takes(self, clock: Clock) -> bool:
        """Whether the rule drops what it finds in a log with this clock. Otherwise it only counts and tells."""

    @abstractmethod
    def find(self, shard: RuleInput) -> np.ndarray:
        """Returns which interactions the rule is about, bool [rows]. It never finds one that is not open."""


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type are numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def as_number(text: str) -> float | None:
    """Returns the number that a text writes, None if it writes none."""
    try:
        return float(text)
    except ValueError:
        return None


def _as_integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        number = as_number(text)
        return int(number) if number is not None and number.is_integer() else None


def occurs_in(values: pa.Array, wanted: tuple[str, ...]) -> np.ndarray:
    """Returns which values are among the wanted ones, bool [n]; numbers are compared by value, null is never wanted."""
    kind = values.type
    if pa.types.is_integer(kind):
        # Not as floats, which do not tell large integers apart.
        found = np.zeros(len(values), bool)
        for number in {number for text in wanted if (number := _as_integer(text)) is not None}:
            with suppress(pa.ArrowInvalid, OverflowError):  # out of the range of the type
                same = pc.equal(values, pa.scalar(number, kind))
                found |= same.fill_null(False).to_numpy(zero_copy_only=False)
        return found
    if is_number(kind):
        numbers = [number for number in map(as_number, wanted) if number is not None]
        return np.isin(values.cast(pa.float64()).to_numpy(zero_copy_only=False), np.array(numbers, np.float64))
    if pa.types.is_boolean(kind):
        wanted = tuple(_BOOLEANS.get(text.lower(), text.lower()) for text in wanted)
    # Bytes need not be UTF-8.
    kind = pa.large_binary() if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else pa.large_string()
    value_set = pa.array(wanted, pa.large_string()).cast(kind)
    return pc.is_in(values.cast(kind), value_set=value_set, skip_nulls=True).to_numpy(zero_copy_only=False)


_BOOLEANS = {"1": "true", "0": "false", "yes": "true", "no": "false"}
"""Other ways to write the values of a boolean column."""
