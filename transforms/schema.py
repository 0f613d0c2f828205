"""The data contract of interaction logs: which columns, of which types, and what is carried through.

What an interaction log must have, and every column that is added to it, is stated here and nowhere else.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..models.errors import InputError, UsageError

INTERNAL_PREFIX = "__iadsr_"
"""No column of a user's may start with this."""
ROW = f"{INTERNAL_PREFIX}row"
"""Internal column: number of the row in the whole input (files in sorted order), int64."""
TIME = f"{INTERNAL_PREFIX}time"
"""Internal column, where timestamps are strings: the timestamp as an int64 that sorts like it."""

SIMILARITIES = ("long_term_semantic", "long_term_collaborative", "short_term")
"""As `models.iadsr` names them, stated here because torch, which that imports, takes seconds to load."""
SIMILARITY_COLUMNS = tuple(f"{name}_similarity" for name in SIMILARITIES)

ADDED_FIELDS = (
    pa.field("noise_probability", pa.float32(), nullable=False),
    pa.field("keep", pa.bool_(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("weight", pa.float32(), nullable=False),
    *(pa.field(name, pa.float32()) for name in SIMILARITY_COLUMNS),
)
"""What `clean` adds to every interaction."""

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row_number", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
    ],
    metadata={"iadsr": "rows that could not be used; row_number counts from 0 in its file; row is JSON"},
)


@dataclass(frozen=True)
class InteractionColumns:
    """Which columns of the user's log play which part."""

    user: str = "user_id"
    """User id: string or integer."""
    item: str = "item_id"
    """Item id: string or integer, of the same kind as in the embeddings."""
    timestamp: str = "timestamp"
    """Time of the interaction: an integer in any unit, an Arrow timestamp or date, or an ISO 8601 string."""
    position: str | None = None
    """Integer column that orders a user's interactions of equal timestamp; None: item id, then input order."""

    def __post_init__(self):
        """Refuses one column in two parts."""
        doubled = sorted({name for name in self.required if self.required.count(name) > 1})
        if doubled:
            raise UsageError(
                f"Column {doubled[0]!r} is named for more than one part",
                code="OPTION-COLUMNS",
                found=f"user {self.user!r}, item {self.item!r}, timestamp {self.timestamp!r}, "
                f"position {self.position!r}",
                expected="a column of its own for each",
                fix="correct --user-column, --item-column, --timestamp-column or --position-column",
            )

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (self.user, self.item, self.timestamp, *((self.position,) if self.position else ()))


def is_id_type(data_type: pa.DataType) -> bool:
    """Whether a column of this type can hold user or item ids."""
    return pa.types.is_integer(data_type) or is_string_type(data_type)


def is_string_type(data_type: pa.DataType) -> bool:
    """Whether this is one of Arrow's string types."""
    return pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type)


def is_time_type(data_type: pa.DataType) -> bool:
    """Whether a column of this type can hold timestamps; floats and ISO 8601 strings are checked value by value."""
    return (
        pa.types.is_integer(data_type)
        or pa.types.is_timestamp(data_type)
        or pa.types.is_date(data_type)
        or pa.types.is_floating(data_type)
        or is_string_type(data_type)
    )


def one_chunk(column: pa.ChunkedArray | pa.Array) -> Any:
    """Returns a column as one array; as it is where it is one already, which `combine_chunks` would copy."""
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def plain_type(data_type: pa.DataType) -> pa.DataType:
    """The type in which a column is carried: what few kernels know becomes plain, however deep it lies.

    Dictionaries and views are not known to most; lists of a fixed size that are null can be written to Parquet, but not
    read again. Views of lists stay as they are, with all that they hold: Arrow can carry them, but not cast them (to
    lists it does, and writes past the end of its memory).
    """
    kinds = pa.types
    if kinds.is_dictionary(data_type):
        return plain_type(data_type.value_type)
    if kinds.is_string_view(data_type):
        return pa.large_string()
    if kinds.is_binary_view(data_type):
        return pa.large_binary()
    if kinds.is_list(data_type) or kinds.is_fixed_size_list(data_type):
        return pa.list_(plain_type(data_type.value_type))
    if kinds.is_large_list(data_type):
        return pa.large_list(plain_type(data_type.value_type))
    if kinds.is_map(data_type):
        return pa.map_(plain_type(data_type.key_type), plain_type(data_type.item_type))
    if kinds.is_struct(data_type):
        return pa.struct([(field.name, plain_type(field.type)) for field in data_type])
    if isinstance(data_type, pa.BaseExtensionType):
        storage = plain_type(data_type.storage_type)
        return data_type if storage == data_type.storage_type else storage
    return data_type


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
