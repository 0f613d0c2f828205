"""What the times of a log mean: their unit, how fine they are, when they begin and end, and what is odd about them.

You need this wherever the seconds between two interactions count. `time_of` gives integers that sort like the times,
and one shard does not show what they mean: that is found from the whole log. Each part of the log gives a `TimeFacts`,
these are merged in any order, and `Clock.of` reads the result.
"""

import time as system_time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa

from ..contract.arrow_types import is_string_type
from ..contract.columns import InteractionColumns
from .time_texts import EARLIEST, LATEST, NANOSECONDS, UNITS, count_zones
from .timestamps import decode_float, decode_text, time_of

Kind = Literal["timestamp", "integer", "float", "text", "none"]
"""How the integers of `time_of` were made; "none" if there is no row."""

RESOLUTIONS = (1, 60, 3600, 86_400)
"""Seconds of which all times of a log may be multiples."""

SUB_SECOND = 0.001
"""Resolution of a log whose times are finer than a second."""

MAX_AHEAD = 86_400
"""Seconds that a time may lie ahead of now: clocks differ, and so do time zones."""

MIN_SHARE = 0.99
"""Share of the times that must be multiples of a resolution. A few odd rows do not make a log of days a fine one."""

MIN_UNIT_SHARE = 0.9
"""Share of numbers that must be times in one unit. Numbers that grow from 0 pass through all units."""

MIN_FLOAT32_TIMES = 5
"""So many different times cannot all be numbers that float32 can hold by chance."""

_DAY = 86_400

_NO_TIME_DAYS = ("0001-01-01", "1753-01-01", "1900-01-01", "9999-12-31")
"""Days that programs write for "no time"."""

_DAY_NUMBERS = {day: (datetime.fromisoformat(day) - datetime(1970, 1, 1)).days for day in _NO_TIME_DAYS}

_NO_TIME_NUMBERS = {
    0: "0 (1970-01-01)",
    -1: "-1",
    -(2**63): "-2^63",
    2**63 - 1: "2^63-1",
    2**31 - 1: "2^31-1 (2038-01-19)",
}
"""Numbers that programs write for "no time", in any unit."""


@dataclass(frozen=True)
class Span:
    """Times of about the same magnitude."""

    rows: int
    """Number of rows."""
    first: int
    """The earliest, as `time_of` gives it."""
    last: int
    """The latest, as `time_of` gives it."""
    whole: tuple[int, ...] = (0, 0, 0, 0)
    """Number of rows whose time is a multiple of each of RESOLUTIONS."""
    ahead: int = 0
    """Number of rows whose time lies in the future."""

    def __add__(self, other: "Span") -> "Span":
        """Returns the span of both."""
        whole = tuple(one + two for one, two in zip(self.whole, other.whole, strict=True))
        first, last = min(self.first, other.first), max(self.last, other.last)
        return Span(self.rows + other.rows, first, last, whole, self.ahead + other.ahead)


