"""Columns that stand in the names of folders, such as `day=2026-11-23/`, as Hive, Spark, Athena and others write them.

You need this because such a column is in no file. Its text travels with each file, and its type is that of the log.
"""

import re
from collections.abc import Iterable
from datetime import date
from urllib.parse import unquote

import pyarrow as pa

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
"""What stands in the name of a folder for null."""

Partitions = tuple[tuple[str, str | None], ...]
"""Columns and their values in one file. None is null."""

_FOLDER = re.compile(r"([^=]+)=(.*)", re.DOTALL)
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def folder_partitions(path: str, base: str) -> Partitions:
    """Returns the columns and values in the names of a file's folders.

    Folders below `base` count, and the last ones of `base` itself if all of them are named like this: a part of a log
    has the columns that the whole log has.

    Args:
        path: Path of the file.
        base: The folder that was asked for; the path begins with it.
    """
    folders = path.split("/")[:-1]
    start = base.rstrip("/").count("/") + bool(base.rstrip("/"))
    while start > 0 and _FOLDER.fullmatch(folders[start - 1]):
        start -= 1
    found = filter(None, map(_FOLDER.fullmatch, folders[start:]))
    return tuple({unquote(match[1]): _value(match[2]) for match in found}.items())


def _value(text: str) -> str | None:
    return None if text == NULL_FOLDER else unquote(text)


def partition_schema(partitions: Iterable[Partitions]) -> pa.Schema:
    """Returns the columns of all files with their types.

    The type is int64 if all values are integers without leading zeros, date32 if all are dates (2026-11-23), and
    otherwise string. A value with a leading zero is text, because the number would be written in another way.
    """
    values: dict[str, list[str]] = {}
    for name, value in (pair for each in dict.fromkeys(partitions) for pair in each):
        values.setdefault(name, []).extend([] if value is None else [value])
    return pa.schema([pa.field(name, _type(texts)) for name, texts in values.items()])


def _type(texts: list[str]) -> pa.DataType:
    if texts and all(_INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63 for text in texts):
        return pa.int64()
    if texts and all(map(_is_date, texts)):
        return pa.date32()
    return pa.string()


def _is_date(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False


def add_partitions(table: pa.Table, partitions: Partitions, schema: pa.Schema) -> pa.Table:
    """Appends the columns of `schema` that the table lacks and that stand in the names of its file's folders."""
    for name, value in partitions:
        if name in schema.names and name not in table.column_names:
            text = pa.repeat(pa.scalar(value, pa.string()), len(table))
            table = table.append_column(name, text.cast(schema.field(name).type))
    return table
