"""Groups interactions by user: users are hashed into shards, and Arrow slices travel, never rows.

Two ways to move the slices give the same groups. `claim-check` writes each split's slices to one file on a file system
that all workers see and sends only (file, offset, length) through Beam; `bytes` sends the Arrow bytes themselves.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa

from .coders import TableCoder
from .files import join, read_range, write_atomically
from .schema import is_string_type

Shuffle = Literal["claim-check", "bytes"]
_HASHED_TOGETHER = 1 << 15
"""Strings hashed at a time: few enough for the cache."""
_ROWS_DEALT_TOGETHER = 1 << 17
"""Likewise."""


@dataclasses.dataclass(frozen=True)
class SliceClaim:
    """Where one shard's slice of one split lies."""

    path: str
    """File that holds the slices of the split."""
    offset: int
    """First byte."""
    length: int
    """Bytes."""


@dataclasses.dataclass(frozen=True)
class Slice:
    """One shard's rows of one split, in the order of the input."""

    split: int
    """Number of the split, or of whatever else the slices of a shard are ordered by."""
    content: SliceClaim | bytes
    """The rows, as an Arrow stream, or where that lies."""


@dataclasses.dataclass(frozen=True)
class Sharding:
    """How users are dealt into shards, by the values of their ids alone."""

    shards: int
    """Groups of users that one worker holds at a time."""
    cells: int
    """Smaller groups that no shard cuts, if there are no fewer of them: users are scored cell by cell, so that the
    number of shards changes no bit of a score."""


def user_shard(user_ids: pa.ChunkedArray, sharding: Sharding) -> np.ndarray:
    """Returns the shard of each user, int64 [rows] in [0, shards)."""
    hashes = np.concatenate([np.zeros(0, np.uint64), *(hash_values(chunk) for chunk in user_ids.chunks)])
    return (hashes % np.uint64(sharding.cells) % np.uint64(sharding.shards)).astype(np.int64)


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


def split_by_shard(table: pa.Table, user_column: str, sharding: Sharding) -> Iterator[tuple[int, pa.Table]]:
    """Yields (shard, that shard's rows) for every shard that has rows, in ascending order of shard."""
    parts: dict[int, list[pa.Table]] = defaultdict(list)
    for start in range(0, len(table), _ROWS_DEALT_TOGETHER):
        block = table.slice(start, _ROWS_DEALT_TOGETHER)
        shard = user_shard(block[user_column], sharding)
        ordered = block.take(
            np.argsort(shard.astype(np.uint16 if sharding.shards <= 1 << 16 else np.int64), kind="stable")
        )
        counts = np.bincount(shard, minlength=sharding.shards)
        begins = np.cumsum(counts) - counts
        for number in np.flatnonzero(counts):
            parts[int(number)].append(ordered.slice(begins[number], counts[number]))
    for number in sorted(parts):
        yield number, pa.concat_tables(parts.pop(number))


def write_stream(table: pa.Table, sink: BinaryIO | pa.NativeFile) -> None:
    """Appends a table to a file as an Arrow stream of one batch."""
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def collect(slices: Iterable[Slice]) -> pa.Table:
    """Returns one shard's rows as one table, in the order of the input whatever the order of arrival."""
    tables = []
    for part in sorted(slices, key=lambda part: part.split):
        content = part.content
        if isinstance(content, SliceClaim):
            content = read_range(content.path, content.offset, content.length)
        tables.append(pa.ipc.open_stream(content).read_all())
    return pa.concat_tables(tables)


def ship(
    parts: Iterable[tuple[int, pa.Table]], source: int, path: str, shuffle: Shuffle
) -> Iterator[tuple[int, Slice]]:
    """Yields (shard, slice) for each (shard, table), by way of a file or as bytes.

    Args:
        parts: What goes to which shard.
        source: Number of the split or shard that it comes from.
        path: The file, where one is written.
        shuffle: Which way.
    """
    if shuffle == "bytes":
        for shard, part in parts:
            yield shard, Slice(source, TableCoder().encode(part.combine_chunks()))
        return
    claims: list[tuple[int, SliceClaim]] = []

    def write(file: BinaryIO) -> None:
        for shard, part in parts:
            start = file.tell()
            write_stream(part, file)
            claims.append((shard, SliceClaim(path, start, file.tell() - start)))

    write_atomically(path, write)
    for shard, claim in claims:
        yield shard, Slice(source, claim)


@dataclasses.dataclass
class SliceByUserShard(beam.PTransform):
    """(split index, table) -> (shard, slice of that shard); grouped by shard, they are for `collect`."""

    user_column: str
    sharding: Sharding
    shuffle: Shuffle
    staging_directory: str

    def expand(self, input_or_inputs):
        """Applies the cut to a PCollection of valid tables."""
        return input_or_inputs | "Slice by user shard" >> beam.ParDo(_SliceByShard(self))


class _SliceByShard(beam.DoFn):
    def __init__(self, config: SliceByUserShard):
        self._config = config

    def process(self, element: tuple[int, pa.Table]) -> Iterator[tuple[int, Slice]]:
        split, table = element
        parts = split_by_shard(table, self._config.user_column, self._config.sharding)
        yield from ship(
            parts, split, join(self._config.staging_directory, f"slices-{split:05d}.arrow"), self._config.shuffle
        )
