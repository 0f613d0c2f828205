"""Which Arrow types can hold ids and times, and the types in which columns are carried."""

from typing import Any

import pyarrow as pa


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
