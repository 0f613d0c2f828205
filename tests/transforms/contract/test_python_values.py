import json

import numpy as np
import pyarrow as pa
import pytest

from iadsr.transforms.contract.python_values import python_values, replace_non_finite, to_json_rows

NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 3], "int32")), pa.py_buffer(b"a\xffb")]
)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None]), [1, None]),
        (NOT_UTF8, ["a", "\N{REPLACEMENT CHARACTER}b"]),
        (pa.array([10**16, None]).cast(pa.timestamp("ms")), ["<value out of range: 10000000000000000>", None]),
    ],
)
def test_every_value_can_be_read(column, expected):
    assert python_values(column) == expected
    assert python_values(pa.chunked_array([column])) == expected


def test_nanoseconds_are_shown_without_pandas():
    (value,) = python_values(pa.array([1_500_000_003_000_000_022]).cast(pa.timestamp("ns")))
    assert str(value) == "2017-07-14 02:40:03.000000022"


def test_rows_are_strict_json():
    table = pa.table({"a": ["é", None], "b": [float("nan"), 1.5], "c": [[float("inf")], []], "d": NOT_UTF8})
    rows = [json.loads(text, parse_constant=pytest.fail) for text in to_json_rows(table)]
    assert rows == [
        {"a": "é", "b": "nan", "c": ["inf"], "d": "a"},
        {"a": None, "b": 1.5, "c": [], "d": "\N{REPLACEMENT CHARACTER}b"},
    ]


def test_nan_and_infinities_are_replaced_at_any_depth():
    value = {"a": [1.5, float("nan")], "b": ({"c": float("-inf")}, 2), "d": "nan"}
    assert replace_non_finite(value, str) == {"a": [1.5, "nan"], "b": [{"c": "-inf"}, 2], "d": "nan"}
    assert replace_non_finite(value, lambda _: None) == {"a": [1.5, None], "b": [{"c": None}, 2], "d": "nan"}
