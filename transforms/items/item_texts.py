"""The item catalogue contract: an id and one text per item, out of any Parquet with text columns."""

import functools
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...models.core.errors import InputError
from ..contract.arrow_types import is_string_type, plain_type
from ..files.listing import match_files
from ..files.tables import open_parquet
from .embedding_table import normalise_item_ids

PREFERRED_COLUMNS = ("title", "category")
"""Text columns used by default where a catalogue has any of them."""


SEPARATOR = ", "


@dataclass(frozen=True)
class ItemTexts:
    """The distinct items of a catalogue, in the order of their first rows."""

    item_ids: pa.Array
    """string or int64 [V], unique."""
    texts: pa.Array
    """large_string [V], null where an item has no text."""
    text_columns: tuple[str, ...]
    """The columns that were joined."""
    repeated_rows: int
    """Rows left out because an earlier row has the same item id."""
    conflicting_rows: int
    """Those of them whose text is another than the first row's."""


def read_item_texts(
    path: str, *, item_column: str = "item_id", text_columns: tuple[str, ...] | None = None
) -> ItemTexts:
    """Reads a catalogue and joins each item's text columns into one text.

    Columns are joined by ", " in the order given; nulls and blank values are left out, lists (such as several
    categories) are joined in the same way, numbers are spelled out, and white space is made single. Of several rows
    with one item id the first counts.

    Args:
        path: A Parquet file, a directory or a glob.
        item_column: Column of the item ids: string or integer.
        text_columns: Columns to join. None: `title` and `category` as far as the first file has them, else all of its
            columns that hold text.

    Raises:
        InputError: A column is missing or of an unusable type, an id is null, no item has text, or most rows repeat an
            item with another text, as those of an interaction log do.
    """
    ids, texts = [], []
    for info in match_files(path):
        with open_parquet(info.path) as file:
            if text_columns is None:
                text_columns = _default_columns(file.schema_arrow, item_column, info.path)
            _check_columns(file.schema_arrow, item_column, text_columns, info.path)
            table = _read(file, [item_column, *text_columns], info.path)
        ids.append(normalise_item_ids(table[item_column], file=info.path, name=item_column))
        parts = [_to_text(table[name], info.path, name) for name in text_columns]
        texts.append(functools.reduce(_join, parts))
        if ids[-1].type != ids[0].type:
            raise InputError(
                f"{info.path}: column '{item_column}' has another type than in the files before",
                code="ITEMS-IDS",
                found=str(ids[-1].type),
                expected=str(ids[0].type),
                fix="write all files with the same type of item id",
            )
    all_ids, all_texts = pa.concat_arrays(ids), pa.concat_arrays(texts)
    if all_texts.null_count == len(all_texts):
        raise InputError(
            f"No item of {path} has any text",
            code="ITEMS-EMPTY",
            found=f"{len(all_ids):,} rows, nothing in {', '.join(text_columns or ())}",
            expected="text in at least one row",
            fix="name the columns that hold text with --text-columns",
        )
    return _first_rows(path, all_ids, all_texts, text_columns or ())


def _first_rows(path: str, ids: pa.Array, texts: pa.Array, text_columns: tuple[str, ...]) -> ItemTexts:
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
            fix="give the catalogue, not the interaction log; or write one row per item",
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
            expected="at least one column of strings beside the item id",
            fix="add the items' titles or descriptions; the semantic half of the method needs text",
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


def _read(file: pq.ParquetFile, columns: list[str], path: str) -> pa.Table:
    try:
        table = file.read(columns=list(dict.fromkeys(columns)))
        table.validate(full=True)
        return table
    # The file is anybody's: what its parser raises cannot be listed.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read",
            code="ITEMS-READ",
            found=next(iter(str(error).splitlines()), type(error).__name__),
            expected="a complete Parquet file",
            fix="write the file again, it may be truncated",
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
            # pyarrow's join of a list gives null if a single one of its values is.
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


def _join(left: pa.Array, right: pa.Array) -> pa.Array:
    """Joins two columns of text row by row; where one has none, the other stands alone."""
    # Not the kernel's own null_handling="skip": with pyarrow 25 it loses the rows in which all are null.
    both = pc.binary_join_element_wise(left, right, pa.scalar(SEPARATOR, pa.large_string()))
    return pc.coalesce(both, left, right)


def _blank_to_null(texts: pa.Array) -> pa.Array:
    single = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"\s+", " "))
    return pc.if_else(pc.equal(single, ""), pa.scalar(None, pa.large_string()), single)
