"""Checks every row of a table, and separates the usable interactions from the rejected rows.

You need this to know what makes a row unusable. Every rejected row comes with the reason.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.reasons import rejection_code
from ..contract.arrow_types import is_string_type
from ..contract.columns import ROW, TIME, InteractionColumns
from ..contract.nobody import NOBODY, is_nobody
from ..contract.output_schemas import REJECTED_SCHEMA
from ..contract.python_values import to_json_rows
from .forgotten import forgotten_users
from .ids import read_ids, read_texts
from .timestamps import in_unit, parse_time

UNREADABLE = rejection_code("unreadable")
"""Reason for rejecting a row whose row group cannot be read."""


class Validated(NamedTuple):
    """Result of `validate`. Every input row is in exactly one of the two tables."""

    valid: pa.Table
    """The usable rows in input order, with all their columns and the column ROW, and TIME if timestamps are strings."""
    rejected: pa.Table
    """The other rows, in REJECTED_SCHEMA."""


def validate(
    table: pa.Table, columns: InteractionColumns, path: str, first_row: int = 0, file_first_row: int = 0
) -> Validated:
    """Checks every row of one table against the contract.

    A row is rejected for the first of these reasons:

    1. The user is to be forgotten (`forget`). Then no value of the row is shown.
    2. The user id cannot be an id (see `read_ids`), is one that `reject_users` names, or is null or empty.
    3. The item id cannot be an id, or is null or empty.
    4. The item id does not fit int64. Embeddings hold no larger ids.
    5. The timestamp is null, or cannot be read as a time.
    6. The position is null.
    7. The behaviour is not UTF-8, null or empty.

    Args:
        table: Rows whose schema has passed `check_file_schema`.
        columns: The names of the log's columns.
        path: The file that the rows come from.
        first_row: The number of the first row in its file.
        file_first_row: The number of the file's first row in the whole input.

    Raises:
        InputError: Times are finer than the unit that the user names.
    """
    given = table
    table = _in_named_unit(table, columns)
    time = parse_time(table[columns.timestamp], columns)
    problems: list[tuple[str, np.ndarray]] = []  # reason, and which rows have it, bool [rows]
    for name in (columns.user, columns.item):
        ids = read_ids(table[name], name)
        problems += ids.problems
        if not ids.values.type.equals(table[name].type):
            table = table.set_column(table.column_names.index(name), name, ids.values)
        if name == columns.user:
            problems = [*_forgotten(columns, ids.values), *problems, *_unwanted(columns, ids.values)]
        problems += _nulls(rejection_code("null {column}", name), table[name])
        problems += _empty(rejection_code("empty {column}", name), table[name])
    problems += _beyond_int64(rejection_code("{column} beyond int64", columns.item), table[columns.item])
    problems += _nulls(rejection_code("null {column}", columns.timestamp), table[columns.timestamp])
    problems += _nulls(rejection_code("unparsable {column}", columns.timestamp), time)
    if columns.position:
        problems += _nulls(rejection_code("null {column}", columns.position), table[columns.position])
    if columns.behaviour:
        if is_string_type(table[columns.behaviour].type):
            texts = read_texts(table[columns.behaviour], columns.behaviour)
            problems += texts.problems
            table = table.set_column(table.column_names.index(columns.behaviour), columns.behaviour, texts.values)
        problems += _nulls(rejection_code("null {column}", columns.behaviour), table[columns.behaviour])
        problems += _empty(rejection_code("empty {column}", columns.behaviour), table[columns.behaviour])

    code = np.full(table.num_rows, -1, np.int8)  # [rows]; index into problems, -1 if the row is usable
    for number in reversed(range(len(problems))):
        code[problems[number][1]] = number
    # Parsing strings is slow, so the parsed times travel along. Other types are as quick to parse again.
    valid = table.append_column(TIME, time) if is_string_type(table[columns.timestamp].type) else table
    first = file_first_row + first_row
    valid = valid.append_column(ROW, pa.array(np.arange(first, first + table.num_rows)))
    forgotten = rejection_code("forgotten {column}", columns.user)
    bad = np.flatnonzero(code >= 0) if problems else np.zeros(0, np.int64)
    if len(bad):
        valid = valid.filter(pa.array(code < 0))
    rejected = pa.table(
        {
            "file": pa.repeat(pa.scalar(path), len(bad)),
            "row_number": pa.array(first_row + bad),
            "reason": pa.array([problems[i][0] for i in code[bad]], pa.string()),
            "row": _shown(given, bad, [problems[i][0] == forgotten for i in code[bad]]),
        },
        schema=REJECTED_SCHEMA,
    )
    return Validated(valid, rejected)


def _shown(table: pa.Table, bad: np.ndarray, hidden: list[bool]) -> pa.Array:
    """Returns some rows of a table as JSON, but "null" in place of those that are hidden."""
    shown = iter(to_json_rows(table.take(bad[~np.array(hidden, bool)])) if not all(hidden) else [])
    return pa.array(["null" if hide else next(shown) for hide in hidden], pa.string())


def _in_named_unit(table: pa.Table, columns: InteractionColumns) -> pa.Table:
    stamps = table[columns.timestamp]
    converted = in_unit(stamps, columns.timestamp_unit)
    if converted is stamps:
        return table
    place = table.column_names.index(columns.timestamp)
    return table.set_column(place, table.schema.field(place), converted)


def unreadable_rows(path: str, first_row: int, count: int) -> pa.Table:
    """Returns rejected rows, in REJECTED_SCHEMA, for `count` rows that exist but whose values cannot be read."""
    columns = (pa.repeat(path, count), pa.array(np.arange(first_row, first_row + count)))
    return pa.table([*columns, pa.repeat(UNREADABLE, count), pa.repeat("null", count)], schema=REJECTED_SCHEMA)


def _nulls(reason: str, values: pa.ChunkedArray | pa.Array) -> list[tuple[str, np.ndarray]]:
    """Returns the reason and which values are null, or an empty list if none is."""
    return [(reason, values.is_null().to_numpy(zero_copy_only=False))] if values.null_count else []


def _empty(reason: str, values: pa.ChunkedArray) -> list[tuple[str, np.ndarray]]:
    """Returns the reason and which strings are empty, or an empty list if none is or the values are not strings."""
    if not is_string_type(values.type):
        return []
    lengths = pc.binary_length(values)
    if pc.min(lengths).as_py() != 0:
        return []
    return [(reason, pc.fill_null(pc.equal(lengths, 0), False).to_numpy(zero_copy_only=False))]


def _forgotten(columns: InteractionColumns, users: pa.ChunkedArray) -> list[tuple[str, np.ndarray]]:
    """Returns the reason and which users are to be forgotten."""
    if columns.forget is None:
        return []
    listed = pc.is_in(users.cast(pa.large_string()), value_set=forgotten_users(columns.forget))
    return [(rejection_code("forgotten {column}", columns.user), listed.to_numpy())]


def _unwanted(columns: InteractionColumns, users: pa.ChunkedArray) -> list[tuple[str, np.ndarray]]:
    """Returns the reasons and which users are to be rejected because they are nobody, or are named."""
    if not columns.reject_users:
        return []
    found = []
    names = [name for name in columns.reject_users if name != NOBODY]
    if len(names) < len(columns.reject_users):
        found.append((rejection_code("nobody {column}", columns.user), is_nobody(users)))
    if names:
        listed = pc.is_in(users.cast(pa.large_string()), value_set=pa.array(names, pa.large_string()))
        found.append((rejection_code("excluded {column}", columns.user), listed.to_numpy(zero_copy_only=False)))
    return found


def _beyond_int64(reason: str, values: pa.ChunkedArray) -> list[tuple[str, np.ndarray]]:
    """Returns the reason and which values do not fit int64, or an empty list if all do."""
    if not pa.types.is_uint64(values.type) or (pc.max(values).as_py() or 0) < 2**63:
        return []
    beyond = pc.greater_equal(values, pa.scalar(2**63, pa.uint64()))
    return [(reason, pc.fill_null(beyond, False).to_numpy(zero_copy_only=False))]
