"""Reads an item catalogue: the user's Parquet file of items, of which we need an id and one text per item.

You need this before items can be embedded. Several text columns, such as title and category, become one text.
"""

import functools
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...models.core.errors import InputError
from ..contract.arrow_types import is_string_type, plain_type
from ..files.found_files import find_files
from ..files.tables import open_parquet
from .embedding_table import normalise_item_ids

PREFERRED_COLUMNS = ("title", "category")
"""Text columns that are used by default if the catalogue has any of them."""

SEPARATOR = ", "
"""Stands between the parts of an item's text."""


@dataclass(frozen=True)
class ItemTexts:
    """The distinct items of a catalogue, in the order of their first rows."""

    item_ids: pa.Array
    """string or int64 [V], each id once."""
    texts: pa.Array
    """large_string [V], null if an item has no text."""
    text_columns: tuple[str, ...]
    """The columns that were joined, in order."""
    repeated_rows: int
    """Number of rows left out because an earlier row has the same item id."""
    conflicting_rows: int
    """How many of the rows left out have another text than the item's first row."""


def read_item_texts(
    path: str, *, item_column: str = "item_id", text_columns: tuple[str, ...] | None = None
) -> ItemTexts:
    """Reads a catalogue and joins each item's text columns into one text.

    Columns are joined by ", " in the given order. Nulls and blank values are left out. Lists, such as several
    categories, are joined in the same way. Numbers are written as text. Runs of white space become one space. If
    several rows have the same item id, the first one counts.

    Args:
        path: A Parquet file, a directory or a glob.
        item_column: Column of the item ids: string or integer.
        text_columns: Columns to join. None: those of `title` and `category` that the first file has. If it has neither,
            all of its text columns.

    Raises:
        InputError: A column is missing or has an unusable type, an id is null, or no item has text. Also if so many
            rows repeat an item with another text that this must be an interaction log.
    """
    ids, texts = [], []
    for info in find_files(path).files:
        with open_parquet(info.path) as file:
            if text_columns is None:
                text_columns = _default_columns(file.schema_arrow, item_column, info.path)
            _check_columns(file.schema_arrow, item_column, text_columns, info.path)
            table = _read_columns(file, [item_column, *text_columns], info.path)
        ids.append(normalise_item_ids(table[item_column], file=info.path, name=item_column))
        parts = [_to_text(table[name], info.path, name) for name in text_columns]
        texts.append(functools.reduce(_join_texts, parts))
        if ids[-1].type != ids[0].type:
            raise InputError(
                f"{info.path}: column '{item_column}' has another type than in the earlier files",
                code="ITEMS-IDS",
                found=str(ids[-1].type),
                expected=str(ids[0].type),
                fix="write all files with the same type of item ids",
            )
    all_ids, all_texts = pa.concat_arrays(ids), pa.concat_arrays(texts)
    if all_texts.null_count == len(all_texts):
        raise InputError(
            f"No item of {path} has any text",
            code="ITEMS-EMPTY",
            found=f"{len(all_ids):,} rows, all of them empty in {', '.join(text_columns or ())}",
            expected="text in at least one row",
            fix="name the columns that hold text with --text-columns",
        )
    return _keep_first_rows(path, all_ids, all_texts, text_columns or ())


def _keep_first_rows(path: str, ids: pa.Array, texts: pa.Array, text_columns: tuple[str, ...]) -> ItemTexts:
    encoded = ids.dictionary_encode()
    if len(encoded.dictionary) == len(ids):
        return ItemTexts(ids, texts, text_columns, 0, 0)
    rows = pa.table({"item": encoded.indices, "row": pa.array(range(len(ids)), pa.int64())})
    first = rows.group_by("item").aggregate([("row", "min")]).sort_by("row_min")["row_min"].combine_chunks()
    # A row agrees with its item's first row if both texts are equal or both are missing.
    expected = texts.take(first.take(encoded.indices))
    same = pc.or_(pc.equal(texts, expected).fill_null(False), pc.and_(pc.is_null(texts), pc.is_null(expected)))
    conflicting = len(ids) - same.true_count
    if conflicting > len(first):
        raise InputError(
            f"{path} is not an item catalogue",
            code="ITEMS-REPEATED",
            found=f"{len(ids):,} rows of {len(first):,} items, {conflicting:,} with another text than the item's first",
            expected="one row per item",
            fix="pass the item catalogue, not the interaction log; if it is the catalogue, write one row per item",
        )
    return ItemTexts(ids.take(first), texts.take(first), text_columns, len(ids) - len(first), conflicting)


