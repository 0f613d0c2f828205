"""Reads times that are texts: ISO 8601 in its usual variants, numbers, and any format that the user names.

You need this to know which texts are times. Texts of one form are read together: the form is the text with 0 in place
of each digit, and a log has few. What is in which place follows from the form, so that only digits are read row by row.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract.time_formats import LAYOUTS, MONTHS, NUMBER, format_pattern

NANOSECONDS = 1_000_000_000
"""In a second."""

EARLIEST = 631_152_000
"""1990-01-01 in seconds since 1970. No log of interactions is older, and numbers below it are ranks, years or days."""

LATEST = 4_102_444_800
"""2100-01-01 in seconds since 1970. A number beyond it is in another unit, or means no time."""

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": NANOSECONDS}
"""Units of times that are numbers, and how many of each make a second."""

_ROWS_PER_BLOCK = 1 << 16
"""How many texts are read at a time. They are few enough to fit the processor's cache."""

_MAX_FORMS = 64
"""After so many forms in a block, the texts that are left are read one by one."""


@dataclass(frozen=True)
class _Layout:
    """What is in which place of the texts of one form."""

    places: dict[str, tuple[int, int]]
    """Name of a field to the places of its digits."""
    month: int | None = None
    """The month, if it is a name."""
    afternoon: bool | None = None
    """Whether the form says pm; None if it does not say."""
    zone: str = "naive"
    """naive, utc, + or -."""


class _Group(NamedTuple):
    """Texts of one form."""

    form: str
    """The form."""
    rows: np.ndarray
    """int64 [n]; which texts they are."""
    digits: np.ndarray
    """uint8 [length, n]; the characters less the code of 0."""


@cache
def _layout(form: str, user_format: str | None) -> _Layout | str | None:
    """Returns the layout of a form, "number" for numbers, or None if texts of the form are no times."""
    text = form.strip()
    start = len(form) - len(form.lstrip())
    if user_format is not None:
        match = format_pattern(user_format).fullmatch(text)
    else:
        match = next((m for layout in LAYOUTS if (m := re.fullmatch(layout, text, re.IGNORECASE | re.ASCII))), None)
        if match is None and re.fullmatch(NUMBER, text):
            return "number"
    if match is None:
        return None
    groups = {name: value for name, value in match.groupdict().items() if value is not None}
    places: dict[str, tuple[int, int]] = {}
    for name, value in groups.items():
        if name not in ("zone", "utc", "offset", "sign", "by", "b", "p"):
            padding = len(value) - len(value.lstrip())
            places[name.rstrip("1")] = (start + match.start(name) + padding, start + match.end(name))
    month = MONTHS[groups["b"].lower()] if "b" in groups else None
    afternoon = groups["p"].lower().startswith("p") if "p" in groups else None
    zone = "utc" if "utc" in groups else groups.get("sign", "naive")
    return _Layout(places, month, afternoon, zone)


def _groups(values: pa.ChunkedArray) -> Iterator[tuple[int, _Group | np.ndarray]]:
    """Sorts texts by their form.

    Yields:
        The number of a block's first text with a group of that block, or with the numbers of the texts that have too
        many different forms. Nulls are in no group.
    """
    start = 0
    for chunk in values.chunks:
        for first in range(0, len(chunk), _ROWS_PER_BLOCK):
            block = chunk.slice(first, _ROWS_PER_BLOCK).cast(pa.large_string())
            for group in _groups_of_block(block):
                yield start + first, group
        start += len(chunk)


def _groups_of_block(block: pa.LargeStringArray) -> Iterator[_Group | np.ndarray]:
    _, offsets_buffer, data_buffer = block.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[block.offset : block.offset + len(block) + 1]
    data = np.frombuffer(data_buffer or b"", np.uint8)
    lengths = np.diff(offsets)
    if block.null_count:
        lengths = np.where(block.is_null().to_numpy(zero_copy_only=False), 0, lengths)
    forms = 0
    left: list[np.ndarray] = []
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        if length == 0:
            continue
        if length > 64:
            left.append(rows)
            continue
        if len(rows) == len(block):
            characters = data[offsets[0] : offsets[-1]].reshape(len(block), length)
        else:
            characters = data[offsets[rows][:, None] + np.arange(length)]
        characters = np.ascontiguousarray(characters.T)
        while len(rows):
            if forms == _MAX_FORMS:
                left.append(rows)
                break
            forms += 1
            digits = characters - np.uint8(48)  # what is no digit becomes 10 or more
            same = np.ones(len(rows), bool)
            for place, character in enumerate(characters[:, 0]):
                same &= digits[place] < 10 if 48 <= character < 58 else characters[place] == character
            form = re.sub(r"\d", "0", characters[:, 0].tobytes().decode(errors="replace"), flags=re.ASCII)
            if same.all():
                yield _Group(form, rows, digits)
                break
            yield _Group(form, rows[same], digits[:, same])
            rows, characters = rows[~same], characters[:, ~same]
    if left:
        yield np.concatenate(left)


