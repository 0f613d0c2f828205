"""Reads timestamps of every supported type as integers that sort like them.

You need this wherever interactions are compared by time. The integers keep the order of the timestamps. Their unit
depends on the type of the column. `Clock` says how long it was between two of them.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import InputError
from ..contract.arrow_types import is_string_type, one_chunk
from ..contract.columns import TIME, InteractionColumns
from .time_texts import NANOSECONDS, UNITS, read_texts, unit_of

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
    time = valid[TIME] if TIME in valid.column_names else parse_time(valid[columns.timestamp], columns)
    return time.to_numpy()


def parse_time(values: pa.ChunkedArray, columns: InteractionColumns | None = None) -> pa.Array:
    """Returns timestamps as int64 that sort like them. A value that is no timestamp becomes null.

    - Integers and Arrow timestamps keep their unit. Dates become milliseconds.
    - Finite floats become the integer that their bits stand for. It sorts like the float, fractions included.
    - Texts become what `encode_text` makes of them; see `read_texts` for what is a time.

    Args:
        values: The timestamps.
        columns: How they are read: their unit, their format and their time zone. None: as without options.

    Raises:
        InputError: Numbers are finer than the unit that the user names.
    """
    columns = columns or InteractionColumns()
    data_type = values.type
    if pa.types.is_null(data_type):
        return pa.nulls(len(values), pa.int64())
    if pa.types.is_date(data_type):
        values = values.cast(pa.timestamp("ms"))
        data_type = values.type
    if pa.types.is_timestamp(data_type):
        return one_chunk(values.cast(pa.int64()))
    if is_string_type(data_type):
        seconds, rest, usable = read_texts(values, columns.timestamp_format, columns.timezone, columns.timestamp_unit)
        return pa.array(encode_text(seconds, rest), mask=~usable)
    values = in_unit(values, columns.timestamp_unit)
    if pa.types.is_uint64(data_type):
        return one_chunk(pc.if_else(pc.less(values, pa.scalar(2**63, pa.uint64())), values, None).cast(pa.int64()))
    if pa.types.is_integer(data_type):
        return one_chunk(values.cast(pa.int64()))
    return _sortable_bits(one_chunk(values.cast(pa.float64())))


def in_unit(values: pa.ChunkedArray, unit: str | None) -> pa.ChunkedArray:
    """Returns numbers in one unit. Those that are times in another unit by their magnitude are converted.

    Args:
        values: The numbers. Values that are no numbers are returned as they are.
        unit: One of UNITS. None: nothing is converted.

    Raises:
        InputError: A number is finer than the unit. Rounded, it could change places with another.
    """
    integers = pa.types.is_integer(values.type)
    if unit is None or not (integers or pa.types.is_floating(values.type)):
        return values
    numbers = values.fill_null(0).to_numpy()
    units, per_second = unit_of(numbers), list(UNITS.values())
    wanted = list(UNITS).index(unit)
    others = [number for number in np.unique(units) if number not in (-1, wanted)]
    if not others:
        return values
    numbers = numbers.copy()
    for other in others:
        mine = units == other
        if other < wanted:
            numbers[mine] *= per_second[wanted] // per_second[other]
        else:
            factor = per_second[other] // per_second[wanted]
            if integers and (numbers[mine] % factor).any():
                finer = list(UNITS)[other]
                raise InputError(
                    f"The log has times in {finer}, which --timestamp-unit {unit} cannot hold",
                    code="TIME-FINE",
                    found=f"{int(mine.sum()):,} of {len(numbers):,} rows, not all of them whole multiples of 1 {unit}",
                    expected="a unit in which no time is rounded, as order could change with it",
                    fix=f"use --timestamp-unit {finer}",
                )
            numbers[mine] = numbers[mine] // factor if integers else numbers[mine] / factor
    missing = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    return pa.chunked_array([pa.array(numbers, values.type, mask=missing)])


def _sortable_bits(values: pa.Array) -> pa.Array:
    """Maps float64 to int64 in the same order. NaN and infinities become null."""
    numbers = values.fill_null(np.nan).to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0
    bits = numbers.view(np.int64)
    # The bits of negative floats sort by magnitude, which is the wrong way round. Flip all bits except the sign.
    ordered = np.where(bits < 0, bits ^ np.int64(2**63 - 1), bits)
    return pa.array(ordered, mask=~np.isfinite(numbers))