def _default_columns(schema: pa.Schema, item_column: str, path: str) -> tuple[str, ...]:
    texts = [field.name for field in schema if field.name != item_column and _holds_text(field.type)]
    chosen = [name for name in PREFERRED_COLUMNS if name in texts] or texts
    if not chosen:
        raise InputError(
            f"{path} has no text column",
            code="ITEMS-NO-TEXT",
            found=", ".join(f"{field.name} ({field.type})" for field in schema) or "no column at all",
            expected="at least one column of strings besides the item id",
            fix="add the titles or descriptions of the items; the semantic half of the method needs text",
        )
    return tuple(chosen)


def _check_columns(schema: pa.Schema, item_column: str, text_columns: tuple[str, ...], path: str) -> None:
    for name in (item_column, *text_columns):
        if name not in schema.names:
            option = "--item-column" if name == item_column else "--text-columns"
            raise InputError(
                f"{path}: column '{name}' is missing",
                code="ITEMS-COLUMN",
                found=f"columns {', '.join(schema.names) or '(none)'}",
                expected=f"'{item_column}' with the ids, and the text columns {', '.join(text_columns)}",
                fix=f"name the right column with {option}",
            )


def _read_columns(file: pq.ParquetFile, columns: list[str], path: str) -> pa.Table:
    try:
        table = file.read(columns=list(dict.fromkeys(columns)))
        table.validate(full=True)
        return table
    # The file may hold anything, so the parser may raise anything.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read",
            code="ITEMS-READ",
            found=next(iter(str(error).splitlines()), type(error).__name__),
            expected="a complete Parquet file",
            fix="write the file again; it may be truncated",
        ) from error


def _holds_text(type_: pa.DataType) -> bool:
    return is_string_type(plain_type(_value_type(type_)))


def _value_type(type_: pa.DataType) -> pa.DataType:
    is_list = pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)
    return type_.value_type if is_list else type_


def _to_text(column: pa.ChunkedArray, path: str, name: str) -> pa.Array:
    array: Any = column.combine_chunks()
    try:
        if _value_type(array.type) is not array.type:
            # pyarrow's own function that joins a list returns null if one of the list's values is null.
            lists = array.cast(pa.large_list(pa.large_string())).to_pylist()
            array = pa.array([SEPARATOR.join(filter(None, values or ())) for values in lists], pa.large_string())
        if isinstance(array, pa.DictionaryArray):
            array = array.dictionary_decode()
        return _blank_to_null(array.cast(pa.large_string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{path}: column '{name}' cannot be used as text",
            code="ITEMS-TEXT",
            found=f"type {column.type}",
            expected="strings, numbers, or lists of them",
            fix="choose other columns with --text-columns",
        ) from error


def _join_texts(left: pa.Array, right: pa.Array) -> pa.Array:
    """Joins two columns of text row by row. If a row has only one of the two texts, that text is the result."""
    # pyarrow's null_handling="skip" would do the same, but pyarrow 25 loses the rows in which all values are null.
    both = pc.binary_join_element_wise(left, right, pa.scalar(SEPARATOR, pa.large_string()))
    return pc.coalesce(both, left, right)


def _blank_to_null(texts: pa.Array) -> pa.Array:
    """Turns runs of white space into one space, and texts without anything else into null."""
    single = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"\s+", " "))
    return pc.if_else(pc.equal(single, ""), pa.scalar(None, pa.large_string()), single)
