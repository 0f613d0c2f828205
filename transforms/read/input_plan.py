"""Plans the reading: footers only, before any row is touched.

A split is a run of row groups of one file, the unit that one worker reads at a time. Bad files and columns come to
light here, before a long run starts, and the footers' row counts are what the finished run is checked against.
"""

import math
from dataclasses import dataclass

import pyarrow as pa

from ...models.core.errors import InputError
from ..contract.columns import InteractionColumns
from ..contract.schemas import check_file_schema, find_odd_schemas, unify_schemas
from ..contract.sharding import Sharding
from ..files.listing import match_files
from ..files.storage import FileInfo
from ..files.tables import open_parquet
from .log_source import LogSource

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
    uncompressed_bytes: int
    """Size of its row groups, by the footer."""


@dataclass(frozen=True)
class SkippedFile:
    """A file of the input that was left out as a whole."""

    path: str
    """The file."""
    size: int
    """Bytes."""
    rows: int | None
    """Rows, by the footer; None where that cannot be read."""
    code: str
    """Code of the error that it would have been."""
    reason: str
    """What is wrong with it."""


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
    files: tuple[FileInfo, ...] = ()
    """The files that are read, as they were when the plan was made."""
    skipped: tuple[SkippedFile, ...] = ()
    """The files that are not."""

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


@dataclass(frozen=True)
class _Footer:
    info: FileInfo
    schema: pa.Schema | None
    """None for a file without rows: it brings nothing, and its writer could not know the types."""
    groups: list[tuple[int, int]]
    """(rows, uncompressed bytes) of each row group."""

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.groups)


def plan_input(log: LogSource) -> InputPlan:
    """Reads the footers of all files of a log and plans the splits.

    Args:
        log: The log. If its `on_bad_file` is "skip", files are left out and listed that are unreadable, break the
            contract, or disagree on a type with the files that hold most rows.

    Raises:
        InputError: No file, no rows at all, or, unless bad files are skipped, one of those.
    """
    footers: list[_Footer] = []
    skipped: list[SkippedFile] = []
    for info in match_files(log.path):
        try:
            footers.append(_read_footer(info, log.columns))
        except InputError as error:
            if log.on_bad_file == "fail":
                raise
            skipped.append(SkippedFile(info.path, info.size, _rows_of(info.path), error.code, error.what))
    if log.on_bad_file == "skip":
        rows = {footer.info.path: footer.rows for footer in footers}
        schemas = {footer.info.path: footer.schema for footer in footers if footer.schema is not None}
        odd = find_odd_schemas(schemas, rows)
        bad = [footer for footer in footers if footer.info.path in odd]
        skipped += [SkippedFile(f.info.path, f.info.size, f.rows, "LOG-MIXED", odd[f.info.path]) for f in bad]
        footers = [footer for footer in footers if footer.info.path not in odd]
    splits: list[Split] = []
    rows_by_file: dict[str, int] = {}
    total_bytes = total_rows = 0
    for footer in footers:
        splits += _split_file(footer.info.path, footer.groups, total_rows, len(splits))
        rows_by_file[footer.info.path] = footer.rows
        total_rows += footer.rows
        total_bytes += sum(size for _, size in footer.groups)
    if not splits:
        bad_files = f", and {len(skipped):,} unusable, the first: {skipped[0].reason}" if skipped else ""
        raise InputError(
            f"No rows in {log.path}",
            code="LOG-EMPTY",
            fix="check the path; is this the log?",
            found=f"{len(footers):,} Parquet file{'s' * (len(footers) != 1)} with 0 rows{bad_files}",
            expected="at least one interaction",
        )
    schemas = {footer.info.path: footer.schema for footer in footers if footer.schema is not None}
    infos = tuple(footer.info for footer in footers)
    skipped.sort(key=lambda file: file.path)
    return InputPlan(tuple(splits), unify_schemas(schemas), rows_by_file, total_bytes, infos, tuple(skipped))


def _read_footer(info: FileInfo, columns: InteractionColumns) -> _Footer:
    with open_parquet(info.path) as parquet:
        footer = parquet.metadata
        schema = check_file_schema(parquet.schema_arrow, columns, info.path) if footer.num_rows else None
        numbers = range(footer.num_row_groups)
        groups = [(footer.row_group(i).num_rows, footer.row_group(i).total_byte_size) for i in numbers]
    return _Footer(info, schema, groups)


def _rows_of(path: str) -> int | None:
    try:
        with open_parquet(path) as parquet:
            return parquet.metadata.num_rows
    except InputError:
        return None


def _split_file(path: str, groups: list[tuple[int, int]], file_first_row: int, first_index: int) -> list[Split]:
    splits: list[Split] = []
    row_groups: list[int] = []
    first_row = rows = size = 0

    def finish() -> None:
        index = first_index + len(splits)
        splits.append(Split(index, path, tuple(row_groups), first_row, file_first_row, rows, size))

    for number, (group_rows, group_bytes) in enumerate(groups):
        if rows and size + group_bytes > SPLIT_BYTES:
            finish()
            first_row, row_groups, rows, size = first_row + rows, [], 0, 0
        row_groups.append(number)
        rows += group_rows
        size += group_bytes
    if rows:
        finish()
    return splits
