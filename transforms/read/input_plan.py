"""Plans the reading of a log from the footers of its Parquet files, before any row is read.

You need this at the start of every command that reads a log. The plan cuts the log into splits. A split is a few
neighbouring row groups of one file, and one worker reads it at a time. Bad files and unusable columns are found here,
before a long run starts. The finished run is checked against the row counts of the footers.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa

from ...models.core.errors import InputError, StoreError
from ..contract.columns import InteractionColumns
from ..contract.schemas import check_file_schema, describe_schemas, find_minority_schemas, unify_schemas
from ..contract.sharding import Sharding
from ..files.found_files import FoundFiles, SkippedFile, find_files
from ..files.partitions import Partitions
from ..files.storage import is_local
from ..files.store import REQUESTS, FileInfo
from ..files.table_formats import TableVersion
from ..files.tables import open_footer
from .log_source import LogSource

SPLIT_BYTES = 32 << 20
"""A split takes row groups until they would exceed this many uncompressed bytes."""

SHARD_BYTES = 64 << 20
"""Uncompressed bytes of the input for which one more user shard is made."""

SHARD_ROWS = 500_000
"""Rows of the input for which one more user shard is made."""

MIN_SHARDS = 8
"""Number of shards from which on no more are made unless bytes or rows require it.

It is enough to keep a few workers busy. It must not depend on the number of workers, because the output files would.
"""

ROWS_WORTH_SPLITTING = 20_000
"""Rows of the input for which one more shard is made, up to MIN_SHARDS. Smaller shards are not worth a worker."""


@dataclass(frozen=True)
class Split:
    """Row groups of one file that are read together."""

    index: int
    """Number of the split in the whole input. Its output files are named after it."""
    path: str
    """The Parquet file."""
    row_groups: tuple[int, ...]
    """The row groups to read, in ascending order."""
    first_row: int
    """Number of the split's first row in its file."""
    file_first_row: int
    """Number of the file's first row in the whole input."""
    rows: int
    """Rows in the split, according to the footer."""
    uncompressed_bytes: int
    """Uncompressed size of the row groups in bytes, according to the footer."""
    partitions: Partitions = ()
    """Columns of all its rows that do not stand in the file."""
    whole: bool = False
    """Whether it is all of the file."""


@dataclass(frozen=True)
class InputPlan:
    """What will be read, and what the footers say about it."""

    splits: tuple[Split, ...]
    """All splits, in input order."""
    schema: pa.Schema
    """The schema in which the rows of every file travel."""
    rows_by_file: dict[str, int]
    """Number of rows of each file by path, according to the footers."""
    uncompressed_bytes: int
    """Uncompressed size of all row groups in bytes, according to the footers."""
    files: tuple[FileInfo, ...] = ()
    """The files that are read, as they were when the plan was made."""
    skipped: tuple[SkippedFile, ...] = ()
    """The files that are left out."""
    tables: tuple[TableVersion, ...] = ()
    """The tables whose current version is read."""
    notes: tuple[str, ...] = ()
    """What looks wrong or may surprise but can be read, in sentences for the user."""

    @property
    def rows(self) -> int:
        """Rows in the whole input."""
        return sum(self.rows_by_file.values())

    def sharding(self, shards: int | None = None) -> Sharding:
        """Returns how users are divided into shards: `shards` of them, or `default_shards` if that is None.

        The scores are the same to the bit for every number of shards up to the default, or up to MIN_SHARDS if that is
        more.
        """
        default = self.default_shards()
        shards = shards or default
        return Sharding(shards, max(default, shards, MIN_SHARDS))

    def default_shards(self) -> int:
        """Returns the number of user shards, so that each fits the memory of a small worker.

        It depends on the input only.
        """
        return max(
            math.ceil(self.uncompressed_bytes / SHARD_BYTES),
            math.ceil(self.rows / SHARD_ROWS),
            min(MIN_SHARDS, math.ceil(self.rows / ROWS_WORTH_SPLITTING)),
        )


def plan_input(log: LogSource) -> InputPlan:
    """Reads the footers of all files of a log and plans the splits.

    Args:
        log: The log. If its `on_bad_file` is "skip", bad files are left out and listed. A file is bad if it cannot be
            read, breaks the contract, or has another type for a column than most rows of the log.

    Raises:
        InputError: There is no file, no file has a row, or a file is bad and bad files are not skipped.
    """
    found = find_files(log.path)
    footers: list[_Footer] = []
    skipped = list(found.left_out)
    for info, read in zip(found.files, _read_footers(found, log.columns), strict=True):
        if isinstance(read, _Footer):
            footers.append(read)
        elif log.on_bad_file == "fail" or isinstance(read, StoreError):
            raise read
        else:
            skipped.append(SkippedFile(info.path, info.size, _count_rows(info), read.code, read.what))
    if log.on_bad_file == "skip":
        rows = {footer.info.path: footer.rows for footer in footers}
        schemas = {footer.info.path: footer.schema for footer in footers if footer.schema is not None}
        minority = find_minority_schemas(schemas, rows, log.columns)
        bad = [footer for footer in footers if footer.info.path in minority]
        skipped += [SkippedFile(f.info.path, f.info.size, f.rows, "LOG-MIXED", minority[f.info.path]) for f in bad]
        footers = [footer for footer in footers if footer.info.path not in minority]
    splits: list[Split] = []
    rows_by_file: dict[str, int] = {}
    total_bytes = total_rows = 0
    for footer in footers:
        splits += _split_file(footer.info, footer.groups, total_rows, len(splits))
        rows_by_file[footer.info.path] = footer.rows
        total_rows += footer.rows
        total_bytes += sum(size for _, size in footer.groups)
    if not splits:
        bad_files = f", and {len(skipped):,} unusable; the first: {skipped[0].reason}" if skipped else ""
        raise InputError(
            f"No rows in {log.path}",
            code="LOG-EMPTY",
            fix="check that the path leads to the interaction log",
            found=f"{len(footers):,} Parquet file{'s' * (len(footers) != 1)} with 0 rows{bad_files}",
            expected="at least one interaction",
        )
    _refuse_unknown(log.columns, {name for footer in footers for name in footer.names})
    schemas = {footer.info.path: footer.schema for footer in footers if footer.schema is not None}
    infos = tuple(footer.info for footer in footers)
    skipped.sort(key=lambda file: file.path)
    return InputPlan(
        tuple(splits),
        unify_schemas(schemas, log.columns),
        rows_by_file,
        total_bytes,
        infos,
        tuple(skipped),
        found.tables,
        (*found.notes, *_describe_partitions(footers, found), *describe_schemas(schemas, log.columns)),
    )


