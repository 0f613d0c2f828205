"""Reads ids of every type as strings or integers, as which they travel, are joined and are written.

You need this wherever ids come from a user's file. The same id has the same form in every file, whatever its type was.
"""

import uuid
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.reasons import rejection_code
from ..contract.arrow_types import id_type, is_string_type

Problem = tuple[str, np.ndarray]
"""A reason for rejecting rows, and which rows have it, bool [rows]."""

_EXACT = {16: 2**11, 32: 2**24, 64: 2**53}
"""Integers up to so much are exact as floats of so many bits. Beyond, one float stands for several ids."""


class Ids(NamedTuple):
    """Ids as they travel."""

    values: pa.ChunkedArray
    """Strings or integers; null where there is a problem."""
    problems: list[Problem]
    """What cannot be an id."""


def read_ids(column: pa.ChunkedArray, name: str) -> Ids:
    """Returns ids as strings or integers (see `id_type`), and which values are no ids.

    - Decimals without a fraction, and floats that are whole, become int64.
    - Bytes become the text that they are in UTF-8. Some programs write other text as if it were.
    - UUIDs become their usual text, in lower case with hyphens.

    Args:
        column: A column of a type that `id_type` knows.
        name: Its name, for the reasons.
    """
    data_type = column.type
    wanted = id_type(data_type)
    if pa.types.is_integer(data_type) or pa.types.is_null(data_type):
        return Ids(column, [])
    if is_string_type(data_type):
        return read_texts(column, name)
    assert wanted is not None
    if pa.types.is_decimal(data_type):
        low, high = (pa.scalar(bound).cast(pa.decimal128(19, 0)) for bound in (-(2**63), 2**63 - 1))
        fits = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
        return _where(column, fits, wanted, rejection_code("{column} beyond int64", name))
    if pa.types.is_floating(data_type):
        column = pc.if_else(pc.is_nan(column), None, column)
        whole = pc.less_equal(pc.abs(column), pa.scalar(_EXACT[data_type.bit_width], pa.float64()).cast(data_type))
        whole = pc.and_(whole, pc.equal(column, pc.floor(column)))
        return _where(column, whole, wanted, rejection_code("{column} not an exact whole number", name))
    if isinstance(data_type, pa.BaseExtensionType) or data_type.equals(pa.binary(16)):
        texts = [None if value is None else _uuid_text(value) for value in column.to_pylist()]
        return Ids(pa.chunked_array([pa.array(texts, wanted)]), [])
    return _decode(column, wanted, name)


def read_texts(column: pa.ChunkedArray, name: str) -> Ids:
    """Returns strings, and which of them are no text in UTF-8. Arrow and Parquet do not see to that.

    Args:
        column: A column of strings.
        name: Its name, for the reason.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return _decode(column, column.type, name)
    return Ids(column, [])


def _uuid_text(value: bytes | uuid.UUID) -> str:
    return str(value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value))


def _where(column: pa.ChunkedArray, usable: pa.ChunkedArray, wanted: pa.DataType, reason: str) -> Ids:
    """Casts the usable values; the others are problems."""
    bad = pc.fill_null(pc.invert(usable), False).to_numpy()
    if not bad.any():
        return Ids(column.cast(wanted), [])
    return Ids(pc.if_else(usable, column, None).cast(wanted), [(reason, bad)])


def _decode(column: pa.ChunkedArray, wanted: pa.DataType, name: str) -> Ids:
    column = column.cast(pa.large_binary() if pa.types.is_large_string(wanted) else pa.binary())
    try:
        return Ids(column.cast(wanted), [])
    except pa.ArrowInvalid:
        pass
    bad = np.array([value is not None and not _is_utf8(value) for value in column.to_pylist()], bool)
    usable = pc.if_else(pa.array(~bad), column, None)
    return Ids(usable.cast(wanted), [(rejection_code("{column} not UTF-8", name), bad)])


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
