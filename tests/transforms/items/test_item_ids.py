import uuid
from decimal import Decimal

import pyarrow as pa
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.items.item_ids import normalise_item_ids, usable_item_ids


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, 2], pa.uint8()), [1, 2]),
        (pa.array([Decimal(5), Decimal(-7)], pa.decimal128(38, 0)), [5, -7]),
        (pa.array([Decimal(5)], pa.decimal128(5, 0)), [5]),
        (pa.array([1.0, 2.0]), [1, 2]),
        (pa.array([b"a", b"b"]), ["a", "b"]),
        (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), ["00000000-0000-0000-0000-000000000001"]),
        (pa.array([uuid.UUID(int=1).bytes], pa.binary(16)), ["00000000-0000-0000-0000-000000000001"]),
        (pa.array([b"ab", b"cd"], pa.binary(2)), ["ab", "cd"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    ],
)
def test_ids_of_many_types_become_integers_or_strings(column, expected):
    ids = normalise_item_ids(column, file="f")
    assert ids.to_pylist() == expected
    assert ids.type in (pa.int64(), pa.string())


@pytest.mark.parametrize("column", [pa.array([1.5]), pa.array([Decimal("1.5")]), pa.array([True]), pa.array([1e300])])
def test_values_that_are_no_ids_are_refused(column):
    with pytest.raises(InputError, match="cannot hold item ids"):
        normalise_item_ids(column, file="f")


def test_rows_without_an_id_are_told_by_reason():
    ids, problems = usable_item_ids(pa.array([b"a", None, b"caf\xe9", b"", b"b"]), file="f", name="sku")
    assert ids.to_pylist() == ["a", "", "b"]
    rows = {reason: mask.nonzero()[0].tolist() for reason, mask in problems.items()}
    assert rows == {"null sku": [1], "sku is not UTF-8": [2], "empty sku": [3]}


def test_a_missing_id_that_made_floats_of_all_others_is_told():
    ids, problems = usable_item_ids(pa.array([1.0, float("nan"), None]), file="f", name="id")
    assert ids.equals(pa.array([1]))
    assert problems["null id"].tolist() == [False, True, True]


def test_ids_beyond_int64_are_told():
    for column in (pa.array([1, 2**63], pa.uint64()), pa.array([Decimal(1), Decimal(2**63)], pa.decimal128(38, 0))):
        ids, problems = usable_item_ids(column, file="f", name="id")
        assert ids.equals(pa.array([1]))
        assert problems["id beyond int64"].tolist() == [False, True]
    with pytest.raises(InputError, match="cannot be read as item ids"):
        normalise_item_ids(column, file="f")
