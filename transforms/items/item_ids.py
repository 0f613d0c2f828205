"""Item ids of catalogues and embeddings in one of two types, int64 or string, whatever type they were written in."""

import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import InputError
from ..contract.arrow_types import is_binary_type, is_string_type

_BEYOND = "{} beyond int64"


def normalise_item_ids(column: pa.Array | pa.ChunkedArray, *, file: str, name: str = "item_id") -> pa.Array:
    """Returns item ids as int64 or string, see `usable_item_ids` for the types that are accepted.

    Args:
        column: The item ids [n].
        file: The file that they come from, for messages.
        name: The name of the column, for messages.

    Raises:
        InputError: The column has another type, an id does not fit int64, or an id is null or not UTF-8.
    """
    ids, problems = usable_item_ids(column, file=file, name=name)
    problems.pop(f"empty {name}", None)
    if (beyond := problems.get(_BEYOND.format(name))) is not None:
        raise InputError(
            f"{file}: column '{name}' cannot be read as item ids",
            code="IDS-RANGE",
            fix="cast the ids to int64 or to strings, here and in the log",
            found=f"{int(beyond.sum()):,} ids beyond int64, the first in row {int(beyond.argmax())}",
        )
    for reason, rows in problems.items():
        raise InputError(
            f"{file}: column '{name}' has {int(rows.sum()):,} unusable item ids",
            code="IDS-NULL",
            found=f"{reason}, the first in row {int(rows.argmax())}",
            expected="an id in every row",
            fix="remove those rows",
        )
    return ids


def usable_item_ids(
    column: pa.Array | pa.ChunkedArray, *, file: str, name: str
) -> tuple[pa.Array, dict[str, np.ndarray]]:
    """Returns the item ids that can be used, as int64 or string, and which rows have none.

    Accepted are strings and integers of any type, strings written as bytes, decimals without a fraction, UUIDs (also as
    16 bytes without the name), floats that are whole numbers (pandas makes floats of integers if one is missing), and
    dictionaries of these.

    Args:
        column: The item ids [n]. Its strings need not have been checked.
        file: The file that they come from, for messages.
        name: The name of the column, for messages.

    Returns:
        The ids, of all rows but the unusable ones; and for each reason the unusable rows, bool [n]. Empty ids are
        among the ids all the same, so that the caller decides.

    Raises:
        InputError: The column has another type.
    """
    array: Any = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    problems = {f"null {name}": array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)}
    ids = _as_strings(array) if _holds_strings(array.type) else _as_integers(array)
    if ids is None:
        raise InputError(
            f"{file}: column '{name}' cannot hold item ids",
            code="IDS-TYPE",
            found=f"type {array.type}",
            expected="string or integer",
            fix=f"cast {name} to string or int64 before writing the file",
        )
    missing = ids.is_null().to_numpy(zero_copy_only=False) & ~problems[f"null {name}"]
    if pa.types.is_integer(ids.type):
        problems[_BEYOND.format(name)] = missing
    else:
        problems[f"{name} is not UTF-8"] = missing
        empty = pc.equal(pc.binary_length(ids), 0).fill_null(False)
        problems[f"empty {name}"] = empty.to_numpy(zero_copy_only=False)
    return ids.drop_null(), {reason: rows for reason, rows in problems.items() if rows.any()}


def _holds_strings(data_type: pa.DataType) -> bool:
    is_bytes = is_binary_type(data_type) or pa.types.is_binary_view(data_type)
    return is_string_type(data_type) or is_bytes or isinstance(data_type, pa.UuidType)


def _as_strings(array: Any) -> pa.Array:
    """Returns strings, null where bytes are not UTF-8."""
    if isinstance(array.type, pa.UuidType):
        array = array.storage
    if array.type.equals(pa.binary(16)):  # a UUID, as in logs
        return pa.array(
            [None if value is None else str(uuid.UUID(bytes=value)) for value in array.to_pylist()], pa.string()
        )
    as_bytes = array.cast(pa.large_binary())
    try:
        return as_bytes.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decoded(value) for value in as_bytes.to_pylist()], pa.string())


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _as_integers(array: Any) -> pa.Array | None:
    """Returns integers, null where they are beyond int64. None if the type holds no whole numbers."""
    kind = array.type
    if pa.types.is_null(kind):
        return array.cast(pa.string())
    if pa.types.is_decimal(kind):
        if kind.scale != 0:
            return None
        wide = array.cast(pa.decimal256(76, 0))
        fits = pc.and_(pc.greater_equal(wide, _decimal(-(2**63))), pc.less(wide, _decimal(2**63)))
        return pc.if_else(fits, wide, pa.scalar(None, wide.type)).cast(pa.int64())
    if pa.types.is_floating(kind):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, kind), array)
        whole = pc.and_(pc.equal(pc.floor(array), array), pc.less_equal(pc.abs(array), pa.scalar(2.0**53).cast(kind)))
        return array.cast(pa.int64()) if pc.all(whole).as_py() is not False else None
    if pa.types.is_uint64(kind):
        fits = pc.less(array, pa.scalar(2**63, pa.uint64()))
        return pc.if_else(fits, array, pa.scalar(None, kind)).cast(pa.int64())
    return array.cast(pa.int64()) if pa.types.is_integer(kind) else None


def _decimal(value: int) -> pa.Scalar:
    return pa.scalar(Decimal(value), pa.decimal256(76, 0))
