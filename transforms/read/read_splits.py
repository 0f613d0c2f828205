"""Reads the splits of a log. Every row of a split is either valid or rejected, and both are counted.

You need this to turn the splits of a plan into tables. It replaces Beam's own Parquet source, which hides bad input: it
leaves a missing column out of the table, reads an empty file as no rows, and crashes on a truncated file.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from time import perf_counter

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from ...models.core.errors import InputError, StoreError
from ..contract import table_coder  # noqa: F401 (registers the coder of tables)
from ..contract.arrow_types import id_type, one_chunk, plain_type
from ..contract.columns import ROW, InteractionColumns
from ..contract.hashing import hash_values
from ..files.listed_once import ListedOnce
from ..files.partitions import add_partitions
from ..files.run_paths import RunPaths
from ..files.storage import delete, exists, first_changed
from ..files.store import FileInfo
from ..files.store_errors import store_error
from ..files.tables import WrittenFile, open_parquet, write_table
from .behaviours import count_behaviours
from .clock import TimeFacts, time_facts
from .input_plan import Split
from .log_source import OnBadFile
from .validation import Validated, unreadable_rows, validate


@dataclasses.dataclass(frozen=True)
class SplitCounts:
    """What became of the rows of one split."""

    path: str
    """The input file."""
    valid: int
    """Number of valid rows."""
    rejected: dict[str, int]
    """Number of rejected rows, by reason."""
    seconds: float
    """Worker seconds spent on reading and checking."""
    checksum: int = 0
    """`row_checksum` of the valid rows. It shows if a row was exchanged for another, which counts cannot show."""
    written: WrittenFile | None = None
    """The file of rejected rows. None if no row was rejected."""
    times: TimeFacts = TimeFacts()
    """What the times of the valid rows show."""
    behaviours: dict[str, int] = dataclasses.field(default_factory=dict)
    """Number of valid rows of each behaviour; empty if the log has no behaviours."""


def row_checksum(rows: pa.Array | pa.ChunkedArray) -> int:
    """Returns the sum of the hashes of row numbers, modulo 2^64. The order of the rows does not matter."""
    return int(hash_values(one_chunk(rows)).sum())


def read_split(
    split: Split, columns: InteractionColumns, schema: pa.Schema, on_bad_file: OnBadFile = "fail"
) -> Validated:
    """Reads and validates one split.

    Args:
        split: What to read.
        columns: The names of the log's columns.
        schema: The columns to read, with the types in which the rows of all files travel. Columns that this file lacks
            become null.
        on_bad_file: With "skip", the rows of row groups that cannot be read are rejected.

    Raises:
        InputError: The file has changed since the plan was made, cannot be read any more, or holds a value that does
            not fit its column's type in `schema`.
    """
    try:
        table = _read_row_groups(split, split.row_groups, schema)
    except InputError as error:
        if on_bad_file == "fail" or error.code not in ("LOG-PAGES", "LOG-LISTS"):
            raise
        return _read_intact_row_groups(split, columns, schema)
    if table.num_rows != split.rows:
        raise _changed(split.path, f"{table.num_rows} rows", f"{split.rows} rows, as its footer said at the start")
    return _validate(table, columns, schema, split.path, split.first_row, split.file_first_row)


def _validate(
    table: pa.Table, columns: InteractionColumns, schema: pa.Schema, path: str, first_row: int, file_first_row: int
) -> Validated:
    conformed = pa.table(
        {
            field.name: _cast_column(table[field.name], field, columns, path)
            if field.name in table.column_names
            else pa.nulls(len(table), field.type)
            for field in schema
        }
    )
    valid, rejected = validate(conformed, columns, path, first_row, file_first_row)
    for name in (columns.user, columns.item):  # ids of other types have become strings or integers only now
        if not valid[name].type.equals(schema.field(name).type):
            place = valid.column_names.index(name)
            valid = valid.set_column(place, schema.field(name), valid[name].cast(schema.field(name).type))
    return Validated(valid, rejected)


def check_unchanged(files: Iterable[FileInfo]) -> None:
    """Checks that no file has changed since the plan was made.

    Raises:
        InputError: A file is gone, has another size or modification time, or the file system cannot tell.
    """
    changed = first_changed(files)
    if changed is not None:
        found = "another size or modification time" if exists(changed.path) else "the file is gone"
        raise _changed(changed.path, found, "the file as it was at the start")


def _read_row_groups(split: Split, row_groups: tuple[int, ...], schema: pa.Schema) -> pa.Table:
    try:
        with open_parquet(split.path, whole=split.whole) as parquet:
            names = [name for name in schema.names if name in parquet.schema_arrow.names]
            table = parquet.read_row_groups(list(row_groups), columns=names, use_threads=False)
        table.validate()
        for column in table.columns:
            if pa.types.is_dictionary(column.type):
                _check_indices(column)
        return add_partitions(table, split.partitions, schema)
    except StoreError:
        raise
    # The file may hold anything, so the parser may raise anything.
    except Exception as error:
        if (failure := store_error(split.path, error)) is not None:
            raise failure from error
        if not exists(split.path):
            raise _changed(split.path, "the file is gone", "the file as it was at the start") from error
        lines = str(error).splitlines()
        if "Expected all lists to be of size" in str(error):
            raise InputError(
                f"{split.path} has a column of fixed-size lists with nulls, and Parquet readers cannot read it",
                code="LOG-LISTS",
                found=lines[0],
                expected="lists of variable size if some are null",
                fix="write the column as list<...>, leave it out, or reject these rows with --on-bad-file skip",
            ) from error
        raise InputError(
            f"Cannot read row groups {row_groups[0]} to {row_groups[-1]} of {split.path}",
            code="LOG-PAGES",
            found=f"{type(error).__name__}: {lines[0] if lines else ''}",
            expected="intact Parquet data pages",
            fix="write the file again, leave it out of the input, or reject these rows with --on-bad-file skip",
        ) from error


def _check_indices(column: pa.ChunkedArray) -> None:
    """Checks that no index of a dictionary lies beyond it. Arrow's own check also asks for text in UTF-8."""
    for chunk in column.chunks:
        least, most = (bound.as_py() for bound in pc.min_max(chunk.indices).values())
        if most is not None and not 0 <= least <= most < len(chunk.dictionary):
            raise ValueError("an index beyond its dictionary")


