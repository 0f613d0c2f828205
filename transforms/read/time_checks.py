"""What is wrong or odd about the times of a log: what would spoil the order is refused, everything else is told.

You need this once the Clock of a log is known, before anything is learned or scored.
"""

import numpy as np

from ...models.core.errors import InputError
from ..contract.columns import InteractionColumns
from .clock import MIN_SHARE, Clock, Span, TimeFacts
from .time_texts import EARLIEST, LATEST, UNITS
from .timestamps import decode_float

_COARSE = {"minutes": 60, "hours": 3600, "days": 86_400}
"""Units coarser than seconds in which some programs write times, in seconds."""


def refuse_wrong_order(clock: Clock, columns: InteractionColumns) -> None:
    """Checks that sorting by time gives the order in which things happened.

    Args:
        clock: Of the whole log.
        columns: The names of its columns, and how they are read.

    Raises:
        InputError: Times are in several units, have been through float32, or are text partly with and partly without
            a zone.
    """
    facts, name = clock.facts, columns.timestamp
    units = [unit for unit in UNITS if unit in facts.spans]
    few = (1 - MIN_SHARE) * clock.rows
    # Numbers that grow from 0 pass through all units, and through what lies between them.
    are_times = "other" not in facts.spans or facts.spans["other"].rows <= few
    by_unit = [f"{_rows(facts.spans[unit])} in {unit}, {_range(facts, unit)}" for unit in units]
    if len(units) > 1 and are_times:
        raise InputError(
            f"Column {name!r} holds times in {_listed(units)}",
            code="TIME-UNITS",
            found="; ".join(by_unit),
            expected="one unit in the whole log: sorted like this, users are out of order",
            fix=f"convert the column, or have it converted with --timestamp-unit {units[-1]}",
        )
    coarse = _coarse_unit(facts) if units and are_times else None
    if coarse and facts.spans["small"].rows > few:
        small = f"{_rows(facts.spans['small'])} in {coarse} since 1970, it seems, {_plain_range(facts, 'small')}"
        raise InputError(
            f"Column {name!r} holds times in {_listed([coarse, *units])}",
            code="TIME-COARSE",
            found="; ".join([small, *by_unit]),
            expected="one unit in the whole log: sorted like this, users are out of order",
            fix="convert the column to one unit",
        )
    if facts.float32 and columns.position is None:
        raise InputError(
            f"Column {name!r} has been through float32, which keeps no seconds: its times are minutes apart",
            code="TIME-ROUNDED",
            found=f"{facts.float32:,} of {clock.rows:,} rows with times that are all multiples of a power of two, "
            f"from {clock.moment(clock.first)} to {clock.moment(clock.last)}",
            expected="times as int64, float64 or timestamps, from the source on",
            fix="write the log again from its source, or name the column of the true order with --position-column",
        )
    if facts.naive and facts.zoned and columns.timezone is None:
        raise InputError(
            f"Column {name!r} holds times with a zone and times without",
            code="TIME-ZONES",
            found=f"{facts.naive:,} rows without, {facts.zoned:,} with a zone other than UTC, {facts.utc:,} in UTC",
            expected="a zone in each time, or one zone for those without",
            fix="name the zone of the times without one with --timezone, such as --timezone Europe/Paris, or UTC",
        )


def describe_times(clock: Clock, columns: InteractionColumns) -> list[str]:
    """Says what a user should know of a log's times, in sentences. Usual times give none."""
    facts, name = clock.facts, columns.timestamp
    told: list[str] = []
    span = _range(facts, None)
    for value, rows in facts.sentinels.items():
        if clock.unit is not None:
            told.append(
                f"{name} is {value} in {_counted(rows)}, which often stands for no time, and is sorted as a time "
                f"(all others: {span})"
            )
    if "before" in facts.spans:
        told.append(f"{name} is before 1990 in {_rows(facts.spans['before'])} (all: {span})")
    ahead = sum(each.ahead for each in facts.spans.values())
    ahead += facts.spans["beyond"].rows - facts.spans["beyond"].ahead if "beyond" in facts.spans else 0
    if ahead and clock.unit is not None:
        told.append(f"{name} lies in the future in {_counted(ahead)} (all: {span})")
    if clock.unit is not None:
        for odd, what in (("small", "below any time since 1990"), ("other", "a time in no unit")):
            if odd in facts.spans and facts.unit is None:
                told.append(f"{name} is a number {what} in {_rows(facts.spans[odd])} ({_plain_range(facts, odd)})")
    if facts.naive and facts.utc + facts.zoned:
        zone = columns.timezone or "UTC, as --timezone does not say otherwise"
        told.append(
            f"{name} has no zone in {_counted(facts.naive)} and one in {facts.utc + facts.zoned:,}; without one, it is "
            f"read as {zone}"
        )
    if dates := facts.numbers and facts.naive + facts.utc + facts.zoned:
        told.append(
            f"{name} is a date in {_counted(dates)}, and in {facts.numbers:,} a number, read as seconds or parts of "
            f"seconds since 1970 (all: {span})"
        )
    if facts.float32:
        told.append(f"{name} has been through float32 in {_counted(facts.float32)}: its times are minutes apart")
    return [f"{note}." for note in told]


def _coarse_unit(facts: TimeFacts) -> str | None:
    """Returns the unit coarser than seconds in which all small numbers would be times; None if there is none."""
    if "small" not in facts.spans:
        return None
    ends = np.array([facts.spans["small"].first, facts.spans["small"].last])
    first, last = decode_float(ends) if facts.kind == "float" else ends
    for unit, seconds in _COARSE.items():
        if first * seconds >= EARLIEST and last * seconds <= LATEST:
            return unit
    return None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]


def _rows(span: Span) -> str:
    return _counted(span.rows)


def _counted(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _range(facts: TimeFacts, unit: str | None) -> str:
    """Writes the first and the last time of one unit, or of all spans."""
    spans = {unit: facts.spans[unit]} if unit else facts.spans
    clock = Clock.of(TimeFacts(facts.kind, facts.unit, spans))
    first, last = clock.moment(clock.first), clock.moment(clock.last)
    if unit and clock.unit:
        return f"{_plain(facts, clock.first)} to {_plain(facts, clock.last)} ({first} to {last})"
    return f"{first} to {last}"


def _plain_range(facts: TimeFacts, span: str) -> str:
    """Writes the first and the last number of a span as they are."""
    return f"{_plain(facts, facts.spans[span].first)} to {_plain(facts, facts.spans[span].last)}"


def _plain(facts: TimeFacts, time: int) -> str:
    return Clock.of(TimeFacts(facts.kind)).moment(time)
