"""Reads splits of the interaction log: our own reader, because Beam's drops or hides bad input.

Beam's Parquet source returns a table without a missing column, reads an empty file as zero rows, and dies on a
truncated one. Here every row of a split comes out either valid or rejected, and both are counted.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from time import perf_counter

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from ...models.core.errors import InputError
from ..contract import table_coder  # noqa: F401 (registers the coder of tables)
from ..contract.arrow_types import one_chunk
from ..contract.columns import ROW, InteractionColumns
from ..contract.hashing import hash_values
from ..files.storage import FileInfo, delete, exists, is_unchanged, join
from ..files.tables import WrittenFile, open_parquet, write_table
from .input_plan import Split
from .log_source import OnBadFile
from .validation import Validated, unreadable_rows, validate


@dataclasses.dataclass(frozen=True)
class SplitCounts:
    """What became of one split's rows."""

    path: str
    """The input file."""
    valid: int
    """Rows passed on."""
    rejected: dict[str, int]
    """Rows rejected, by reason."""
    seconds: float
    """Worker seconds spent on reading and checking."""
    checksum: int = 0
    """Sum of the hashes of the numbers of valid rows, modulo 2^64: two sets of as many rows differ in it."""
    written: WrittenFile | None = None
    """The file of rejected rows, where there are any."""


def row_checksum(rows: pa.Array | pa.ChunkedArray) -> int:
    """Sums up hashes of row numbers, modulo 2^64, whatever their order."""
    return int(hash_values(one_chunk(rows)).sum())


def read_split(
    split: Split, columns: InteractionColumns, schema: pa.Schema, on_bad_file: OnBadFile = "fail"
) -> Validated:
    """Reads and validates one split.

    Args:
        split: What to read.
        columns: The part that each column plays.
        schema: The columns to read, with the types in which all files' rows are carried; those that this file lacks
            become null.
        on_bad_file: With "skip", rows of row groups that cannot be read are rejected.

    Raises:
        InputError: The file has become unreadable, or has changed since the plan was made.
    """
    try:
        table = _read(split, split.row_groups, schema)
    except InputError as error:
        if on_bad_file == "fail" or error.code not in ("LOG-PAGES", "LOG-LISTS"):
            raise
        return _read_what_can_be(split, columns, schema)
    if table.num_rows != split.rows:
        raise _changed(split.path, f"{table.num_rows} rows", f"{split.rows} rows, as its footer said at the start")
    return validate(_conform(table, schema, split.path), columns, split.path, split.first_row, split.file_first_row)


def check_unchanged(info: FileInfo) -> None:
    """Checks that a file is still the one that the plan was made for.

    Raises:
        InputError: It vanished, or its size or time of change is another, or the file system does not say.
    """
    if not is_unchanged(info):
        found = "another size or time of change" if exists(info.path) else "no such file any more"
        raise _changed(info.path, found, "the file as it was at the start")


def _read(split: Split, row_groups: tuple[int, ...], schema: pa.Schema) -> pa.Table:
    try:
        with open_parquet(split.path) as parquet:
            names = [name for name in schema.names if name in parquet.schema_arrow.names]
            table = parquet.read_row_groups(list(row_groups), columns=names, use_threads=False)
        table.validate()
        for column in table.columns:
            if pa.types.is_dictionary(column.type):
                column.validate(full=True)  # an index beyond the dictionary
        return table
    # The file is anybody's: what its parser raises cannot be listed.
    except Exception as error:
        if not exists(split.path):
            raise _changed(split.path, "no such file any more", "the file as it was at the start") from error
        lines = str(error).splitlines()
        if "Expected all lists to be of size" in str(error):
            raise InputError(
                f"{split.path} holds nulls in a column of lists of a fixed size, which cannot be read from Parquet",
                code="LOG-LISTS",
                found=lines[0],
                expected="lists of any length where some are null",
                fix="write the column as list<...>, leave it out, or go on without these rows by --on-bad-file skip",
            ) from error
        raise InputError(
            f"Cannot read row groups {row_groups[0]} to {row_groups[-1]} of {split.path}",
            code="LOG-PAGES",
            found=f"{type(error).__name__}: {lines[0] if lines else ''}",
            expected="intact Parquet data pages",
            fix="write the file again, leave it out of the input, or go on without these rows by --on-bad-file skip",
        ) from error


