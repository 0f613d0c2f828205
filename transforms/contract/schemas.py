"""The data contract of interaction logs: which columns, of which types, and what is carried through.

What an interaction log must have, and every column that is added to it, is stated here and nowhere else.
"""

import pyarrow as pa

from ...models.core.errors import InputError
from .arrow_types import is_id_type, is_string_type, is_time_type, plain_type
from .columns import INTERNAL_PREFIX, InteractionColumns
from .output_schemas import ADDED_FIELDS


def check_file_schema(schema: pa.Schema, columns: InteractionColumns, path: str) -> pa.Schema:
    """Checks one file's schema against the contract and returns it with the types in which it is carried.

    Args:
        schema: The file's schema.
        columns: The part that each column plays.
        path: The file, for messages.

    Raises:
        InputError: A column is missing, doubled, of an unusable type, or has a name that `clean` adds.
    """
    doubled = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if doubled:
        raise InputError(
            f"{path} has two columns named {doubled[0]!r}",
            code="LOG-DOUBLED",
            found=f"columns {', '.join(schema.names)}",
            fix="rename one of them",
        )
    for name in columns.required:
        if name not in schema.names:
            raise InputError(
                f"{path} has no column {name!r}",
                code="LOG-COLUMN",
                found=f"columns {', '.join(schema.names)}",
                expected=f"columns {', '.join(columns.required)}",
                fix="name your columns with --user-column, --item-column, --timestamp-column, --position-column",
            )
    taken = [field.name for field in ADDED_FIELDS if field.name in schema.names]
    if taken:
        raise InputError(
            f"{path} already has a column {taken[0]!r}, which cleaning adds",
            code="LOG-CLEANED",
            found=f"columns {', '.join(schema.names)}",
            fix="is this the output of an earlier run? Clean the original log, or rename the column",
        )
    internal = [name for name in schema.names if name.startswith(INTERNAL_PREFIX)]
    if internal:
        raise InputError(
            f"{path} has a column {internal[0]!r}",
            code="LOG-INTERNAL",
            expected=f"no column that starts with {INTERNAL_PREFIX}, which cleaning uses itself",
            fix="rename the column",
        )
    plain = pa.schema([field.with_type(plain_type(field.type)) for field in schema]).remove_metadata()
    for name in (columns.user, columns.item):
        _check_type(plain, name, path, is_id_type(plain.field(name).type), "string or integer")
    _check_type(
        plain,
        columns.timestamp,
        path,
        is_time_type(plain.field(columns.timestamp).type),
        "number (any unit), timestamp, date or ISO 8601 string",
    )
    if columns.position:
        _check_type(plain, columns.position, path, pa.types.is_integer(plain.field(columns.position).type), "integer")
    return plain


def unify_schemas(schemas: dict[str, pa.Schema]) -> pa.Schema:
    """Returns the one schema in which the rows of all files are carried.

    Integer widths and units of time are promoted, and a column that a file lacks is null there, whatever the others
    say of nulls; other differences are refused.

    Args:
        schemas: Path to checked schema (see `check_file_schema`), in input order.

    Raises:
        InputError: Two files disagree on the type of a column.
    """
    first_path, merged = next(iter(schemas.items()))
    brought_by: dict[str, str] = {}  # column to the first file that has it
    for path, schema in schemas.items():
        for field in schema:
            if field.name in merged.names:
                _check_promotable(field, merged.field(field.name), path, brought_by.setdefault(field.name, path))
            brought_by.setdefault(field.name, path)
        try:
            merged = pa.unify_schemas([merged, schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise InputError(
                f"{path} and {first_path} have no schema in common",
                code="LOG-UNIFY",
                found=str(error).splitlines()[0],
                expected="types that one type can hold",
                fix="write all files with the same types, or clean the files separately",
            ) from error
    return pa.schema([field.with_nullable(True) for field in merged])


def find_odd_schemas(schemas: dict[str, pa.Schema], rows: dict[str, int]) -> dict[str, str]:
    """Finds the files that disagree on a column's type with those that hold most rows.

    Args:
        schemas: Path to checked schema, in input order.
        rows: Path to number of rows.

    Returns:
        Path to what is wrong, for each file to be left out so that the others have one schema.
    """
    weights: dict[str, dict[object, int]] = {}
    for path, schema in schemas.items():
        for field in schema:
            if not pa.types.is_null(field.type):
                kinds = weights.setdefault(field.name, {})
                kinds[_kind(field.type)] = kinds.get(_kind(field.type), 0) + rows[path]
    usual = {name: max(kinds, key=lambda kind, kinds=kinds: kinds[kind]) for name, kinds in weights.items()}
    odd: dict[str, str] = {}
    for path, schema in schemas.items():
        for field in schema:
            if not pa.types.is_null(field.type) and _kind(field.type) != usual[field.name]:
                what = f"Column {field.name!r} of {path} has the type {field.type}, which most rows have otherwise"
                odd.setdefault(path, what)
    return odd


def _kind(data_type: pa.DataType) -> object:
    """What two types must share to be carried as one, see `_have_a_joint_type`."""
    if _is_number(data_type):
        return "number"
    if is_string_type(data_type):
        return "string"
    if pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type):
        return "binary"
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        return "list", _kind(data_type.value_type)
    if pa.types.is_struct(data_type):
        return "struct", *((field.name, _kind(field.type)) for field in data_type)
    if pa.types.is_map(data_type):
        return "map", _kind(data_type.key_type), _kind(data_type.item_type)
    return ("timestamp", data_type.tz) if pa.types.is_timestamp(data_type) else data_type


def _check_promotable(field: pa.Field, merged: pa.Field, path: str, other_path: str) -> None:
    if not _have_a_joint_type(field.type, merged.type):
        raise InputError(
            f"Column {field.name!r} has different types in {path} and {other_path}",
            code="LOG-MIXED",
            found=f"{field.type} and {merged.type}",
            expected="one type in all files",
            fix="cast the column in one of them, or clean the files separately",
        )


def _have_a_joint_type(one: pa.DataType, other: pa.DataType) -> bool:
    # pandas makes a float of an integer column in which a value is missing: files of one log often differ so.
    return pa.types.is_null(one) or pa.types.is_null(other) or _kind(one) == _kind(other)


def _is_number(data_type: pa.DataType) -> bool:
    return pa.types.is_integer(data_type) or pa.types.is_floating(data_type)


def _check_type(schema: pa.Schema, name: str, path: str, usable: bool, expected: str) -> None:
    if not usable:
        raise InputError(
            f"Column {name!r} of {path} has an unusable type",
            code="LOG-TYPE",
            found=str(schema.field(name).type),
            expected=expected,
            fix="cast the column, or name another one with --user-column, --item-column, --timestamp-column or "
            "--position-column",
        )
