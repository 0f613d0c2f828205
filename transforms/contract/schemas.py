"""Checks the schemas of a log's files against the contract, and finds the one schema that all of them share.

You need this before any row is read. What a log must have, and which types are accepted, is stated here and nowhere
else.
"""

import pyarrow as pa

from ...models.core.errors import InputError
from .added_columns import AddedColumns, is_cleaned
from .arrow_types import is_id_type, is_string_type, is_time_type, plain_type
from .columns import INTERNAL_PREFIX, InteractionColumns


def check_file_schema(schema: pa.Schema, columns: InteractionColumns, path: str) -> pa.Schema:
    """Checks the schema of one file and returns it with plain types (see `plain_type`).

    Args:
        schema: The file's schema.
        columns: The names of the log's columns.
        path: The file, for messages.

    Raises:
        InputError: A column is missing, appears twice, has an unusable type, or has a name that cleaning uses itself.
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
    if is_cleaned(schema.names):
        raise InputError(
            f"{path} is the output of an earlier run, not a log",
            code="LOG-CLEANED",
            found=f"columns {', '.join(schema.names)}",
            fix="name the original log, or leave out the columns that cleaning has added",
        )
    internal = [name for name in schema.names if name.startswith(INTERNAL_PREFIX)]
    if internal:
        raise InputError(
            f"{path} has a column with a reserved name",
            code="LOG-INTERNAL",
            found=internal[0],
            expected=f"no column that starts with {INTERNAL_PREFIX}, because cleaning uses such names itself",
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


def refuse_taken_names(names: list[str], added: AddedColumns, path: str, *, scored: bool) -> None:
    """Checks that no column of a log has the name of one that cleaning adds.

    Args:
        names: Names of all columns of the log that are carried through.
        added: The names of the added columns.
        path: The log, for messages.
        scored: Whether a model scores the interactions. Fewer columns are added without one.

    Raises:
        InputError: A column has such a name, or one that differs only in case.
    """
    if taken := added.taken(names, scored=scored):
        column, own = next(iter(taken.items()))
        raise InputError(
            f"{path} has a column {own!r}, and cleaning adds a column {added.written(scored=scored)[column]!r}",
            code="LOG-ADDED",
            found=f"columns {', '.join(names)}",
            expected="names that differ in more than upper and lower case",
            fix="if this is the output of an earlier run, clean the original log; otherwise give the added "
            "columns other names: --added-prefix iadsr_, or one by one --added-names "
            + ",".join(f"{column}=iadsr_{column}" for column in taken),
        )


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


def unify_schemas(schemas: dict[str, pa.Schema]) -> pa.Schema:
    """Returns the one schema in which the rows of all files travel.

    Integers become the widest integer, numbers become floats if one file has floats, and times take the finest unit.
    Every column may hold nulls, because a file without the column gets nulls there. No other difference is accepted.

    Args:
        schemas: The schema of each file by path, as `check_file_schema` returns it, in input order.

    Raises:
        InputError: Two files have different types for a column, and no type can hold both.
    """
    first_path, unified = next(iter(schemas.items()))
    first_path_with: dict[str, str] = {}  # column to the first file that has it
    for path, schema in schemas.items():
        for field in schema:
            if field.name in unified.names:
                other_path = first_path_with.setdefault(field.name, path)
                _check_unifiable(field, unified.field(field.name), path, other_path)
            first_path_with.setdefault(field.name, path)
        try:
            unified = pa.unify_schemas([unified, schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise InputError(
                f"{path} and {first_path} have no schema in common",
                code="LOG-UNIFY",
                found=str(error).splitlines()[0],
                expected="types that one type can hold",
                fix="write all files with the same types, or clean the files separately",
            ) from error
    return pa.schema([field.with_nullable(True) for field in unified])


def _check_unifiable(field: pa.Field, unified: pa.Field, path: str, other_path: str) -> None:
    if not _can_be_unified(field.type, unified.type):
        raise InputError(
            f"Column {field.name!r} has different types in {path} and {other_path}",
            code="LOG-MIXED",
            found=f"{field.type} and {unified.type}",
            expected="one type in all files",
            fix="cast the column in one of them, or clean the files separately",
        )


def _can_be_unified(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether one type can hold the values of both. A column of nulls only (Arrow's null type) fits every type."""
    return pa.types.is_null(one) or pa.types.is_null(other) or _type_family(one) == _type_family(other)


def _type_family(data_type: pa.DataType) -> object:
    """Returns what two types must have in common so that the values of both can travel in one type."""
    # Integers and floats are one family: pandas turns an integer column into floats if a value is missing, so the files
    # of one log often differ in this way.
    if pa.types.is_integer(data_type) or pa.types.is_floating(data_type):
        return "number"
    if is_string_type(data_type):
        return "string"
    if pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type):
        return "binary"
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        return "list", _type_family(data_type.value_type)
    if pa.types.is_struct(data_type):
        return "struct", *((field.name, _type_family(field.type)) for field in data_type)
    if pa.types.is_map(data_type):
        return "map", _type_family(data_type.key_type), _type_family(data_type.item_type)
    return ("timestamp", data_type.tz) if pa.types.is_timestamp(data_type) else data_type


def find_minority_schemas(schemas: dict[str, pa.Schema], rows: dict[str, int]) -> dict[str, str]:
    """Finds the files that must be left out so that the others have one schema.

    If files have different types for a column, the type that most rows have wins. Files with another type are left out.

    Args:
        schemas: The schema of each file by path, as `check_file_schema` returns it, in input order.
        rows: The number of rows of each file by path.

    Returns:
        What is wrong with each file to be left out, by path.
    """
    rows_by_family: dict[str, dict[object, int]] = {}  # column to type family to rows
    for path, schema in schemas.items():
        for field in schema:
            if not pa.types.is_null(field.type):
                families = rows_by_family.setdefault(field.name, {})
                family = _type_family(field.type)
                families[family] = families.get(family, 0) + rows[path]
    majority = {name: max(families, key=families.__getitem__) for name, families in rows_by_family.items()}
    minority: dict[str, str] = {}
    for path, schema in schemas.items():
        for field in schema:
            if not pa.types.is_null(field.type) and _type_family(field.type) != majority[field.name]:
                what = f"Column {field.name!r} of {path} has the type {field.type}, most rows of the log have another"
                minority.setdefault(path, what)
    return minority
