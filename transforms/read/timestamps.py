"""Reads timestamps of every supported type as integers that sort like them.

You need this wherever interactions are compared by time. The integers keep the order of the timestamps. Their unit
depends on the type of the column, so they say nothing about how long it was between two interactions.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract.arrow_types import one_chunk
from ..contract.columns import TIME, InteractionColumns
from ..contract.python_values import python_values

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The moment from which microseconds are counted."""


NANOSECONDS = 1_000_000_000
"""In a second."""

_FINE_SECONDS = 8_500_000_000
"""Times from texts are nanoseconds up to so many seconds before and after 1970 (1700 to 2239), and microseconds beyond.

An int64 does not hold the years 1 to 9999 in nanoseconds."""


def encode_text(seconds: np.ndarray, nanoseconds: np.ndarray) -> np.ndarray:
    """Returns int64 that sort like times.

    Args:
        seconds: Whole seconds since 1970, rounded down, int64 [n], from year 1 to year 9999.
        nanoseconds: The rest, from 0 to 999,999,999, int64 [n].
    """
    edge = np.where(seconds < 0, -_FINE_SECONDS, _FINE_SECONDS)
    fine = (seconds >= -_FINE_SECONDS) & (seconds < _FINE_SECONDS)
    near = np.where(fine, seconds, 0) * NANOSECONDS + nanoseconds
    far = edge * NANOSECONDS + (seconds - edge) * 1_000_000 + nanoseconds // 1000
    return np.where(fine, near, far)


def decode_text(time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns whole seconds and the nanoseconds that are left, the inverse of `encode_text`."""
    if len(time) and -_FINE_SECONDS * NANOSECONDS <= time.min() <= time.max() < _FINE_SECONDS * NANOSECONDS:
        seconds = time // NANOSECONDS
        return seconds, time - seconds * NANOSECONDS
    edge = np.where(time < 0, -_FINE_SECONDS, _FINE_SECONDS)
    fine = (time >= -_FINE_SECONDS * NANOSECONDS) & (time < _FINE_SECONDS * NANOSECONDS)
    beyond = time - edge * NANOSECONDS
    seconds = np.where(fine, time // NANOSECONDS, edge + beyond // 1_000_000)
    return seconds, np.where(fine, time % NANOSECONDS, beyond % 1_000_000 * 1000)


def decode_float(time: np.ndarray) -> np.ndarray:
    """Returns the floats whose order-keeping integers these are, float64 [n]."""
    return np.where(time < 0, time ^ np.int64(2**63 - 1), time).view(np.float64)


def time_of(valid: pa.Table, columns: InteractionColumns) -> np.ndarray:
    """Returns the times of valid rows as integers that sort like them, int64 [rows]."""
    time = valid[TIME] if TIME in valid.column_names else parse_time(valid[columns.timestamp])
    return time.to_numpy()


def parse_time(values: pa.ChunkedArray) -> pa.Array:
    """Returns timestamps as int64 that sort like them. A value that is no timestamp becomes null.

    - Integers and Arrow timestamps keep their unit. Dates become milliseconds.
    - Finite floats become the integer that their bits stand for. It sorts like the float, fractions included.
    - ISO 8601 strings become what `encode_text` makes of them. A string without a time zone is read as UTC.
    - A number written as a string is no timestamp. Its first digits would be taken for a year.
    """
    data_type = values.type
    if pa.types.is_date(data_type):
        values = values.cast(pa.timestamp("ms"))
        data_type = values.type
    if pa.types.is_timestamp(data_type):
        return one_chunk(values.cast(pa.int64()))
    if pa.types.is_uint64(data_type):
        return one_chunk(pc.if_else(pc.less(values, pa.scalar(2**63, pa.uint64())), values, None).cast(pa.int64()))
    if pa.types.is_integer(data_type):
        return one_chunk(values.cast(pa.int64()))
    if pa.types.is_floating(data_type):
        return _sortable_bits(one_chunk(values.cast(pa.float64())))
    parsed = [_iso_to_microseconds(text) for text in python_values(values)]
    missing = np.array([moment is None for moment in parsed], bool)
    microseconds = np.array([moment or 0 for moment in parsed], np.int64)
    return pa.array(encode_text(microseconds // 1_000_000, microseconds % 1_000_000 * 1000), mask=missing)


def _sortable_bits(values: pa.Array) -> pa.Array:
    """Maps float64 to int64 in the same order. NaN and infinities become null."""
    numbers = values.fill_null(np.nan).to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0
    bits = numbers.view(np.int64)
    # The bits of negative floats sort by magnitude, which is the wrong way round. Flip all bits except the sign.
    ordered = np.where(bits < 0, bits ^ np.int64(2**63 - 1), bits)
    return pa.array(ordered, mask=~np.isfinite(numbers))


def _iso_to_microseconds(text: str | None) -> int | None:
    # Eight digits are a date such as 20261125. Any other number of digits alone is not a time.
    if not text or (text.isdigit() and len(text) != len("20261125")):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    since_epoch = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return since_epoch // timedelta(microseconds=1)