@dataclass(frozen=True)
class TimeFacts:
    """What can be counted of the times in one part of a log."""

    kind: Kind = "none"
    """How the integers were made."""
    unit: str | None = None
    """The unit, one of UNITS; None if numbers must show it by their magnitude."""
    spans: dict[str, Span] = field(default_factory=dict)
    """Times by magnitude. Numbers whose unit is not known: each of UNITS in which the number is a time between EARLIEST
    and LATEST, "small" below all of them, "other" between or above. Times: "time" from EARLIEST to LATEST, else
    "before" or "beyond"."""
    sentinels: dict[str, int] = field(default_factory=dict)
    """Number of rows with a value that means "no time", by that value. They are in no span."""
    float32: int = 0
    """Number of rows in parts of the log that have been through float32, which keeps no seconds of the present."""
    naive: int = 0
    """Number of rows whose time is a text without a zone."""
    utc: int = 0
    """Number of rows whose time is a text that says UTC."""
    zoned: int = 0
    """Number of rows whose time is a text with another zone."""
    numbers: int = 0
    """Number of rows whose time is a number written as text."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(span.rows for span in self.spans.values()) + sum(self.sentinels.values())


def merge_facts(parts: Iterable[TimeFacts]) -> TimeFacts:
    """Returns the facts of a whole log from those of its parts. Their order does not matter."""
    merged = [part for part in parts if part.kind != "none"]
    if not merged:
        return TimeFacts()
    spans: dict[str, Span] = {}
    sentinels: Counter[str] = Counter()
    for part in merged:
        sentinels.update(part.sentinels)
        for name, span in part.spans.items():
            spans[name] = spans[name] + span if name in spans else span
    return TimeFacts(
        merged[0].kind,
        merged[0].unit,
        dict(sorted(spans.items())),
        dict(sorted(sentinels.items())),
        sum(part.float32 for part in merged),
        sum(part.naive for part in merged),
        sum(part.utc for part in merged),
        sum(part.zoned for part in merged),
        sum(part.numbers for part in merged),
    )


def time_facts(valid: pa.Table, columns: InteractionColumns) -> TimeFacts:
    """Counts what Clock needs to know of valid rows, as `validate` returns them."""
    if not len(valid):
        return TimeFacts()
    kind, unit = kind_of(valid.schema.field(columns.timestamp).type)
    if kind in ("integer", "float"):
        unit = columns.timestamp_unit
    facts = _count(time_of(valid, columns), kind, unit)
    if kind != "text":
        return facts
    naive, utc, zoned, numbers = count_zones(valid[columns.timestamp], columns.timestamp_format)
    return replace(facts, naive=naive, utc=utc, zoned=zoned, numbers=numbers)


def kind_of(data_type: pa.DataType) -> tuple[Kind, str | None]:
    """Returns how `time_of` makes integers of a type of times, and their unit, None if the type does not tell it."""
    if pa.types.is_timestamp(data_type):
        return "timestamp", data_type.unit
    if pa.types.is_date(data_type):
        return "timestamp", "ms"
    if is_string_type(data_type):
        return "text", "ns"
    return ("float" if pa.types.is_floating(data_type) else "integer"), None


def _count(time: np.ndarray, kind: Kind, unit: str | None) -> TimeFacts:
    """Counts times as `time_of` gives them, int64 [rows]."""
    values = decode_float(time) if kind == "float" else time
    low, high = values.min(), values.max()
    names, edges = _classes(unit)
    first_class, last_class = np.searchsorted(edges, [low, high], side="right")
    sentinels: dict[str, int] = {}
    if first_class == last_class and names[first_class] not in ("small", "other", "before", "beyond"):
        classes = None  # the usual case: all times are of one magnitude
    else:
        usual, sentinels = _find_sentinels(values, kind, unit)
        if sentinels:
            time, values = time[usual], values[usual]
        classes = np.searchsorted(edges, values, side="right") if len(values) else np.zeros(0, np.int64)
    spans: dict[str, Span] = {}
    for number in (first_class,) if classes is None else np.unique(classes):
        mine = slice(None) if classes is None else classes == number
        span = _span(time[mine], values[mine], names[number], kind, unit)
        spans[names[number]] = spans[names[number]] + span if names[number] in spans else span
    float32 = len(time) if _was_float32(values, spans, kind, unit) else 0
    return TimeFacts(kind, unit, spans, sentinels, float32)


def _classes(unit: str | None) -> tuple[list[str], np.ndarray]:
    """Returns the names of magnitudes, and the edges between them."""
    if unit is not None:
        per_second = UNITS[unit]
        return ["before", "time", "beyond"], np.array([EARLIEST * per_second, LATEST * per_second])
    names, edges = ["small"], []
    for name, per_second in UNITS.items():
        names += [name, "other"]
        edges += [EARLIEST * per_second, LATEST * per_second]
    return names, np.array(edges)


def _find_sentinels(values: np.ndarray, kind: Kind, unit: str | None) -> tuple[np.ndarray, dict[str, int]]:
    """Returns which values are times, bool [rows], and the number of the others by value."""
    usual, found = np.ones(len(values), bool), Counter[str]()

    def mark(label: str, same: np.ndarray) -> None:
        same = same & usual
        if rows := int(same.sum()):
            found[label] += rows
            usual[same] = False

    if unit is not None:
        seconds = _whole_seconds(values, kind, unit)
        mark("1970-01-01", seconds == 0)
        mark("1969-12-31T23:59:59", seconds == -1)
        for day, number in _DAY_NUMBERS.items():
            mark(day, seconds // 86_400 == number)
        return usual, dict(found)
    for number, label in _NO_TIME_NUMBERS.items():
        mark(label, values == number)
    far = np.flatnonzero((np.abs(values.astype(np.float64)) > LATEST) & usual)
    for per_second in UNITS.values():
        days = values[far] // (86_400 * per_second)
        for day, number in _DAY_NUMBERS.items():
            same = np.zeros(len(values), bool)
            same[far[days == number]] = True
            mark(day, same)
    return usual, dict(found)


def _whole_seconds(values: np.ndarray, kind: Kind, unit: str) -> np.ndarray:
    return decode_text(values)[0] if kind == "text" else values // UNITS[unit]


def _span(time: np.ndarray, values: np.ndarray, name: str, kind: Kind, unit: str | None) -> Span:
    rows, first, last = len(time), int(time.min()), int(time.max())
    unit = name if name in UNITS else unit
    if unit is None:
        return Span(rows, first, last)
    now = int(system_time.time()) + MAX_AHEAD
    if kind == "text" and name != "time":  # else they are nanoseconds
        seconds, rest = decode_text(values)
        ahead, seconds = int((seconds > now).sum()), seconds[rest == 0]
    else:
        ahead = int((values > now * UNITS[unit]).sum()) if values.max() > now * UNITS[unit] else 0
        seconds = _seconds_of_whole(values, UNITS[unit])
    whole = [len(seconds)]
    for resolution in RESOLUTIONS[1:]:
        seconds = seconds[seconds % resolution == 0]
        whole.append(len(seconds))
    return Span(rows, first, last, tuple(whole), ahead)


def _seconds_of_whole(values: np.ndarray, per_second: int) -> np.ndarray:
    """Returns the seconds of those times that are whole seconds."""
    if values.dtype.kind == "f":
        whole = values.astype(np.int64)
        values = whole[whole == values]
    if per_second == 1:
        return values
    seconds = values // per_second
    return seconds[seconds * per_second == values]


def _was_float32(values: np.ndarray, spans: dict[str, Span], kind: Kind, unit: str | None) -> bool:
    """Whether all times are numbers that float32 can hold. Times of the present are minutes apart then.

    Whole days are such numbers anyway, in seconds: since 1970, or at one time of the day, such as midnight in another
    zone. Their order is not lost.
    """
    if kind == "text" or not any(name in UNITS or name == "time" for name in spans):
        return False
    numbers = values if unit is None else values / UNITS[unit]

    def holds(part: np.ndarray) -> bool:
        return bool((part.astype(np.float32).astype(np.float64) == part).all())

    if not holds(numbers[:64]) or not holds(numbers):
        return False
    days = sum(span.whole[-1] for span in spans.values())
    if days == len(values) or len(np.unique(values)) < MIN_FLOAT32_TIMES:
        return False
    day = _DAY * UNITS[unit or next(name for name in UNITS if name in spans)]
    return len(np.unique(values % day)) > 1


@dataclass(frozen=True)
class Clock:
    """What the integers of `time_of` mean in one log."""

    kind: Kind
    """How the integers were made: from Arrow timestamps, plain integers, the bits of floats, or texts."""
    unit: str | None
    """Unit of the times, one of UNITS. None if it is not known: ranks, years, or several units in one log."""
    resolution: float | None
    """Seconds of which almost all times are multiples: 86400, 3600, 60, 1, or SUB_SECOND for anything finer. None if
    the unit is not known."""
    first: int
    """The earliest time, as `time_of` gives it. Sentinels do not count."""
    last: int
    """The latest time, as `time_of` gives it. Sentinels do not count."""
    rows: int
    """Number of rows."""
    facts: TimeFacts
    """The counts from which this was found."""

    @classmethod
    def of(cls, facts: TimeFacts) -> "Clock":
        """Finds the meaning of a log's times from the facts of the whole log."""
        spans = facts.spans
        usual = sum(span.rows for span in spans.values())
        units = [name for name in UNITS if name in spans]
        unit = facts.unit
        if unit is None and len(units) == 1 and spans[units[0]].rows >= MIN_UNIT_SHARE * usual:
            unit = units[0]
        timed = [span for name, span in spans.items() if name not in ("small", "other")]
        resolution = None if unit is None or not timed else _resolution(timed)
        ends = [end for span in spans.values() for end in (span.first, span.last)]
        if unit is None:  # ranks that begin at 0, say
            ends += [number for number, label in _NO_TIME_NUMBERS.items() if label in facts.sentinels]
        return cls(facts.kind, unit, resolution, min(ends, default=0), max(ends, default=0), facts.rows, facts)

    def seconds(self, time: np.ndarray) -> np.ndarray:
        """Returns the seconds since the first time of the log, float64 [rows].

        Differences are exact to a microsecond within some centuries.

        Args:
            time: Times of this log as `time_of` gives them, int64 [rows].

        Raises:
            ValueError: The unit is not known.
        """
        if self.unit is None:
            raise ValueError("the unit of the times is not known")
        first = np.array([self.first])
        if self.kind == "text":
            (seconds, rest), (first_second, first_rest) = decode_text(time), decode_text(first)
            return (seconds - first_second) + (rest - first_rest) / NANOSECONDS
        per_second = UNITS[self.unit]
        if self.kind == "float":
            return (decode_float(time) - decode_float(first)) / per_second
        if per_second == 1:  # a division would take longer than all else here
            return (time - self.first).astype(np.float64)
        # Not the difference of the integers, which a sentinel may lead out of their range.
        (whole, rest), (first_whole, first_rest) = np.divmod(time, per_second), divmod(self.first, per_second)
        return (whole - first_whole) + (rest - first_rest) / per_second

    def days(self, time: np.ndarray) -> np.ndarray:
        """Returns the days since 1970, in UTC, of times of this log as `time_of` gives them, int64 [rows].

        Raises:
            ValueError: The unit is not known.
        """
        if self.unit is None:
            raise ValueError("the unit of the times is not known")
        if self.kind == "text":
            return decode_text(time)[0] // _DAY
        values = decode_float(time) if self.kind == "float" else time
        return (values // (UNITS[self.unit] * _DAY)).astype(np.int64)

    @property
    def start(self) -> float:
        """The first time, in seconds since 1970.

        Raises:
            ValueError: The unit is not known.
        """
        if self.unit is None:
            raise ValueError("the unit of the times is not known")
        if self.kind == "text":
            seconds, rest = decode_text(np.array([self.first]))
            return float(seconds[0] + rest[0] / NANOSECONDS)
        first = float(decode_float(np.array([self.first]))[0]) if self.kind == "float" else self.first
        return first / UNITS[self.unit]

    def moment(self, time: int) -> str:
        """Returns one time for people: ISO 8601 to the second, or the number itself where the unit is not known."""
        value = decode_float(np.array([time]))[0] if self.kind == "float" else time
        if self.unit is None:
            return f"{value:.15g}" if self.kind == "float" else str(value)
        seconds = decode_text(np.array([time]))[0][0] if self.kind == "text" else value // UNITS[self.unit]
        try:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))
        except OverflowError:
            return f"{seconds:,.0f} s after 1970"
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year >= 1000 else moment.isoformat()[:19] + "Z"


def _resolution(spans: list[Span]) -> float:
    rows = sum(span.rows for span in spans)
    for place in reversed(range(len(RESOLUTIONS))):
        if sum(span.whole[place] for span in spans) >= MIN_SHARE * rows:
            return RESOLUTIONS[place]
    return SUB_SECOND
