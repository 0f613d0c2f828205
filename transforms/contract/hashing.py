"""Hashes ids: the same value in every process, on every machine and in every release."""

import numpy as np
import pyarrow as pa

from .arrow_types import is_string_type

_HASHED_TOGETHER = 1 << 15
"""Strings hashed at a time: few enough for the cache."""


def hash_values(values: pa.Array) -> np.ndarray:
    """64-bit hash of each string or integer, uint64 [n]; the same in every process and release."""
    if not is_string_type(values.type):
        return _mix(values.cast(pa.int64(), safe=False).to_numpy().astype(np.uint64))
    values = values.cast(pa.large_string())
    _, offsets_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[values.offset : values.offset + len(values) + 1]
    data = np.frombuffer(data_buffer or b"", np.uint8)
    result = np.empty(len(values), np.uint64)
    for start in range(0, len(values), _HASHED_TOGETHER):
        block = slice(start, start + _HASHED_TOGETHER)
        result[block] = _hash_strings(data, offsets[:-1][block], np.diff(offsets[start : start + _HASHED_TOGETHER + 1]))
    return result


def _hash_strings(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Hashes strings by their bytes: a multilinear hash, modulo 2^64, one pass for each place in the strings."""
    multipliers = _mix(np.arange(int(lengths.max()), dtype=np.uint64)) | np.uint64(1)
    total = lengths.astype(np.uint64)
    shortest = int(lengths.min())
    for place in range(shortest):
        total += (data[starts + place].astype(np.uint64) + np.uint64(1)) * multipliers[place]
    longer = np.flatnonzero(lengths > shortest)
    for place in range(shortest, len(multipliers)):
        longer = longer[lengths[longer] > place]
        total[longer] += (data[starts[longer] + place].astype(np.uint64) + np.uint64(1)) * multipliers[place]
    return _mix(total)


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
