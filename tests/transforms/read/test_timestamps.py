import itertools
import math
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.core.errors import InputError
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.time_texts import UNITS
from iadsr.transforms.read.timestamps import in_unit, parse_time


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([3, -5, None], pa.int32()), [3, -5, None]),
        (pa.array([2**63, 7], pa.uint64()), [None, 7]),
        (pa.array([datetime(1970, 1, 2)], pa.timestamp("s")), [86_400]),
        (pa.array([datetime(1970, 1, 2, tzinfo=UTC)], pa.timestamp("ns", "Asia/Tokyo")), [86_400_000_000_000]),
        (pa.array([1], pa.date32()), [86_400_000]),
        (
            pa.array(["1970-01-01T00:00:01", "1970-01-01 01:00:01+01:00", "soon", "", "17"]),
            [1_000_000_000, 1_000_000_000, None, None, None],
        ),
    ],
)
def test_times_of_every_type_become_sortable_integers(values, expected):
    assert parse_time(pa.chunked_array([values])).to_pylist() == expected


@given(st.lists(st.one_of(st.none(), st.floats(), st.floats(-10, 10)), min_size=1))
def test_floats_keep_their_order_and_values_that_are_no_time_become_null(drawn):
    parsed = parse_time(pa.chunked_array([pa.array(drawn, pa.float64())])).to_pylist()
    usable = [value is not None and math.isfinite(value) for value in drawn]
    assert [value is not None for value in parsed] == usable
    pairs = sorted((value, time) for value, time in zip(drawn, parsed, strict=True) if time is not None)
    for (one, earlier), (other, later) in itertools.pairwise(pairs):
        assert earlier == later if one == other else earlier < later


def test_text_keeps_nanoseconds_and_its_missing_values():
    texts = ["2024-06-10T08:00:00.000000100Z", None, "2024-06-10T08:00:00.000000099Z", "tomorrow"]
    parsed = parse_time(pa.chunked_array([texts[:1], texts[1:]])).to_pylist()
    assert parsed == [1_718_006_400_000_000_100, None, 1_718_006_400_000_000_099, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_numbers_of_every_unit_become_one_unit(unit):
    per_second = UNITS[unit]
    stamps = [1_718_006_400 * UNITS[each] for each in UNITS]
    for values in (pa.array(stamps), pa.array([*map(float, stamps[:3]), None], pa.float64())):
        converted = in_unit(pa.chunked_array([values]), unit)
        assert converted.type == values.type
        assert set(converted.to_pylist()) - {None} == {1_718_006_400 * per_second}
        assert converted.null_count == values.null_count
    assert in_unit(pa.chunked_array([[1, 2024]]), unit).to_pylist() == [1, 2024]


def test_a_number_that_its_unit_cannot_hold_is_refused():
    values = pa.chunked_array([[1_718_006_400, 1_718_006_400_500]])
    with pytest.raises(InputError, match="TIME-FINE"):
        in_unit(values, "s")
    assert in_unit(values, "ms").to_pylist() == [1_718_006_400_000, 1_718_006_400_500]
    assert parse_time(values, InteractionColumns(timestamp_unit="us")).to_pylist() == [
        1_718_006_400_000_000,
        1_718_006_400_500_000,
    ]
