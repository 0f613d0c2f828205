import itertools
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.clock import SUB_SECOND, Clock, TimeFacts, merge_facts, time_facts
from iadsr.transforms.read.timestamps import decode_text, encode_text, time_of
from iadsr.transforms.read.validation import validate

COLUMNS = InteractionColumns()
START = datetime(2024, 6, 10, 8, tzinfo=UTC)
SECOND = int(START.timestamp())


def valid(stamps) -> pa.Table:
    stamps = stamps if isinstance(stamps, pa.Array) else pa.array(stamps)
    table = pa.table({"user_id": ["u"] * len(stamps), "item_id": ["i"] * len(stamps), "timestamp": stamps})
    return validate(table, COLUMNS, "log").valid


def facts(stamps) -> TimeFacts:
    return time_facts(valid(stamps), COLUMNS)


def moments(step: timedelta, count: int = 20) -> list[datetime]:
    return [START + step * n for n in range(count)]


@pytest.mark.parametrize(
    ("stamps", "kind", "unit"),
    [
        ([SECOND, SECOND + 90], "integer", "s"),
        ([SECOND * 1000, SECOND * 1000 + 90_000], "integer", "ms"),
        ([SECOND * 10**6, SECOND * 10**6 + 90_000_000], "integer", "us"),
        ([SECOND * 10**9, SECOND * 10**9 + 90_000_000_000], "integer", "ns"),
        ([float(SECOND), SECOND + 90.0], "float", "s"),
        ([SECOND * 1e3, SECOND * 1e3 + 90_000], "float", "ms"),
        (pa.array([START, START + timedelta(seconds=90)], pa.timestamp("s")), "timestamp", "s"),
        (pa.array([START, START + timedelta(seconds=90)], pa.timestamp("ns", "UTC")), "timestamp", "ns"),
        (["2024-06-10T08:00:00Z", "2024-06-10 08:01:30Z"], "text", "ns"),
    ],
)
def test_the_unit_of_every_type_is_found_and_gives_seconds(stamps, kind, unit):
    clock, table = Clock.of(facts(stamps)), valid(stamps)
    assert (clock.kind, clock.unit) == (kind, unit)
    assert clock.seconds(time_of(table, COLUMNS)).tolist() == [0, 90]
    assert clock.moment(clock.first) == "2024-06-10T08:00:00Z"
    assert clock.days(time_of(table, COLUMNS)).tolist() == [19_884, 19_884]


def test_a_day_begins_at_midnight_wherever_in_a_day_the_log_begins():
    times = pa.array([0.1, 0.9, 86_399.9, 86_400.0, -0.1], pa.float64())
    for stamps in (
        pc.add(times, 19_884.0 * 86_400),
        pc.cast(pc.multiply(times, 1e6), pa.int64()).cast(pa.timestamp("us")),
    ):
        days = Clock.of(facts(stamps)).days(time_of(valid(stamps), COLUMNS))
        assert (days - days[0]).tolist() == [0, 0, 0, 1, -1]


@pytest.mark.parametrize("stamps", [[1, 2, 3], [0, 1, 2], [2001, 2024], [20_240_610, 20_240_611], [19_884]])
def test_ranks_years_and_dates_as_numbers_have_no_unit(stamps):
    clock = Clock.of(facts(stamps))
    assert (clock.unit, clock.resolution) == (None, None)
    assert (clock.first, clock.last) == (min(stamps), max(stamps))
    with pytest.raises(ValueError, match="not known"):
        clock.seconds(np.array(stamps))
    with pytest.raises(ValueError, match="not known"):
        clock.days(np.array(stamps))


def test_numbers_that_grow_from_zero_have_no_unit():
    assert Clock.of(facts(np.linspace(0, 10**16, 5000).astype(np.int64))).unit is None


@pytest.mark.parametrize(
    ("step", "resolution"),
    [
        (timedelta(days=1), 3600),  # at eight o'clock each day
        (timedelta(hours=1), 3600),
        (timedelta(minutes=7), 60),
        (timedelta(seconds=61), 1),
        (timedelta(milliseconds=61_001), SUB_SECOND),
    ],
)
@pytest.mark.parametrize("as_type", ["us", "text", "float", "integer"])
def test_the_resolution_is_that_of_almost_all_times(step, resolution, as_type):
    found = moments(step, 200)
    stamps = {
        "us": pa.array(found, pa.timestamp("us")),
        "text": [moment.isoformat() for moment in found],
        "float": [moment.timestamp() for moment in found],
        "integer": [round(moment.timestamp() * 1000) for moment in found],
    }[as_type]
    assert Clock.of(facts(stamps)).resolution == resolution


