"""Checks the schemas of a log's files against the contract, and finds the one schema that all of them share.

You need this before any row is read. What a log must have, and which types are accepted, is stated here and nowhere
else.
"""

from collections.abc import Iterator

import pyarrow as pa

from ...models.core.errors import InputError
from .added_columns import AddedColumns, is_cleaned
from .arrow_types import id_type, is_behaviour_type, is_time_type, number_type, plain_type
from .columns import INTERNAL_PREFIX, InteractionColumns
from .unified_types import unify_types


def check_file_schema(schema: pa.Schema, columns: InteractionColumns, path: str) -> pa.Schema:
    """Checks the schema of one file; returns the columns that are read, in the types in which they travel.

    These are plain types (see `plain_type`), and strings or integers for ids (see `id_type`).

    Args:
        schema: The file's schema.
        columns: The names of the log's columns.
        path: The file, for messages.

    Raises:
        InputError: A column is missing, appears twice, has an unusable type, or has a name that cleaning uses itself.
    """
    schema = pa.schema([field for field in schema if columns.reads(field.name)])
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
            named = "name your columns with --user-column, --item-column, --timestamp-column, --position-column" + (
                ", --behaviour-column" if columns.behaviour else ""
            )
            alike = next((other for other in schema.names if other.lower() == name.lower()), None)
            raise InputError(
                f"{path} has no column {name!r}",
                code="LOG-COLUMN",
                found=f"columns {', '.join(schema.names)}",
                expected=f"columns {', '.join(columns.required)}",
                fix=f"write {name!r} in all files, or {alike!r} in all, and {named}: case counts" if alike else named,
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
    for name in filter(None, (columns.timestamp, columns.position)):
        place = plain.get_field_index(name)
        plain = plain.set(place, plain.field(place).with_type(number_type(plain.field(place).type)))
    if columns.timestamp_format is not None and pa.types.is_integer(plain.field(columns.timestamp).type):
        place = plain.get_field_index(columns.timestamp)  # a key of a date, such as 20260131, travels as text
        plain = plain.set(place, plain.field(place).with_type(pa.string()))
    if columns.timestamp_unit is not None:
        place, before = plain.get_field_index(columns.timestamp), plain.field(columns.timestamp).type
        plain = plain.set(place, plain.field(place).with_type(_in_unit(before, columns.timestamp_unit)))
    for name in (columns.user, columns.item):
        place, travels = plain.get_field_index(name), id_type(plain.field(name).type)
        _check_type(plain, name, path, travels is not None, "string or integer, also as whole numbers, UTF-8 or UUID")
        plain = plain.set(place, plain.field(place).with_type(travels or pa.null()))
    _check_type(
        plain,
        columns.timestamp,
        path,
        is_time_type(plain.field(columns.timestamp).type),
        "number (any unit), timestamp, date or ISO 8601 string",
    )
    if columns.position:
        position = plain.field(columns.position).type
        usable = pa.types.is_integer(position) or pa.types.is_null(position)
        _check_type(plain, columns.position, path, usable, "integer")
    if columns.behaviour:
        behaviour = plain.field(columns.behaviour).type
        _check_type(plain, columns.behaviour, path, is_behaviour_type(behaviour), "text, integer, or true and false")
    return plain


def _in_unit(data_type: pa.DataType, unit: str) -> pa.DataType:
    if pa.types.is_timestamp(data_type):
        return pa.timestamp(unit, data_type.tz)
    return pa.int64() if pa.types.is_signed_integer(data_type) else data_type


def refuse_taken_names(names: list[str], added: AddedColumns, path: str, *, scored: bool, split: bool = False) -> None:
    """Checks that no column of a log has the name of one that cleaning adds.

    Args:
        names: Names of all columns of the log that are carried through.
        added: The names of the added columns.
        path: The log, for messages.
        scored: Whether a model scores the interactions. Fewer columns are added without one.
        split: Whether each user's last interactions are held out.

    Raises:
        InputError: A column has such a name, or one that differs only in case.
    """
    if taken := added.taken(names, scored=scored, split=split):
        column, own = next(iter(taken.items()))
        written = added.written(scored=scored, split=split)[column]
        raise InputError(
            f"{path} has a column {own!r}, and cleaning adds a column {written!r}",
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
            fix="cast the column, or name another one with --user-column, --item-column, --timestamp-column, "
            "--position-column or --behaviour-column",
        )


def unify_schemas(schemas: dict[str, pa.Schema], columns: InteractionColumns | None = None) -> pa.Schema:
    """Returns the one schema in which the rows of all files travel.

    Each column has a type that holds the values of all files (see `unify_types`). Every column may hold nulls, because
    a file without the column gets nulls there.

    Args:
        schemas: The schema of each file by path, as `check_file_schema` returns it, in input order.
        columns: The names of the log's columns. None: the default names.

    Raises:
        InputError: No type can hold a column of two files, two names are equal but for case, or a column that is named
            is in no file.
    """
    columns = columns or InteractionColumns()
    unified: dict[str, pa.DataType] = {}
    first_path_with: dict[str, str] = {}  # column to the first file that has it
    for path, schema in schemas.items():
        for field in schema:
            before = unified.setdefault(field.name, field.type)
            other_path = first_path_with.setdefault(field.name, path)
            both = unify_types(before, field.type, columns.timezone)
            if both is None:
                raise _mixed(field, before, path, other_path, columns)
            unified[field.name] = both
    _refuse_equal_but_for_case(first_path_with, unified)
    absent = [name for name in columns.named_carried if columns.keeps_only and name not in unified]
    if absent:
        raise InputError(
            f"No file has the column {absent[0]!r} that --columns names",
            code="LOG-CARRIED",
            found=f"columns {', '.join(unified)}",
            fix="correct --columns",
        )
    for name in (columns.user, columns.item):
        if pa.types.is_null(unified[name]):
            unified[name] = pa.string()
    return pa.schema(unified.items())


def _mixed(field: pa.Field, before: pa.DataType, path: str, other_path: str, columns: InteractionColumns) -> InputError:
    needed = field.name in columns.required
    zones = pa.types.is_timestamp(before) and pa.types.is_timestamp(field.type)
    return InputError(
        f"Column {field.name!r} has different types in {path} and {other_path}",
        code="LOG-MIXED",
        found=f"{field.type} and {before}",
        expected="one type in all files",
        fix=("name the zone of the times without one with --timezone, " if zones else "")
        + "cast the column in one of them, or clean the files separately"
        + ("" if needed else f"; or leave the column out: --columns=-{field.name}"),
    )


def _refuse_equal_but_for_case(first_path_with: dict[str, str], unified: dict[str, pa.DataType]) -> None:
    """Checks that names differ in more than case, at every depth: Spark and others do not tell them apart."""
    groups = [("", list(unified))]
    groups += [(name, names) for name, data_type in unified.items() for names in _names_inside(data_type)]
    for column, names in groups:
        seen: dict[str, str] = {}
        for name in names:
            other = seen.setdefault(name.lower(), name)
            if other != name:
                where = f"Column {column!r} has" if column else "The log has"
                paths = f", in {first_path_with[other]} and {first_path_with[name]}" if not column else ""
                raise InputError(
                    f"{where} {'fields' if column else 'columns'} whose names are equal but for case",
                    code="LOG-CASE",
                    found=f"{other!r} and {name!r}{paths}",
                    expected="names that differ in more than case: Spark and others do not tell such columns apart",
                    fix="rename one of them in the files, or leave it out: "
                    f"--columns=-{column or name}" + ("" if column else f" or --columns=-{other}"),
                )


def _names_inside(data_type: pa.DataType) -> Iterator[list[str]]:
    """Returns the names of the fields of each struct in a type."""
    if pa.types.is_struct(data_type):
        yield [field.name for field in data_type.fields]
    for number in range(data_type.num_fields):
        yield from _names_inside(data_type.field(number).type)


def describe_schemas(schemas: dict[str, pa.Schema], columns: InteractionColumns) -> list[str]:
    """Says which columns have times with and without a zone, or times that not every program reads, in sentences."""
    told = []
    for name in dict.fromkeys(name for schema in schemas.values() for name in schema.names):
        types = [schema.field(name).type for schema in schemas.values() if name in schema.names]
        zones = [data_type.tz for data_type in types if pa.types.is_timestamp(data_type)]
        naive = zones.count(None)
        if 0 < naive < len(zones):
            told.append(
                f"{name} has a time zone in {len(zones) - naive:,} of {len(zones):,} files; in the others it is read "
                f"as {columns.timezone or 'UTC'}."
            )
        if any(pa.types.is_timestamp(data_type) and data_type.unit == "ns" for data_type in types):
            cure = "; --timestamp-unit us writes microseconds" if name == columns.timestamp else ""
            told.append(f"{name} holds nanoseconds, which Spark does not read{cure}.")
    return told


def find_minority_schemas(
    schemas: dict[str, pa.Schema], rows: dict[str, int], columns: InteractionColumns | None = None
) -> dict[str, str]:
    """Finds the files that must be left out so that the others have one schema.

    If files have types for a column that no type can hold, those that most rows have win. The other files are left out.

    Args:
        schemas: The schema of each file by path, as `check_file_schema` returns it, in input order.
        rows: The number of rows of each file by path.
        columns: The names of the log's columns. None: the default names.

    Returns:
        What is wrong with each file to be left out, by path.
    """
    timezone = columns.timezone if columns else None
    kinds: dict[str, list[tuple[pa.DataType, int]]] = {}  # column to types that hold the same files' values, and rows
    for path, schema in schemas.items():
        for field in schema:
            if pa.types.is_null(field.type):
                continue
            known = kinds.setdefault(field.name, [])
            for place, (before, count) in enumerate(known):
                if (both := unify_types(before, field.type, timezone)) is not None:
                    known[place] = both, count + rows[path]
                    break
            else:
                known.append((field.type, rows[path]))
    majority = {name: max(known, key=lambda each: each[1])[0] for name, known in kinds.items()}
    minority: dict[str, str] = {}
    for path, schema in schemas.items():
        for field in schema:
            if field.name in majority and unify_types(majority[field.name], field.type, timezone) is None:
                what = f"Column {field.name!r} of {path} has the type {field.type}, most rows of the log have another"
                minority.setdefault(path, what)
    return minority
