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

from ..models.errors import InputError
from . import coders  # noqa: F401 (tables need it)
from .files import join, open_parquet, write_table
from .schema import InteractionColumns
from .splits import Split
from .validation import Validated, validate


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


def read_split(split: Split, columns: InteractionColumns, schema: pa.Schema) -> Validated:
    """Reads and validates one split.

    Args:
        split: What to read.
        columns: The part that each column plays.
        schema: The columns to read, with the types in which all files' rows are carried; those that this file lacks
            become null.

    Raises:
        InputError: The file has become unreadable, or has changed since the plan was made.
    """
    try:
        with open_parquet(split.path) as parquet:
            names = [name for name in schema.names if name in parquet.schema_arrow.names]
            table = parquet.read_row_groups(list(split.row_groups), columns=names, use_threads=False)
    except (pa.ArrowException, OSError, IndexError) as error:
        raise InputError(
            f"Cannot read row groups {split.row_groups[0]} to {split.row_groups[-1]} of {split.path}",
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            expected="intact Parquet data pages",
            fix="write the file again, or leave it out of the input",
        ) from error
    if table.num_rows != split.rows:
        raise InputError(
            f"{split.path} changed while it was being read",
            found=f"{table.num_rows} rows",
            expected=f"{split.rows} rows, as its footer said at the start",
            fix="run again when nothing writes to the input",
        )
    return validate(_conform(table, schema, split.path), columns, split.path, split.first_row, split.file_first_row)


def _conform(table: pa.Table, schema: pa.Schema, path: str) -> pa.Table:
    columns = [
        _cast(table[field.name], field, path) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field, path: str) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"Column {field.name!r} of {path} holds a value that the type of all files together cannot hold",
            found=f"{str(error).splitlines()[0]} ({column.type} in this file)",
            expected=str(field.type),
            fix="write all files with one type, or clean them separately",
        ) from error


@dataclasses.dataclass
class ReadSplits(beam.PTransform):
    """Split -> valid tables (main output), SplitCounts (tag `counts`); rejected rows go to files of their own.

    The file of a split's rejected rows has a name made from the split alone, so that a retried bundle replaces it.
    """

    columns: InteractionColumns
    schema: pa.Schema
    rejected_directory: str

    def expand(self, input_or_inputs):
        """Applies the reader to a PCollection of Split."""
        read = beam.ParDo(_ReadSplit(self)).with_output_types(tuple[int, pa.Table])
        return input_or_inputs | "Read and validate" >> read.with_outputs("counts", main="valid")


class _ReadSplit(beam.DoFn):
    def __init__(self, config: ReadSplits):
        self._columns = config.columns
        self._schema = config.schema.serialize().to_pybytes()
        self._rejected_directory = config.rejected_directory

    def setup(self):
        self._arrow_schema = pa.ipc.read_schema(pa.py_buffer(self._schema))

    def process(self, split: Split) -> Iterator:
        started = perf_counter()
        valid, rejected = read_split(split, self._columns, self._arrow_schema)
        if len(rejected):
            write_table(join(self._rejected_directory, f"part-{split.index:05d}.parquet"), rejected)
        reasons = Counter(rejected["reason"].to_pylist())
        counts = SplitCounts(split.path, len(valid), dict(reasons), perf_counter() - started)
        yield TaggedOutput("counts", counts)
        if len(valid):
            yield split.index, valid
