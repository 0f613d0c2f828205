"""Turns Arrow values into Python values that people can read.

Rejected rows are written as JSON in this way, and so are the examples in the report.
"""

import json
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from .arrow_types import is_string_type


def python_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Returns the values of a column. A value that Python cannot hold is returned as text.

    Python cannot hold nanoseconds, years after 9999, times in an unknown time zone, and text that is not UTF-8.
    """
    try:
        return column.to_pylist()
    except (ValueError, OverflowError, KeyError):
        return [_python_value(scalar) for scalar in column]


def _python_value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, KeyError):
        pass
    if is_string_type(scalar.type):
        return scalar.cast(pa.large_binary()).as_py().decode(errors="replace")
    try:
        return scalar.cast(pa.string()).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return f"<{scalar.type}>"


def to_json_rows(table: pa.Table) -> list[str]:
    """Returns every row as a JSON object."""
    columns = [python_values(column) for column in table.columns]
    rows = (dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True))
    return [json.dumps(replace_non_finite(row, str), default=str, ensure_ascii=False) for row in rows]


def replace_non_finite(value: Any, replace: Callable[[float], Any]) -> Any:
    """Replaces NaN and infinities in dicts, lists and tuples of any depth. JSON has no such numbers.

    Args:
        value: What to copy.
        replace: Returns what is to stand for such a number.
    """
    if isinstance(value, dict):
        return {key: replace_non_finite(item, replace) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [replace_non_finite(item, replace) for item in value]
    return replace(value) if isinstance(value, float) and not math.isfinite(value) else value