def _changed(path: str, found: str, expected: str) -> InputError:
    return InputError(
        f"{path} changed while it was being read",
        code="LOG-CHANGED",
        found=found,
        expected=expected,
        fix="run again while nothing writes to the input",
    )


def _read_intact_row_groups(split: Split, columns: InteractionColumns, schema: pa.Schema) -> Validated:
    """Reads a damaged split one row group at a time. All rows of a group that cannot be read are rejected."""
    with open_parquet(split.path) as parquet:
        rows = {group: parquet.metadata.row_group(group).num_rows for group in split.row_groups}
    if sum(rows.values()) != split.rows:
        raise _changed(split.path, f"{sum(rows.values())} rows", f"{split.rows} rows, as its footer said at the start")
    parts: list[Validated] = []
    first_row = split.first_row
    for group, count in rows.items():
        try:
            table = _read_row_groups(split, (group,), schema)
        except StoreError:
            raise
        except InputError:
            table = None
        if table is not None and len(table) == count:
            parts.append(_validate(table, columns, schema, split.path, first_row, split.file_first_row))
        else:
            empty = validate(schema.empty_table(), columns, split.path)
            parts.append(Validated(empty.valid, unreadable_rows(split.path, first_row, count)))
        first_row += count
    return Validated(pa.concat_tables(p.valid for p in parts), pa.concat_tables(p.rejected for p in parts))


