import uuid
from decimal import Decimal

import pyarrow as pa
import pytest

from iadsr.transforms.read.ids import read_ids


def broken_text(values, data_type=None):
    """Returns strings of any bytes, as some programs write them."""
    data_type = data_type or pa.string()
    binary = pa.large_binary() if data_type == pa.large_string() else pa.binary()
    return pa.Array.from_buffers(data_type, len(values), pa.array(values, binary).buffers())


ONE = uuid.UUID("9d1f6c1e-26a5-4f0e-8a3c-000000000001")


@pytest.mark.parametrize(
    ("values", "expected", "problems"),
    [
        (pa.array(["a", None]), ["a", None], {}),
        (pa.array([1, None], pa.int8()), [1, None], {}),
        (pa.array([Decimal(7), None, Decimal(-(2**63))], pa.decimal128(38, 0)), [7, None, -(2**63)], {}),
        (pa.array([Decimal(7), Decimal(2**63)], pa.decimal256(50, 0)), [7, None], {"user_id beyond int64": [1]}),
        (pa.array([1.0, None, float("nan"), -3.0]), [1, None, None, -3], {}),
        (
            pa.array([1.5, 2.0**53, 2.0**54, float("inf")]),
            [None, 2**53, None, None],
            {"user_id not an exact whole number": [0, 2, 3]},
        ),
        (pa.array([2.0**24, 2.0**25], pa.float32()), [2**24, None], {"user_id not an exact whole number": [1]}),
        (pa.array([b"caf\xc3\xa9", None]), ["caf\u00e9", None], {}),
        (pa.array([b"caf\xe9", None, b"x"], pa.large_binary()), [None, None, "x"], {"user_id not UTF-8": [0]}),
        (pa.array([b"abc", None], pa.binary(3)), ["abc", None], {}),
        (broken_text([b"caf\xe9", None, b"x"]), [None, None, "x"], {"user_id not UTF-8": [0]}),
        (broken_text([b"x", b"\xff"], pa.large_string()), ["x", None], {"user_id not UTF-8": [1]}),
        (pa.array([ONE.bytes, None], pa.binary(16)), [str(ONE), None], {}),
        (pa.array([ONE.bytes, None], pa.uuid()), [str(ONE), None], {}),
    ],
)
def test_ids_become_strings_or_integers_and_what_cannot_is_a_problem(values, expected, problems):
    for column in (pa.chunked_array([values]), pa.chunked_array([values[:1], values[1:]])):
        ids = read_ids(column, "user_id")
        assert ids.values.to_pylist() == expected
        assert {reason: rows.nonzero()[0].tolist() for reason, rows in ids.problems} == problems
