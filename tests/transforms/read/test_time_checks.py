from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.clock import Clock, merge_facts, time_facts
from iadsr.transforms.read.time_checks import describe_times, refuse_wrong_order
from iadsr.transforms.read.validation import validate

START = datetime(2024, 6, 10, 8, tzinfo=UTC)
SECONDS = [int(START.timestamp()) + 61 * n for n in range(30)]


def clock_of(*files, **options) -> Clock:
    columns = InteractionColumns(**options)
    parts = []
    for stamps in files:
        stamps = stamps if isinstance(stamps, pa.Array) else pa.array(stamps)
        table = pa.table({"user_id": ["u"] * len(stamps), "item_id": ["i"] * len(stamps), "timestamp": stamps})
        if columns.position:
            table = table.append_column(columns.position, pa.array(range(len(stamps))))
        parts.append(time_facts(validate(table, columns, "log").valid, columns))
    return Clock.of(merge_facts(parts))


@pytest.mark.parametrize("factor", [1000, 10**6, 10**9])
@pytest.mark.parametrize("as_float", [False, True])
def test_units_that_are_mixed_within_a_file_or_file_by_file_are_refused_with_ranges_and_counts(factor, as_float):
    fine = [stamp * factor for stamp in SECONDS[:7]]
    if as_float and factor < 10**9:
        files = ([*map(float, SECONDS), *map(float, fine)],), (list(map(float, SECONDS)), list(map(float, fine)))
    else:
        files = ([*SECONDS, *fine],), (SECONDS, fine)
    for log in files:
        with pytest.raises(InputError) as error:
            refuse_wrong_order(clock_of(*log), InteractionColumns())
        assert error.value.code == "TIME-UNITS"
        assert "30 rows in s, 1718006400 to 1718008169 (2024-06-10T08:00:00Z to" in error.value.found
        assert "7 rows in" in error.value.found


def test_mixed_units_are_fine_once_they_are_converted():
    columns = InteractionColumns(timestamp_unit="ms")
    clock = clock_of([*SECONDS, *(stamp * 1000 for stamp in SECONDS)], timestamp_unit="ms")
    refuse_wrong_order(clock, columns)
    assert (clock.unit, clock.resolution, describe_times(clock, columns)) == ("ms", 1, [])


def test_numbers_that_grow_from_zero_are_ranks_and_not_several_units():
    clock = clock_of(np.linspace(0, 10**16, 5000).astype(np.int64))
    refuse_wrong_order(clock, InteractionColumns())
    assert describe_times(clock, InteractionColumns()) == []


