import itertools
import math
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.read.timestamps import parse_time


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


def test_a_number_written_as_a_string_is_no_time():
    texts = ["1401010112345", "1718000000", "20240610", "2024-06-10"]
    midnight = 1_717_977_600_000_000_000
    assert parse_time(pa.chunked_array([texts])).to_pylist() == [None, None, midnight, midnight]
