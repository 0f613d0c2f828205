"""Which Arrow types may hold ids, text and times, and in which types columns travel through a run.

You need this whenever you look at the type of a column that a user brought. Arrow has several types for the same thing:
a string column may be `string`, `large_string`, `string_view` or a dictionary of any of these.
"""

from typing import Any

import pyarrow as pa

MAX_TIME_DIGITS = 6
"""A float64 tells seconds since 1970 apart to the microsecond."""


def is_id_type(data_type: pa.DataType) -> bool:
    """Whether ids can travel in this type."""
    return pa.types.is_integer(data_type) or is_string_type(data_type)


def id_type(data_type: pa.DataType) -> pa.DataType | None:
    """Returns the type in which ids of a type travel: integers or strings. None if the type can hold no ids.

    Args:
        data_type: A plain type, see `plain_type`.
    """
    kinds = pa.types
    if kinds.is_integer(data_type) or is_string_type(data_type) or kinds.is_null(data_type):
        return data_type
    if (kinds.is_decimal(data_type) and data_type.scale == 0) or kinds.is_floating(data_type):
        return pa.int64()
    if kinds.is_large_binary(data_type):
        return pa.large_string()
    if kinds.is_binary(data_type) or kinds.is_fixed_size_binary(data_type):
        return pa.string()
    return pa.string() if getattr(data_type, "extension_name", "") == "arrow.uuid" else None


def is_string_type(data_type: pa.DataType) -> bool:
    """Whether this is one of Arrow's string types."""
    return pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type)


def is_binary_type(data_type: pa.DataType) -> bool:
    """Whether this is one of Arrow's types of bytes."""
    kinds = pa.types
    return kinds.is_binary(data_type) or kinds.is_large_binary(data_type) or kinds.is_fixed_size_binary(data_type)


def is_time_type(data_type: pa.DataType) -> bool:
    """Whether a column of this type can hold timestamps.

    Floats and strings can, but not all of their values are timestamps. Those are checked value by value when they are
    read.
    """
    return (
        pa.types.is_integer(data_type)
        or pa.types.is_timestamp(data_type)
        or pa.types.is_date(data_type)
        or pa.types.is_floating(data_type)
        or is_string_type(data_type)
        or pa.types.is_null(data_type)
    )


def is_behaviour_type(data_type: pa.DataType) -> bool:
    """Whether a column of this type can say what a user did with an item."""
    return (
        is_string_type(data_type)
        or pa.types.is_integer(data_type)
        or pa.types.is_boolean(data_type)
        or pa.types.is_null(data_type)
    )


def number_type(data_type: pa.DataType) -> pa.DataType:
    """Returns the type in which numbers of a type travel as times and positions.

    Decimals without a fraction become int64: Snowflake and Oracle write whole numbers so. Those with up to
    MAX_TIME_DIGITS digits after the point become float64. All other types stay as they are.

    Args:
        data_type: A plain type, see `plain_type`.
    """
    if not pa.types.is_decimal(data_type) or not 0 <= data_type.scale <= MAX_TIME_DIGITS:
        return data_type
    return pa.float64() if data_type.scale else pa.int64()


def plain_type(data_type: pa.DataType) -> pa.DataType:
    """Returns the type in which a column travels through a run: a plain type that all of Arrow's functions support.

    - Dictionaries become their values, and string and binary views become large strings and large binaries. Many of
      Arrow's functions do not support the originals.
    - Lists of a fixed size become lists of any size. Parquet cannot read back those of a fixed size if one is null.
    - List views stay as they are, and so does everything inside them. Arrow can copy them but not cast them: a cast to
      lists writes past the end of its memory.
    - Nested types are replaced at every depth.
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


def one_chunk(column: pa.ChunkedArray | pa.Array) -> Any:
    """Returns a column as one array.

    A column that is one array already is returned without a copy. Arrow's `combine_chunks` would copy it.
    """
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