def _changed(path: str, found: str, expected: str) -> InputError:
    return InputError(
        f"{path} changed while it was being read",
        code="LOG-CHANGED",
        found=found,
        expected=expected,
        fix="run again when nothing writes to the input",
    )


def _read_what_can_be(split: Split, columns: InteractionColumns, schema: pa.Schema) -> Validated:
    """Reads a damaged split row group by row group; every row of a group that cannot be read is rejected."""
    with open_parquet(split.path) as parquet:
        rows = {group: parquet.metadata.row_group(group).num_rows for group in split.row_groups}
    if sum(rows.values()) != split.rows:
        raise _changed(split.path, f"{sum(rows.values())} rows", f"{split.rows} rows, as its footer said at the start")
    parts: list[Validated] = []
    first_row = split.first_row
    for group, count in rows.items():
        try:
            table = _read(split, (group,), schema)
        except InputError:
            table = None
        if table is not None and len(table) == count:
            conformed = _conform(table, schema, split.path)
            parts.append(validate(conformed, columns, split.path, first_row, split.file_first_row))
        else:
            empty = validate(schema.empty_table(), columns, split.path)
            parts.append(Validated(empty.valid, unreadable_rows(split.path, first_row, count)))
        first_row += count
    return Validated(pa.concat_tables(p.valid for p in parts), pa.concat_tables(p.rejected for p in parts))


def _conform(table: pa.Table, schema: pa.Schema, path: str) -> pa.Table:
    columns = [
        _cast(table[field.name], field, path) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field, path: str) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise InputError(
            f"Column {field.name!r} of {path} holds a value that the type of all files together cannot hold",
            code="LOG-VALUE",
            found=f"{column.type} in this file",  # not Arrow's message: it quotes the value, which may be a user's id
            expected=str(field.type),
            fix="write all files with one type, or clean them separately",
        ) from error


def _write_rejected(path: str, rejected: pa.Table) -> WrittenFile | None:
    if len(rejected):
        return write_table(path, rejected)
    if exists(path):  # seldom; to delete what is not there asks a remote file system twice
        delete(path)
    return None


@dataclasses.dataclass
class ReadSplits(beam.PTransform):
    """Split -> valid tables (main output), SplitCounts (tag `counts`); rejected rows go to files of their own.

    The file of a split's rejected rows has a name made from the split alone, so that a retried bundle or a rerun
    replaces it, or deletes it where there are none any more.
    """

    columns: InteractionColumns
    schema: pa.Schema
    rejected_directory: str
    on_bad_file: OnBadFile = "fail"

    def expand(self, input_or_inputs):
        """Applies the reader to a PCollection of Split."""
        read = beam.ParDo(_ReadSplit(self)).with_output_types(tuple[int, pa.Table])
        return input_or_inputs | "Read and validate" >> read.with_outputs("counts", main="valid")


class _ReadSplit(beam.DoFn):
    def __init__(self, config: ReadSplits):
        self._columns = config.columns
        self._schema = config.schema.serialize().to_pybytes()
        self._rejected_directory = config.rejected_directory
        self._on_bad_file: OnBadFile = config.on_bad_file

    def setup(self):
        self._arrow_schema = pa.ipc.read_schema(pa.py_buffer(self._schema))

    def process(self, split: Split) -> Iterator:
        started = perf_counter()
        valid, rejected = read_split(split, self._columns, self._arrow_schema, self._on_bad_file)
        written = _write_rejected(join(self._rejected_directory, f"part-{split.index:05d}.parquet"), rejected)
        reasons = Counter(rejected["reason"].to_pylist())
        counts = SplitCounts(
            split.path, len(valid), dict(reasons), perf_counter() - started, row_checksum(valid[ROW]), written
        )
        yield TaggedOutput("counts", counts)
        if len(valid):
            yield split.index, valid
