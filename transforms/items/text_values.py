"""Turns a column of a catalogue, of whatever type, into one text per row."""

from typing import Any

import numpy as np
import pyarrow as pa

from ..contract.arrow_types import is_string_type

SEPARATOR = ", "
"""Stands between the parts of an item's text."""


def holds_text(data_type: pa.DataType) -> bool:
    """Whether a column of this type may hold text: strings, bytes, or lists of them at any depth.

    Some engines write strings as plain bytes. Whether bytes are text is decided by looking at them.
    """
    leaf = _leaf(data_type)
    return is_string_type(leaf) or _is_binary(leaf)


def text_values(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Returns one text per row. Lists are joined, at any depth, and numbers are written as text.

    Args:
        column: The column, as it was read [n]. Its strings need not have been checked.

    Returns:
        large_string [n], null if there is nothing; and which rows hold bytes that are not UTF-8, bool [n]. These count
        as nothing.

    Raises:
        pa.ArrowInvalid or pa.ArrowNotImplementedError: The type cannot be written as text, or the column is damaged.
    """
    parts = [_chunk_values(chunk) for chunk in column.chunks]
    texts = pa.chunked_array([texts for texts, _ in parts], pa.large_string()).combine_chunks()
    return texts, np.concatenate([np.zeros(0, bool), *(broken for _, broken in parts)])


def sample_values(array: pa.Array) -> list[str]:
    """Returns the values of an array of `holds_text`, those of lists one by one. Bytes that are not UTF-8 are replaced.

    Raises:
        pa.ArrowInvalid or pa.ArrowNotImplementedError: The array is damaged.
    """
    values = _as_bytes(array).to_pylist()
    return [value.decode(errors="replace") for row in values for value in _flat(row)]


def _chunk_values(array: Any) -> tuple[pa.Array, np.ndarray]:
    broken = np.zeros(len(array), bool)
    array = _plain(array)
    leaf = _leaf(array.type)
    if pa.types.is_null(leaf):
        return pa.nulls(len(array), pa.large_string()), broken
    if leaf == array.type and not (is_string_type(leaf) or _is_binary(leaf)):
        return array.cast(pa.large_string()), broken
    as_bytes = _as_bytes(array)
    if leaf == array.type:
        try:
            return as_bytes.cast(pa.large_string()), broken
        except pa.ArrowInvalid:
            pass  # some value is not UTF-8
    texts: list[str | None] = []
    for row, value in enumerate(as_bytes.to_pylist()):
        try:
            parts = [part.decode() for part in _flat(value)]
        except UnicodeDecodeError:
            broken[row] = True
            parts = []
        texts.append(SEPARATOR.join(filter(None, parts)) if parts else None)
    return pa.array(texts, pa.large_string()), broken


def _as_bytes(array: Any) -> Any:
    """Returns the array with large_binary in place of its strings, numbers or bytes, after checking its structure."""
    array = _plain(array)
    leaf = _leaf(array.type)
    if not (is_string_type(leaf) or _is_binary(leaf)):
        array = array.cast(_with_leaf(array.type, pa.large_string()))
    array = array.cast(_with_leaf(array.type, pa.large_binary()))
    array.validate(full=True)
    return array


def _plain(array: Any) -> Any:
    """Returns the array without extension types and dictionaries."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(array, pa.DictionaryArray):
        values = _plain(array.dictionary)
        if is_string_type(values.type):
            values = values.cast(pa.large_binary())
        array = pa.DictionaryArray.from_arrays(array.indices, values).dictionary_decode()
    return array


def _is_list(data_type: pa.DataType) -> bool:
    return pa.types.is_list(data_type) or pa.types.is_large_list(data_type) or pa.types.is_fixed_size_list(data_type)


def _is_binary(data_type: pa.DataType) -> bool:
    return pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type) or pa.types.is_binary_view(data_type)


def _leaf(data_type: pa.DataType) -> pa.DataType:
    """Returns the type of the values: without lists, dictionaries and extension types."""
    while True:
        if isinstance(data_type, pa.BaseExtensionType):
            data_type = data_type.storage_type
        elif _is_list(data_type) or pa.types.is_dictionary(data_type):
            data_type = data_type.value_type
        else:
            return data_type


def _with_leaf(data_type: pa.DataType, leaf: pa.DataType) -> pa.DataType:
    return pa.large_list(_with_leaf(data_type.value_type, leaf)) if _is_list(data_type) else leaf


def _flat(value: Any) -> list[bytes]:
    """Returns the values in a value or in lists of values, without those that are missing or blank."""
    if isinstance(value, list):
        return [part for element in value for part in _flat(element)]
    return [value] if value is not None and value.strip() else []