@pytest.mark.parametrize(("unit", "seconds"), [("minutes", 60), ("hours", 3600), ("days", 86_400)])
@pytest.mark.parametrize("as_float", [False, True])
@pytest.mark.parametrize("coarse_rows", [1, 7, 30])
def test_days_beside_seconds_are_refused(unit, seconds, as_float, coarse_rows):
    coarse = [SECONDS[row % len(SECONDS)] // seconds + row for row in range(coarse_rows)]
    kind = float if as_float else int
    for log in ([*map(kind, SECONDS), *map(kind, coarse)],), (list(map(kind, SECONDS)), list(map(kind, coarse))):
        with pytest.raises(InputError) as error:
            refuse_wrong_order(clock_of(*log), InteractionColumns())
        assert error.value.code == "TIME-COARSE"
        assert f"{coarse_rows} row" in error.value.found
        assert f"in {unit} since 1970" in error.value.found
        assert f"{min(coarse)} to {max(coarse)};" in error.value.found


def test_few_small_numbers_and_those_that_are_no_times_are_no_days():
    for small in ([19_675], range(5, 5 + len(SECONDS)), [7_000, 19_675]):
        few = [*SECONDS * 60, *small]
        refuse_wrong_order(clock_of(few), InteractionColumns())
    days = [second // 86_400 for second in SECONDS]
    refuse_wrong_order(clock_of(days), InteractionColumns())


def test_times_that_went_through_float32_need_a_position_column():
    rounded = np.array(SECONDS, np.float32)
    with pytest.raises(InputError, match="TIME-ROUNDED"):
        refuse_wrong_order(clock_of(SECONDS, rounded.astype(np.int64)), InteractionColumns())
    columns = InteractionColumns(position="n")
    clock = clock_of(rounded, position="n")
    refuse_wrong_order(clock, columns)
    assert describe_times(clock, columns) == [
        "timestamp has been through float32 in 30 rows: its times are minutes apart."
    ]


def test_local_times_beside_times_with_an_offset_need_a_zone_and_beside_utc_are_told():
    local = [f"2024-06-10T10:00:{n:02d}" for n in range(10)]
    with pytest.raises(InputError, match="TIME-ZONES") as error:
        refuse_wrong_order(clock_of([*local, "2024-06-10T10:00:00+02:00"]), InteractionColumns())
    assert error.value.found == "10 rows without, 1 with a zone other than UTC, 0 in UTC"
    for zone in (None, "Europe/Paris"):
        columns = InteractionColumns(timezone=zone)
        clock = clock_of([*local, "2024-06-10T10:00:00Z"], timezone=zone)
        refuse_wrong_order(clock, columns)
        (note,) = describe_times(clock, columns)
        assert note.startswith("timestamp has no zone in 10 rows and one in 1; without one, it is read as")
        assert (zone or "UTC") in note


def test_values_that_mean_no_time_are_told_with_the_first_and_last_of_the_others():
    stamps = [*(START + timedelta(seconds=n) for n in range(5)), datetime(9999, 12, 31, tzinfo=UTC)]
    clock = clock_of(pa.array(stamps, pa.timestamp("us", "UTC")))
    refuse_wrong_order(clock, InteractionColumns())
    (note,) = describe_times(clock, InteractionColumns())
    assert note == (
        "timestamp is 9999-12-31 in 1 row, which often stands for no time, and is sorted as a time "
        "(all others: 2024-06-10T08:00:00Z to 2024-06-10T08:00:04Z)."
    )
    notes = describe_times(clock_of([*SECONDS, 0, -1, 17]), InteractionColumns())
    assert [note.split(",")[0] for note in notes] == [
        "timestamp is -1 in 1 row",
        "timestamp is 0 (1970-01-01) in 1 row",
        "timestamp is a number below any time since 1990 in 1 row (17 to 17).",
    ]


def test_times_before_1990_and_in_the_future_are_told():
    stamps = [
        START,
        datetime(1989, 12, 31, tzinfo=UTC),
        datetime(2090, 1, 1, tzinfo=UTC),
        datetime(2190, 1, 1, tzinfo=UTC),
    ]
    for values in (pa.array(stamps, pa.timestamp("ms")), pa.array([stamp.isoformat() for stamp in stamps])):
        span = "(all: 1989-12-31T00:00:00Z to 2190-01-01T00:00:00Z)."
        assert describe_times(clock_of(values), InteractionColumns()) == [
            f"timestamp is before 1990 in 1 row {span}",
            f"timestamp lies in the future in 2 rows {span}",
        ]


def test_numbers_among_dates_are_told():
    clock = clock_of(["2024-06-10T08:00:00Z"] * 9 + ["1401010112345.0"])
    (note,) = describe_times(clock, InteractionColumns())
    assert note == (
        "timestamp is a date in 9 rows, and in 1 a number, read as seconds or parts of seconds since 1970 "
        "(all: 2014-05-25T09:28:32Z to 2024-06-10T08:00:00Z)."
    )


@pytest.mark.parametrize(
    "stamps",
    [SECONDS, [*range(50)], [2020, 2024], [f"2024-06-10T08:00:{n:02d}" for n in range(9)], [n * 1.5 for n in range(9)]],
)
def test_of_usual_times_nothing_is_told(stamps):
    clock = clock_of(stamps)
    refuse_wrong_order(clock, InteractionColumns())
    assert describe_times(clock, InteractionColumns()) == []