def read_texts(
    values: pa.ChunkedArray, form: str | None = None, timezone: str | None = None, unit: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads texts as times.

    Args:
        values: The texts.
        form: The format of all of them, as for `strptime`. Without it: ISO 8601, such variants of it as exports have,
            and numbers that are a time between EARLIEST and LATEST in one of UNITS.
        timezone: Zone of the texts that do not say theirs. None: UTC.
        unit: The unit of numbers that do not show it by their magnitude.

    Returns:
        Whole seconds since 1970, the nanoseconds that are left, and which texts are times: int64, int64, bool [n].
    """
    seconds, rest = np.zeros(len(values), np.int64), np.zeros(len(values), np.int64)
    usable, naive = np.zeros(len(values), bool), np.zeros(len(values), bool)
    for start, group in _groups(values):
        if isinstance(group, np.ndarray):
            rows = start + group
            texts = values.take(pa.array(rows)).cast(pa.large_binary()).to_pylist()
            read = [_read_one(text, form, unit) for text in texts]
            seconds[rows], rest[rows] = [each[0] for each in read], [each[1] for each in read]
            usable[rows], naive[rows] = [each[2] for each in read], [each[3] for each in read]
            continue
        rows = start + group.rows
        layout = _layout(group.form, form)
        if layout is None:
            if form is None and re.match(r"0000-?(00|W)", group.form.strip()):
                seconds[rows], rest[rows], usable[rows], naive[rows] = _read_rare(values, rows)
            continue
        if isinstance(layout, str):
            seconds[rows], rest[rows], usable[rows] = _read_numbers(group, unit)
        else:
            seconds[rows], rest[rows], usable[rows] = _read_layout(group.digits, layout)
            naive[rows] = layout.zone == "naive"
    if timezone is not None and naive.any():
        there = naive & usable
        seconds[there] = to_utc(seconds[there], timezone)
    return seconds, rest, usable


def count_zones(values: pa.ChunkedArray, form: str | None = None) -> tuple[int, int, int, int]:
    """Counts the texts that are times without a zone, in UTC, with another zone, and the texts that are numbers."""
    naive = utc = zoned = numbers = 0
    for _, group in _groups(values):
        if isinstance(group, np.ndarray):
            continue
        layout = _layout(group.form, form)
        if not isinstance(layout, _Layout):
            numbers += len(group.rows) if layout else 0
            continue
        if layout.zone in "+-":
            ahead = np.zeros(len(group.rows), bool)
            for name in ("zh", "zm"):
                if name in layout.places:
                    at, to = layout.places[name]
                    ahead |= group.digits[at:to].any(axis=0)
            zoned += int(ahead.sum())
            utc += int((~ahead).sum())
        elif layout.zone == "utc":
            utc += len(group.rows)
        else:
            naive += len(group.rows)
    return naive, utc, zoned, numbers


def to_utc(seconds: np.ndarray, timezone: str) -> np.ndarray:
    """Returns seconds since 1970 in UTC of clocks that show local time. An hour that comes twice is the first."""
    local = pa.array(seconds, pa.timestamp("s"))
    moments = pc.assume_timezone(local, timezone, ambiguous="earliest", nonexistent="latest")
    return moments.cast(pa.int64()).to_numpy()


def _number(digits: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    total = digits[place[0]].astype(np.int32)
    for row in range(place[0] + 1, place[1]):
        total = total * 10 + digits[row]
    return total


def _long_number(digits: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    total = np.zeros(digits.shape[1], np.int64)
    for row in range(*place):
        total = total * 10 + digits[row]
    return total


def _nanoseconds(digits: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """Reads digits after the decimal point. More than nine are cut."""
    at, to = place[0], min(place[1], place[0] + 9)
    return _long_number(digits, (at, to)) * 10 ** (9 - (to - at))


@cache
def _calendar() -> tuple[np.ndarray, np.ndarray]:
    """Returns the days since 1970 at the start of each month from year 0, and the days in it; int64 [120,012] each."""
    months = np.arange(np.datetime64("0000-01"), np.datetime64("10000-02"))
    starts = months.astype("datetime64[D]").astype(np.int64)
    return starts[:-1], np.diff(starts)


def _read_layout(digits: np.ndarray, layout: _Layout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    fields, count = layout.places, digits.shape[1]

    def number(name: str) -> np.ndarray:
        return _number(digits, fields[name]) if name in fields else np.zeros(count, np.int32)

    year = number("Y")
    if "y" in fields:  # as strptime does
        year = number("y")
        year = year + np.where(year < 69, 2000, 1900)
    usable = year >= 1
    starts, lengths = _calendar()
    if "j" in fields:
        day = number("j")
        days = starts[year * 12] + day - 1
        usable &= (day >= 1) & (days < starts[np.minimum((year + 1) * 12, len(starts) - 1)])
    else:
        month = np.full(count, layout.month, np.int32) if layout.month else number("m")
        day = number("d")
        usable &= (month >= 1) & (month <= 12)
        place = np.where(usable, year * 12 + month - 1, 12)
        usable &= (day >= 1) & (day <= lengths[place])
        days = starts[place] + day - 1
    if "I" in fields:
        hour = number("I")
        usable &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + (12 if layout.afternoon else 0)
    else:
        hour = number("H")
    minute, second = number("M"), number("S")
    usable &= (hour <= 23) & (minute <= 59) & (second <= 59)
    clock = (hour * 60 + minute) * 60 + second
    if layout.zone in "+-" and layout.zone:
        hours, minutes, seconds = number("zh"), number("zm"), number("zs")
        usable &= (hours <= 23) & (minutes <= 59) & (seconds <= 59)
        ahead = (hours * 60 + minutes) * 60 + seconds
        clock = clock - ahead if layout.zone == "+" else clock + ahead
    rest = _nanoseconds(digits, fields["f"]) if "f" in fields else np.zeros(count, np.int64)
    seconds = days * 86_400 + clock
    first, last = _ENDS
    return seconds, rest, usable & (seconds >= first) & (seconds <= last)


_ENDS = (-62_135_596_800 - 86_400, 253_402_300_799 + 86_400)
"""The first second of year 1 and the last of year 9999, in any time zone."""


def unit_of(whole: np.ndarray) -> np.ndarray:
    """Returns the units of numbers by their magnitude, as indices into UNITS; -1 if a number is a time in none."""
    found = np.full(len(whole), -1, np.int8)
    for number, per_second in enumerate(UNITS.values()):
        found[(whole >= EARLIEST * per_second) & (whole < LATEST * per_second)] = number
    return found


def _read_numbers(group: _Group, unit: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    match = re.fullmatch(NUMBER, group.form.strip())
    start = len(group.form) - len(group.form.lstrip())
    assert match is not None
    whole = _long_number(group.digits, (start + match.start("whole"), start + match.end("whole")))
    part = np.zeros(len(whole), np.int64)
    if match["part"]:
        part = _nanoseconds(group.digits, (start + match.start("part"), start + match.end("part")))
    seconds, rest = np.zeros(len(whole), np.int64), np.zeros(len(whole), np.int64)
    units = unit_of(whole)
    if unit is not None:
        units[units < 0] = list(UNITS).index(unit)
    for number, per_second in enumerate(UNITS.values()):
        mine = units == number
        seconds[mine] = whole[mine] // per_second
        rest[mine] = whole[mine] % per_second * (NANOSECONDS // per_second) + part[mine] // per_second
    return seconds, rest, (units >= 0) & (whole >= 0)  # the largest numbers of 19 digits have become negative


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _read_rare(values: pa.ChunkedArray, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Reads the rarer variants of ISO 8601, such as weeks, one by one."""
    texts = values.take(pa.array(rows)).cast(pa.large_binary()).to_pylist()
    read = [_read_iso(text) for text in texts]
    return tuple(np.array(column) for column in zip(*read, strict=True))


def _read_iso(text: bytes) -> tuple[int, int, bool, bool]:
    try:
        moment = datetime.fromisoformat(text.decode().strip())  # bytes that are no UTF-8 are a ValueError too
        naive = moment.tzinfo is None
        since = (moment.replace(tzinfo=UTC) if naive else moment) - _EPOCH
    except (ValueError, OverflowError):
        return 0, 0, False, False
    return since // timedelta(seconds=1), since.microseconds * 1000, True, naive


def _read_one(text: bytes, form: str | None, unit: str | None) -> tuple[int, int, bool, bool]:
    """Reads one text as `read_texts` reads many, in a block that has too many forms."""
    seconds, rest, usable = 0, 0, False
    naive = False
    if len(text) <= 64:
        (group,) = _groups_of_block(pa.array([text], pa.large_binary()).cast(pa.large_string(), safe=False))
        assert isinstance(group, _Group)
        layout = _layout(group.form, form)
        if isinstance(layout, _Layout):
            found = _read_layout(group.digits, layout)
            seconds, rest, usable, naive = int(found[0][0]), int(found[1][0]), bool(found[2][0]), layout.zone == "naive"
        elif layout == "number":
            found = _read_numbers(group, unit)
            seconds, rest, usable = int(found[0][0]), int(found[1][0]), bool(found[2][0])
    return seconds, rest, usable, naive
