"""Splits a table of raw rows into usable interactions and rejected rows with their reasons."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract.arrow_types import is_string_type
from ..contract.columns import ROW, TIME, InteractionColumns
from ..contract.output_schemas import REJECTED_SCHEMA
from ..contract.python_values import to_json_rows
from .timestamps import parse_time

UNREADABLE = "unreadable"
"""Why a row is rejected whose row group is damaged."""


class Validated(NamedTuple):
    """Result of `validate`; every input row is in exactly one of the two."""

    valid: pa.Table
    """Usable rows with all their columns in the order of the input, plus ROW, and TIME for `time_of`."""
    rejected: pa.Table
    """The others, in REJECTED_SCHEMA."""


def validate(
    table: pa.Table, columns: InteractionColumns, path: str, first_row: int = 0, file_first_row: int = 0
) -> Validated:
    """Checks every row of one table against the contract.

    A row is rejected for the first of: a null or empty id, an item id beyond int64, which is the widest that embeddings
    hold, a null or unparsable timestamp, a null position.

    Args:
        table: Rows whose schema has passed `check_file_schema`.
        columns: The part that each column plays.
        path: File that the rows come from.
        first_row: Number in the file of the first row.
        file_first_row: Number in the whole input of the file's first row.
    """
    time = parse_time(table[columns.timestamp])
    problems: list[tuple[str, np.ndarray]] = []  # reason, and bool [rows] which rows have it
    for name in (columns.user, columns.item):
        problems += _nulls(f"null {name}", table[name]) + _empty(f"empty {name}", table[name])
    problems += _beyond_int64(f"{columns.item} beyond int64", table[columns.item])
    problems += _nulls(f"null {columns.timestamp}", table[columns.timestamp])
    problems += _nulls(f"unparsable {columns.timestamp}", time)
    if columns.position:
        problems += _nulls(f"null {columns.position}", table[columns.position])

    code = np.full(table.num_rows, -1, np.int8)  # [rows]; index into problems, -1 = usable
    for number in reversed(range(len(problems))):
        code[problems[number][1]] = number
    # Strings take long to read, everything else no longer than to carry along.
    valid = table.append_column(TIME, time) if is_string_type(table[columns.timestamp].type) else table
    first = file_first_row + first_row
    valid = valid.append_column(ROW, pa.array(np.arange(first, first + table.num_rows)))
    bad = np.flatnonzero(code >= 0) if problems else np.zeros(0, np.int64)
    if len(bad):
        valid = valid.filter(pa.array(code < 0))
    rejected = pa.table(
        {
            "file": pa.repeat(pa.scalar(path), len(bad)),
            "row_number": pa.array(first_row + bad),
            "reason": pa.array([problems[i][0] for i in code[bad]], pa.string()),
            "row": pa.array(to_json_rows(table.take(bad)) if len(bad) else [], pa.string()),
        },
        schema=REJECTED_SCHEMA,
    )
    return Validated(valid, rejected)


def unreadable_rows(path: str, first_row: int, count: int) -> pa.Table:
    """Returns rejected rows, in REJECTED_SCHEMA, for rows of which nothing is known but that they were there."""
    columns = (pa.repeat(path, count), pa.array(np.arange(first_row, first_row + count)))
    return pa.table([*columns, pa.repeat(UNREADABLE, count), pa.repeat("null", count)], schema=REJECTED_SCHEMA)


def _nulls(reason: str, values: pa.ChunkedArray | pa.Array) -> list[tuple[str, np.ndarray]]:
    """Returns the reason and which values are null; nothing when none is, as a count that Arrow keeps tells."""
    return [(reason, values.is_null().to_numpy(zero_copy_only=False))] if values.null_count else []


def _empty(reason: str, values: pa.ChunkedArray) -> list[tuple[str, np.ndarray]]:
    """Returns the reason and which strings are empty; nothing for other types, or when none is."""
    if not is_string_type(values.type):
        return []
    lengths = pc.binary_length(values)
    if pc.min(lengths).as_py() != 0:
        return []
    return [(reason, pc.fill_null(pc.equal(lengths, 0), False).to_numpy(zero_copy_only=False))]


def _beyond_int64(reason: str, values: pa.ChunkedArray) -> list[tuple[str, np.ndarray]]:
    """Returns the reason and which integers int64 cannot hold; nothing for other types, or when none is."""
    if not pa.types.is_uint64(values.type) or (pc.max(values).as_py() or 0) < 2**63:
        return []
    beyond = pc.greater_equal(values, pa.scalar(2**63, pa.uint64()))
    return [(reason, pc.fill_null(beyond, False).to_numpy(zero_copy_only=False))]
