from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from iadsr.transforms.contract.unified_types import is_utc, unify_types

DAY = date(2024, 6, 10)


def struct(**fields) -> pa.DataType:
    return pa.struct(list(fields.items()))


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.null(), pa.list_(pa.int8()), pa.list_(pa.int8())),
        (pa.list_(pa.null()), pa.list_(pa.string()), pa.list_(pa.string())),
        (struct(a=pa.null()), struct(a=struct(b=pa.null())), struct(a=struct(b=pa.null()))),
        (struct(a=pa.int8()), struct(b=pa.int8(), a=pa.int16()), struct(a=pa.int16(), b=pa.int8())),
        (pa.list_(struct(a=pa.int8())), pa.list_(struct(b=pa.int8())), pa.list_(struct(a=pa.int8(), b=pa.int8()))),
        (pa.map_(pa.string(), pa.null()), pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int8())),
        (pa.bool_(), pa.int8(), pa.int8()),
        (pa.bool_(), pa.float64(), pa.float64()),
        (pa.int8(), pa.uint16(), pa.int32()),
        (pa.int64(), pa.float32(), pa.float64()),
        (pa.decimal128(7, 2), pa.decimal128(9, 2), pa.decimal128(9, 2)),
        (pa.decimal128(7, 2), pa.decimal128(7, 4), pa.decimal128(9, 4)),
        (pa.decimal128(38, 0), pa.decimal128(38, 9), pa.decimal256(47, 9)),
        (pa.decimal128(7, 2), pa.int32(), pa.decimal128(12, 2)),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.binary(3), pa.binary(4), pa.binary()),
        (pa.date32(), pa.date64(), pa.date64()),
        (pa.date32(), pa.timestamp("ms", "UTC"), pa.timestamp("ms", "UTC")),
        (pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("us", "UTC"), pa.timestamp("ms", "Etc/UTC"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us", "+00:00"), pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us", "Asia/Tokyo"), pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC")),
        (pa.time32("s"), pa.time64("ns"), pa.time64("ns")),
    ],
)
def test_one_type_holds_the_values_of_both(one, other, both):
    assert unify_types(one, other) == both
    assert str(unify_types(other, one)).replace("b: int8, a: int16", "a: int16, b: int8").replace(
        "b: int8, a: int8", "a: int8, b: int8"
    ) == str(both)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.string(), pa.int64()),
        (pa.string(), pa.binary()),
        (pa.bool_(), pa.string()),
        (pa.decimal128(7, 2), pa.float64()),
        (pa.decimal256(76, 0), pa.decimal128(9, 9)),
        (pa.timestamp("us", "Asia/Tokyo"), pa.timestamp("us")),
        (pa.timestamp("us"), pa.int64()),
        (pa.list_(pa.string()), pa.string()),
        (pa.list_(pa.string()), pa.list_(pa.int8())),
        (struct(a=pa.string()), struct(a=pa.int8())),
        (pa.map_(pa.string(), pa.int8()), pa.map_(pa.int8(), pa.int8())),
    ],
)
def test_values_that_no_type_can_hold_are_not_unified(one, other):
    assert unify_types(one, other) is None
    assert unify_types(other, one) is None


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pa.array([[{"a": 1}], None, []]), pa.list_(struct(b=pa.string(), a=pa.float64()))),
        (pa.array([Decimal("1.50"), None]), pa.decimal256(60, 9)),
        (pa.array([True, None]), pa.int8()),
        (pa.array([DAY, None]), pa.timestamp("us", "UTC")),
        (pa.array([datetime(9999, 12, 31), None], pa.timestamp("us")), pa.timestamp("us", "UTC")),
        (pa.array([[None], None]), pa.list_(pa.string())),
    ],
)
def test_arrow_casts_to_the_unified_type_without_a_change_of_value(values, wanted):
    both = unify_types(values.type, wanted)
    cast = pa.chunked_array([values]).cast(both)
    cast.validate(full=True)
    assert cast.null_count == values.null_count
    first = cast[0].as_py()
    if isinstance(first, list):
        assert first in ([{"a": 1.0, "b": None}], [None])
    elif isinstance(first, datetime):
        assert first.replace(tzinfo=None) in (datetime(9999, 12, 31), datetime(2024, 6, 10))
    else:
        assert first == values[0].as_py()


def test_names_of_utc():
    assert all(map(is_utc, ("UTC", "Etc/UTC", "etc/gmt", "+00:00", "Z", "GMT", "Zulu")))
    assert not any(map(is_utc, (None, "Europe/London", "+01:00", "")))
