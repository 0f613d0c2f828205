"""Groups interactions by user. Users are hashed into shards, and slices of Arrow tables travel, not single rows.

There are two ways to move the slices, and both give the same groups. `claim-check` writes the slices of each split to
one file that all workers can read, and sends only (file, offset, length) through Beam. `bytes` sends the Arrow bytes
through Beam.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal

import apache_beam as beam
import pyarrow as pa

from ..contract.sharding import Sharding, split_by_shard
from ..contract.table_coder import TableCoder
from ..files.run_paths import StagingPaths
from ..files.storage import read_range, write_atomically

Shuffle = Literal["claim-check", "bytes"]


@dataclasses.dataclass(frozen=True)
class SliceClaim:
    """The place of one shard's slice of one split."""

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
    """Number of the split, or whatever else orders the slices of a shard."""
    content: SliceClaim | bytes
    """The rows as an Arrow stream, or the place of the stream."""


def write_stream(table: pa.Table, sink: BinaryIO | pa.NativeFile) -> None:
    """Appends a table to a file as an Arrow stream of one batch."""
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def collect(slices: Iterable[Slice]) -> pa.Table:
    """Returns the rows of one shard as one table, in the order of the input. Slices may arrive in any order."""
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
    """Yields (shard, slice) for each (shard, table).

    Args:
        parts: The shards and their tables.
        source: Number of the split or shard that the tables come from.
        path: The file to write, for `claim-check`.
        shuffle: How the slices travel.
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
    """(split index, table) -> (shard, slice of that shard). Grouped by shard, the slices are input of `collect`."""

    user_column: str
    sharding: Sharding
    shuffle: Shuffle
    paths: StagingPaths

    def expand(self, input_or_inputs):
        """Applies the cut to a PCollection of valid tables."""
        return input_or_inputs | "Slice by user shard" >> beam.ParDo(_SliceByShard(self))


class _SliceByShard(beam.DoFn):
    def __init__(self, config: SliceByUserShard):
        self._config = config

    def process(self, element: tuple[int, pa.Table]) -> Iterator[tuple[int, Slice]]:
        split, table = element
        config = self._config
        parts = split_by_shard(table, config.user_column, config.sharding)
        yield from ship(parts, split, config.paths.slices(split), config.shuffle)
