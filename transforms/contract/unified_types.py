"""Finds the one type that holds the values of a column in two files, if there is one in which no value changes."""

import pyarrow as pa

from .arrow_types import is_binary_type, is_string_type

_UTC_NAMES = frozenset(
    (
        *("utc", "z", "zulu", "uct", "universal", "gmt", "gmt0", "gmt+0", "gmt-0", "greenwich", "+00:00", "-00:00"),
        *("+0000", "-0000", "+00", "-00", "utc+0", "utc+00:00"),
    )
)


def is_utc(zone: str | None) -> bool:
    """Whether this is one of the names of UTC."""
    return zone is not None and zone.lower().removeprefix("etc/") in _UTC_NAMES


def unify_types(one: pa.DataType, other: pa.DataType, timezone: str | None = None) -> pa.DataType | None:
    """Returns a type that holds the values of both; None if there is none.

    - A type of nulls only fits every type, and booleans are the numbers 0 and 1.
    - Numbers become the widest integer, or floats if one is a float: pandas makes floats of integers if one is missing.
    - Decimals, and integers beside them, get the digits of both before and after the point.
    - Times get the finer unit. Times of different zones become UTC, which changes no moment. Times without a zone are
      in `timezone` or else UTC, if the others are in UTC. Dates become times at midnight.
    - Structs get the fields of both. Lists and maps are unified in what they hold.

    Args:
        one: A plain type, see `plain_type`.
        other: Another.
        timezone: Zone of times that do not say theirs.
    """
    kinds = pa.types
    if one.equals(other) or kinds.is_null(other):
        return one
    if kinds.is_null(one):
        return other
    if kinds.is_boolean(one) or kinds.is_boolean(other):
        number = other if kinds.is_boolean(one) else one
        return number if _is_number(number) else None
    if kinds.is_decimal(one) or kinds.is_decimal(other):
        return _unify_decimals(one, other)
    if _is_moment(one) and _is_moment(other):
        return _unify_moments(one, other, timezone)
    for same in (_is_number, is_string_type, is_binary_type, kinds.is_time, kinds.is_duration):
        if same(one) and same(other):
            return _promote(one, other)
    if _is_list(one) and _is_list(other):
        values = unify_types(one.value_type, other.value_type, timezone)
        large = kinds.is_large_list(one) or kinds.is_large_list(other)
        return None if values is None else pa.large_list(values) if large else pa.list_(values)
    if kinds.is_map(one) and kinds.is_map(other):
        keys = unify_types(one.key_type, other.key_type, timezone)
        items = unify_types(one.item_type, other.item_type, timezone)
        return None if keys is None or items is None else pa.map_(keys, items)
    if kinds.is_struct(one) and kinds.is_struct(other):
        return _unify_structs(one, other, timezone)
    return None


def _is_number(data_type: pa.DataType) -> bool:
    return pa.types.is_integer(data_type) or pa.types.is_floating(data_type)


def _is_moment(data_type: pa.DataType) -> bool:
    return pa.types.is_timestamp(data_type) or pa.types.is_date(data_type)


def _is_list(data_type: pa.DataType) -> bool:
    return pa.types.is_list(data_type) or pa.types.is_large_list(data_type)


def _promote(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    schemas = [pa.schema([("column", data_type)]) for data_type in (one, other)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("column").type


def _unify_decimals(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    before = after = 0
    for data_type in (one, other):
        if pa.types.is_decimal(data_type):
            before, after = max(before, data_type.precision - data_type.scale), max(after, data_type.scale)
        elif pa.types.is_integer(data_type):
            before = max(before, len(str(2**data_type.bit_width)))
        else:
            return None
    precision = before + after
    if precision > 76:
        return None
    return pa.decimal128(precision, after) if precision <= 38 else pa.decimal256(precision, after)


def _unify_moments(one: pa.DataType, other: pa.DataType, timezone: str | None) -> pa.DataType | None:
    if pa.types.is_date(one) and pa.types.is_date(other):
        return pa.date64()
    if pa.types.is_date(one) or pa.types.is_date(other):
        return other if pa.types.is_date(one) else one
    unit = max(one.unit, other.unit, key=("s", "ms", "us", "ns").index)
    if one.tz == other.tz:
        return pa.timestamp(unit, one.tz)
    zone = one.tz or other.tz
    if None in (one.tz, other.tz) and timezone is None and not is_utc(zone):
        return None
    return pa.timestamp(unit, "UTC")


def _unify_structs(one: pa.StructType, other: pa.StructType, timezone: str | None) -> pa.DataType | None:
    names = [field.name for field in one], [field.name for field in other]
    if any(len(set(each)) < len(each) for each in names):
        return None
    fields: list[pa.Field] = []
    for name in dict.fromkeys(names[0] + names[1]):
        types = [each.field(name).type for each in (one, other) if each.get_field_index(name) >= 0]
        unified = unify_types(types[0], types[-1], timezone)
        if unified is None:
            return None
        fields.append(pa.field(name, unified))
    return pa.struct(fields)
