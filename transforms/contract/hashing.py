"""Hashes ids. An id has the same hash in every process, on every machine and in every release.

A user's hash decides which shard and which fold the user belongs to, so a different hash would change results.
"""

import numpy as np
import pyarrow as pa

from ...models.core.mix_bits import mix_bits
from .arrow_types import is_binary_type, is_string_type, one_chunk, plain_type
from .python_values import python_values

_STRINGS_PER_BLOCK = 1 << 15
"""How many strings are hashed at a time. They are few enough to fit the processor's cache."""


def hash_values(values: pa.Array) -> np.ndarray:
    """Returns a 64-bit hash of each string, bytes or integer, uint64 [n]."""
    if is_binary_type(values.type):
        values = values.cast(pa.large_binary())
    elif is_string_type(values.type):
        values = values.cast(pa.large_string())
    else:
        return mix(values.cast(pa.int64(), safe=False).to_numpy().astype(np.uint64))
    _, offsets_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[values.offset : values.offset + len(values) + 1]
    data = np.frombuffer(data_buffer or b"", np.uint8)
    result = np.empty(len(values), np.uint64)
    for start in range(0, len(values), _STRINGS_PER_BLOCK):
        stop = start + _STRINGS_PER_BLOCK
        lengths = np.diff(offsets[start : stop + 1])
        result[start:stop] = _hash_strings(data, offsets[:-1][start:stop], lengths)
    return result


def hash_rows(table: pa.Table) -> np.ndarray:
    """Returns a 64-bit hash of each row by the values in all columns, uint64 [rows]."""
    total = np.zeros(len(table), np.uint64)
    for column in table.columns:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        texts = _as_texts(column)
        hashes = hash_values(one_chunk(texts.fill_null(b"" if is_binary_type(texts.type) else "")))
        total = mix(total * np.uint64(3) + np.where(missing, np.uint64(1), hashes))
    return total


def _as_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns each value as a string or bytes, whatever other values are in the column."""
    if pa.types.is_dictionary(column.type) or pa.types.is_binary_view(column.type):
        column = column.cast(plain_type(column.type))
    if is_binary_type(column.type):  # what is no UTF-8 could not be cast to strings
        return column.cast(pa.large_binary())
    try:
        return column.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # lists and structs
        return pa.chunked_array([pa.array([repr(value) for value in python_values(column)], pa.large_string())])


def _hash_strings(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Hashes strings by their bytes with a multilinear hash modulo 2^64, uint64 [n].

    Works on all strings at once, one byte position after the other.
    """
    multipliers = mix(np.arange(int(lengths.max()), dtype=np.uint64)) | np.uint64(1)
    total = lengths.astype(np.uint64)
    shortest = int(lengths.min())
    for position in range(shortest):
        total += (data[starts + position].astype(np.uint64) + np.uint64(1)) * multipliers[position]
    longer = np.flatnonzero(lengths > shortest)
    for position in range(shortest, len(multipliers)):
        longer = longer[lengths[longer] > position]
        total[longer] += (data[starts[longer] + position].astype(np.uint64) + np.uint64(1)) * multipliers[position]
    return mix(total)


def mix(values: np.ndarray) -> np.ndarray:
    """Spreads every input bit over all output bits, uint64 [n]. Zero becomes another number."""
    return mix_bits(values + np.uint64(0x9E3779B97F4A7C15))
