"""Plans the reading: footers only, before any row is touched.

A split is a run of row groups of one file, the unit that one worker reads at a time. Bad files and columns come to
light here, before a long run starts, and the footers' row counts are what the finished run is checked against.
"""

import math
from dataclasses import dataclass

import pyarrow as pa

from ..models.errors import InputError
from .files import match_files, open_parquet
from .grouping import Sharding
from .schema import InteractionColumns, check_file_schema, unify_schemas

SPLIT_BYTES = 32 << 20
"""Uncompressed bytes of row groups that one split takes together."""
SHARD_BYTES = 64 << 20
SHARD_ROWS = 500_000
MIN_SHARDS = 8
"""Logs worth more than one worker get this many shards; the number never depends on the workers, as bytes would."""
ROWS_WORTH_SPLITTING = 20_000


@dataclass(frozen=True)
class Split:
    """Row groups of one file that are read together."""

    index: int
    """Number of the split in the whole input; names its output files."""
    path: str
    """The Parquet file."""
    row_groups: tuple[int, ...]
    """Row groups to read, ascending."""
    first_row: int
    """Number in its file of the split's first row."""
    file_first_row: int
    """Number in the whole input of the file's first row."""
    rows: int
    """Rows in the split, by the footer."""


@dataclass(frozen=True)
class InputPlan:
    """What will be read, and what the footers promise."""

    splits: tuple[Split, ...]
    """All splits, in input order."""
    schema: pa.Schema
    """The schema in which the rows of every file are carried."""
    rows_by_file: dict[str, int]
    """Path to number of rows, by the footers."""
    uncompressed_bytes: int
    """Size of all row groups, by the footers."""

    @property
    def rows(self) -> int:
        """Rows in the whole input."""
        return sum(self.rows_by_file.values())

    def sharding(self, shards: int | None = None) -> Sharding:
        """Returns how users are dealt into shards, as many as asked for or `default_shards`.

        Any number up to the default, or MIN_SHARDS, gives the same bits of every score.
        """
        default = self.default_shards()
        shards = shards or default
        return Sharding(shards, max(default, shards, MIN_SHARDS))

    def default_shards(self) -> int:
        """Number of user shards: enough that each fits a small worker's memory, a function of the input alone."""
        return max(
            math.ceil(self.uncompressed_bytes / SHARD_BYTES),
            math.ceil(self.rows / SHARD_ROWS),
            min(MIN_SHARDS, math.ceil(self.rows / ROWS_WORTH_SPLITTING)),
        )


def plan_input(path: str, columns: InteractionColumns) -> InputPlan:
    """Reads the footers of all files under `path` and plans the splits.

    Raises:
        InputError: No file, an unreadable file, a schema that breaks the contract, or no rows at all.
    """
    splits: list[Split] = []
    schemas: dict[str, pa.Schema] = {}
    rows_by_file: dict[str, int] = {}
    total_bytes = 0
    for file in match_files(path):
        with open_parquet(file.path) as parquet:
            # A file without rows brings nothing, and its writer could not know the types.
            if parquet.metadata.num_rows:
                schemas[file.path] = check_file_schema(parquet.schema_arrow, columns, file.path)
            groups = [
                (parquet.metadata.row_group(i).num_rows, parquet.metadata.row_group(i).total_byte_size)
                for i in range(parquet.metadata.num_row_groups)
            ]
        file_first_row = sum(rows_by_file.values())
        rows_by_file[file.path] = sum(rows for rows, _ in groups)
        total_bytes += sum(size for _, size in groups)
        splits += _split_file(file.path, groups, file_first_row, len(splits))
    if not splits:
        raise InputError(
            f"No rows in {path}",
            found=f"{len(rows_by_file):,} Parquet file{'s' * (len(rows_by_file) != 1)} with 0 rows",
            expected="at least one interaction",
        )
    return InputPlan(tuple(splits), unify_schemas(schemas, columns), rows_by_file, total_bytes)


def _split_file(path: str, groups: list[tuple[int, int]], file_first_row: int, first_index: int) -> list[Split]:
    splits: list[Split] = []
    row_groups: list[int] = []
    first_row = rows = size = 0
    for number, (group_rows, group_bytes) in enumerate(groups):
        if rows and size + group_bytes > SPLIT_BYTES:
            splits.append(Split(first_index + len(splits), path, tuple(row_groups), first_row, file_first_row, rows))
            first_row, row_groups, rows, size = first_row + rows, [], 0, 0
        row_groups.append(number)
        rows += group_rows
        size += group_bytes
    if rows:
        splits.append(Split(first_index + len(splits), path, tuple(row_groups), first_row, file_first_row, rows))
    return splits