def conform(column: pa.ChunkedArray, name: str, data_type: pa.DataType, columns: InteractionColumns) -> pa.ChunkedArray:
    """Returns a column of a file in the type in which it travels. Ids that are not strings or integers are not cast.

    Args:
        column: As it was read.
        name: Its name.
        data_type: The type in which the rows of all files travel.
        columns: The names of the log's columns, and how they are read.

    Raises:
        pa.ArrowException: A value does not fit the type.
    """
    if name in (columns.user, columns.item):
        plain = plain_type(column.type)
        if not plain.equals(id_type(plain)):
            return column.cast(plain)
    naive = pa.types.is_timestamp(column.type) and column.type.tz is None
    if naive and columns.timezone is not None and getattr(data_type, "tz", None):
        # Arrow's cast would take them for UTC.
        column = pc.assume_timezone(column, columns.timezone, ambiguous="earliest", nonexistent="latest")
    return column.cast(data_type)


def _cast_column(column: pa.ChunkedArray, field: pa.Field, columns: InteractionColumns, path: str) -> pa.ChunkedArray:
    try:
        return conform(column, field.name, field.type, columns)
    except pa.ArrowException as error:
        raise InputError(
            f"Column {field.name!r} of {path} has a value that does not fit the common type of all files",
            code="LOG-VALUE",
            # Arrow's own message quotes the value, and that may be a user's id.
            found=f"{column.type} in this file",
            expected=f"{field.type} in all files",
            fix="write all files with the same type, or clean them separately"
            + ("" if field.name in columns.required else f"; or leave the column out: --columns=-{field.name}"),
        ) from error


def _write_rejected(path: str, rejected: pa.Table, left: ListedOnce) -> WrittenFile | None:
    if len(rejected):
        return write_table(path, rejected)
    if left.has(path):
        delete(path)
    return None


@dataclasses.dataclass
class ReadSplits(beam.PTransform):
    """Reads splits in parallel, see `read_split`.

    The main output holds (index of the split, table of its valid rows). The output `counts` holds one SplitCounts per
    split. Rejected rows are written to one file per split that has any. The file is named after the split only, so a
    retried bundle or a resumed run replaces it, or deletes it if no row is rejected any more.
    """

    columns: InteractionColumns
    """The names of the log's columns."""
    schema: pa.Schema
    """The schema in which the rows of all files travel."""
    paths: RunPaths
    """Where the files of rejected rows are written."""
    on_bad_file: OnBadFile = "fail"
    """What to do about row groups that cannot be read."""

    def expand(self, input_or_inputs):
        """Reads a PCollection of Split."""
        read = beam.ParDo(_ReadSplit(self)).with_output_types(tuple[int, pa.Table])
        return input_or_inputs | "Read and validate" >> read.with_outputs("counts", main="valid")


class _ReadSplit(beam.DoFn):
    def __init__(self, config: ReadSplits):
        self._columns = config.columns
        self._schema = config.schema.serialize().to_pybytes()
        self._paths = config.paths
        self._on_bad_file: OnBadFile = config.on_bad_file
        self._left = ListedOnce(config.paths.output)

    def setup(self):
        self._arrow_schema = pa.ipc.read_schema(pa.py_buffer(self._schema))

    def process(self, split: Split) -> Iterator:
        started = perf_counter()
        valid, rejected = read_split(split, self._columns, self._arrow_schema, self._on_bad_file)
        if len(rejected):
            self._paths.check_still_ours()  # as before a shard is written
        written = _write_rejected(self._paths.rejected(split.index), rejected, self._left)
        reasons = Counter(rejected["reason"].to_pylist())
        times = time_facts(valid, self._columns)
        behaviours = count_behaviours(valid, self._columns)
        checksum = row_checksum(valid[ROW])
        seconds = perf_counter() - started
        counts = SplitCounts(split.path, len(valid), dict(reasons), seconds, checksum, written, times, behaviours)
        yield TaggedOutput("counts", counts)
        if len(valid):
            yield split.index, valid