@dataclass(frozen=True)
class _Footer:
    info: FileInfo
    schema: pa.Schema | None
    """None if the file has no rows. Its types do not count then, because its writer could not know them."""
    names: tuple[str, ...]
    """All columns, also those that are not read."""
    groups: list[tuple[int, int]]
    """Rows and uncompressed bytes of each row group."""
    in_both: tuple[str, ...]
    """Columns that stand in the file and in the names of its folders too."""

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.groups)


def _read_footers(found: FoundFiles, columns: InteractionColumns) -> Iterator[_Footer | InputError]:
    """Reads the footers of all files, in their order. A store is asked for several at the same time."""

    def read(info: FileInfo) -> _Footer | InputError:
        try:
            return _read_footer(info, columns, found.partitions)
        except InputError as error:
            return error

    if is_local(found.files[0].path):
        yield from map(read, found.files)
        return
    with ThreadPoolExecutor(REQUESTS) as pool:
        yield from pool.map(read, found.files)


def _read_footer(info: FileInfo, columns: InteractionColumns, partitions: pa.Schema) -> _Footer:
    with open_footer(info) as parquet:
        footer, schema = parquet.metadata, parquet.schema_arrow
        in_both = tuple(name for name, _ in info.partitions if name in schema.names)
        info = replace(info, partitions=tuple(pair for pair in info.partitions if pair[0] not in in_both))
        for name, _ in info.partitions:
            schema = schema.append(partitions.field(name))
        checked = check_file_schema(schema, columns, info.path) if footer.num_rows else None
        numbers = range(footer.num_row_groups)
        groups = [(footer.row_group(i).num_rows, footer.row_group(i).total_byte_size) for i in numbers]
    return _Footer(info, checked, tuple(schema.names), groups, in_both)


def _refuse_unknown(columns: InteractionColumns, names: set[str]) -> None:
    """Checks that each column to be left out is in a file. With a typing error, the column that is meant would stay."""
    unknown = [] if columns.keeps_only else [name for name in columns.named_carried if name not in names]
    if unknown:
        raise InputError(
            f"No file has the column {unknown[0]!r} that --columns leaves out",
            code="LOG-LEFT-OUT",
            found=f"columns {', '.join(sorted(names))}",
            fix="correct --columns",
        )


def _describe_partitions(footers: list[_Footer], found: FoundFiles) -> list[str]:
    """Says which columns are read from the names of folders, and which are not because the files hold them too."""
    roots = tuple(f"{table.path}/" if table.path else "" for table in found.tables)
    plain = [footer for footer in footers if not footer.info.path.startswith(roots)]
    added = dict.fromkeys(name for footer in plain for name, _ in footer.info.partitions)
    in_both = dict.fromkeys(name for footer in plain for name in footer.in_both)
    columns = ", ".join(f"{name} ({found.partitions.field(name).type})" for name in added)
    return [
        *([f"From the names of folders: {columns}."] if added else []),
        *(
            f"The column {name!r} stands in the files and in the names of their folders: that of the files is read."
            for name in in_both
        ),
    ]


def _count_rows(info: FileInfo) -> int | None:
    try:
        with open_footer(info) as parquet:
            return parquet.metadata.num_rows
    except InputError:
        return None


def _split_file(info: FileInfo, groups: list[tuple[int, int]], file_first_row: int, first_index: int) -> list[Split]:
    splits: list[Split] = []
    row_groups: list[int] = []
    first_row = rows = size = 0

    def end_split() -> None:
        index = first_index + len(splits)
        numbers = tuple(row_groups)
        splits.append(Split(index, info.path, numbers, first_row, file_first_row, rows, size, info.partitions))

    for number, (group_rows, group_bytes) in enumerate(groups):
        if rows and size + group_bytes > SPLIT_BYTES:
            end_split()
            first_row, row_groups, rows, size = first_row + rows, [], 0, 0
        row_groups.append(number)
        rows += group_rows
        size += group_bytes
    if rows:
        end_split()
    return [replace(splits[0], whole=True)] if len(splits) == 1 else splits