def test_dates_have_the_resolution_of_a_day_and_one_odd_time_in_many_does_not_change_it():
    assert Clock.of(facts([date(2024, 6, n) for n in range(1, 9)])).resolution == 86_400
    days = [START.replace(hour=0) + timedelta(days=n) for n in range(200)]
    assert Clock.of(facts([*days, START])).resolution == 86_400
    assert Clock.of(facts([*days, *moments(timedelta(hours=5), 100)])).resolution == 3600


def test_values_that_mean_no_time_are_counted_and_are_not_the_first_or_last():
    stamps = [START, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]
    for found in (facts(pa.array(stamps, pa.timestamp("us"))), facts([stamp.isoformat() for stamp in stamps])):
        assert found.sentinels == {"0001-01-01": 1, "9999-12-31": 1}
        clock = Clock.of(found)
        assert clock.first == clock.last
        assert (clock.rows, clock.moment(clock.last)) == (3, "2024-06-10T08:00:00Z")
    numbers = facts([SECOND] * 97 + [0, -1, 253_402_300_799])
    assert numbers.sentinels == {"-1": 1, "0 (1970-01-01)": 1, "9999-12-31": 1}
    assert Clock.of(numbers).unit == "s"


def test_seconds_and_milliseconds_in_one_column_have_no_unit():
    found = facts([SECOND] * 6 + [SECOND * 1000] * 4)
    assert {name: span.rows for name, span in found.spans.items()} == {"ms": 4, "s": 6}
    assert Clock.of(found).unit is None


def test_what_has_been_through_float32_is_noticed_in_every_type():
    seconds = np.array([SECOND + 40 * n for n in range(15)], np.float32)
    for stamps in (
        pa.array(seconds),
        pa.array(seconds.astype(np.float64)),
        pa.array(seconds.astype(np.int64)),
        pa.array(seconds.astype(np.int64), pa.timestamp("s")).cast(pa.timestamp("ns")),
    ):
        assert facts(stamps).float32 == 15
    for stamps in ([SECOND + 40 * n for n in range(15)], [86_400 * (19_000 + n) for n in range(15)], list(range(15))):
        assert facts(stamps).float32 == 0


@pytest.mark.parametrize("data_type", [pa.int64(), pa.float64(), pa.timestamp("s"), pa.timestamp("us")])
def test_days_that_begin_at_midnight_elsewhere_have_not_been_through_float32(data_type):
    midnights = np.array([86_400 * (19_000 + n) + 57_600 for n in range(15)])
    assert (midnights.astype(np.float32) == midnights).all()
    stamps = pa.array(midnights)
    whole = pa.types.is_timestamp(data_type)
    assert facts(stamps.cast(pa.timestamp("s")).cast(data_type) if whole else stamps.cast(data_type)).float32 == 0


def test_times_in_the_future_are_counted():
    ahead = datetime.now(UTC) + timedelta(days=2)
    found = facts(pa.array([START, ahead, datetime.now(UTC)], pa.timestamp("us")))
    assert found.spans["time"].ahead == 1


@given(st.lists(st.sampled_from([SECOND, SECOND + 60, SECOND * 1000, 0, 5, 10**12 * 7, -1]), min_size=3), st.data())
def test_the_order_of_the_parts_does_not_matter(stamps, data):
    cut = data.draw(st.integers(1, len(stamps) - 1))
    parts = [facts(stamps[:cut]), TimeFacts(), facts(stamps[cut:])]
    merged = {str(merge_facts(order)) for order in itertools.permutations(parts)}
    assert len(merged) == 1
    assert merge_facts(parts).rows == len(stamps)
    assert merge_facts(parts) == facts(stamps)


@given(st.lists(st.datetimes(), min_size=1))
def test_texts_become_integers_that_sort_like_the_times_and_can_be_read_back(drawn):
    since = [moment - datetime(1970, 1, 1) for moment in drawn]
    seconds = np.array([each // timedelta(seconds=1) for each in since])
    rest = np.array([each.microseconds * 1000 for each in since])
    encoded = encode_text(seconds, rest)
    assert np.array_equal(np.argsort(encoded, kind="stable"), np.lexsort((rest, seconds)))
    assert [each.tolist() for each in decode_text(encoded)] == [seconds.tolist(), rest.tolist()]


def test_seconds_are_right_beside_values_at_the_ends_of_int64():
    clock = Clock.of(facts([SECOND * 1000] * 99 + [-(2**63)]))
    assert clock.seconds(np.array([SECOND * 1000 + 250])).tolist() == [0.25]
    assert clock.seconds(np.array([-(2**63)]))[0] < -9e15
