"""Reads an item catalogue: the user's Parquet files of items, of which we need an id and one text per item.

You need this before items can be embedded. Several text columns, such as title and category, become one text. Which
columns there are is decided over all files.
"""

import functools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...models.core.errors import IadsrError, InputError
from ..files.found_files import FoundFiles, SkippedFile, find_files
from ..files.partitions import Partitions, add_partitions
from ..files.tables import open_parquet
from .item_ids import usable_item_ids
from .plain_text import plain_texts
from .text_columns import TextColumns, choose_text_columns
from .text_values import SEPARATOR, holds_text, sample_values, text_values

SAMPLED_VALUES = 1000
"""About how many values of a column are looked at to know whether it holds text."""

_BATCH_ROWS = 1024


@dataclass(frozen=True)
class CatalogueNotes:
    """What somebody should know about a catalogue that was read. Nothing of this stops a run."""

    not_text: dict[str, str] = field(default_factory=dict)
    """Columns of strings that were left out because they hold no text, and what they hold."""
    other_columns: tuple[str, ...] = ()
    """Columns of text that are not embedded, because the catalogue has preferred ones."""
    rows_left_out: dict[str, int] = field(default_factory=dict)
    """Rows without a usable item id, by reason."""
    not_utf8: int = 0
    """Rows with a text that is not UTF-8. Such a text counts as none."""
    with_html: int = 0
    """Rows whose text held HTML tags or entities, which were removed."""


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
    notes: CatalogueNotes
    """What was left out or changed."""
    skipped: tuple[SkippedFile, ...] = ()
    """Files that are left out because they are not Parquet."""
    reading: tuple[str, ...] = ()
    """What looks wrong or may surprise in how the files were found, in sentences."""


class _File(NamedTuple):
    """A file of a catalogue that has rows."""

    path: str
    """Where it is."""
    schema: pa.Schema
    """Its columns, and those in the names of its folders."""
    partitions: Partitions
    """The values of the latter."""


def read_item_texts(
    path: str, *, item_column: str = "item_id", text_columns: tuple[str, ...] | None = None
) -> ItemTexts:
    """Reads a catalogue and joins each item's text columns into one text.

    Columns are joined by ", " in the given order. Nulls and blank values are left out. Lists, such as several
    categories, are joined in the same way, at any depth. Numbers are written as text. HTML is removed, and runs of
    white space and control characters become one space. If several rows have the same item id, the first one counts.
    Rows without a usable id are left out and counted.

    Names of columns that differ in case only are one column. A file may lack a text column that other files have.

    Args:
        path: A Parquet file, a directory or a glob.
        item_column: Column of the item ids: string or integer.
        text_columns: Columns to join. None: those of `title` and `category` that hold text. If none does, all columns
            that hold text.

    Raises:
        InputError: A column is missing or has an unusable type, no row has an id, or no item has text. Also if so many
            rows repeat an item with another text that this must be an interaction log.
    """
    found = find_files(path)
    files, rows = _read_footers(found)
    chosen = TextColumns(text_columns, {}, ()) if text_columns is not None else None
    if chosen is None and files:
        chosen = _choose(files, item_column, path)
    chosen = chosen or TextColumns((), {}, ())
    _check_columns(path, files, item_column, chosen.chosen)
    ids, texts = [], []
    left_out: Counter[str] = Counter()
    not_utf8 = with_html = 0
    for file in files:
        table = _read(file, item_column, chosen.chosen)
        file_ids, usable = _usable_ids(table, file.path, item_column, left_out)
        if not len(file_ids):
            continue
        ids.append(file_ids)
        if ids[-1].type != ids[0].type:
            raise InputError(
                f"{file.path}: column '{item_column}' has another type than in the earlier files",
                code="ITEMS-IDS",
                found=str(ids[-1].type),
                expected=str(ids[0].type),
                fix="write all files with the same type of item ids",
            )
        joined, broken, had_html = _join_columns(table.filter(usable), file.path, chosen.chosen)
        texts.append(joined)
        not_utf8, with_html = not_utf8 + int(broken.sum()), with_html + int(had_html.sum())
    if rows and not ids:
        raise InputError(
            f"No row of {path} has a usable item id",
            code="ITEMS-NO-IDS",
            found=", ".join(f"{reason} {count:,}" for reason, count in left_out.items()),
            expected=f"ids in the column '{item_column}'",
            fix="name the column of the item ids with --item-column",
        )
    all_ids = pa.concat_arrays(ids) if ids else pa.array([], pa.string())
    all_texts = pa.concat_arrays(texts) if texts else pa.array([], pa.large_string())
    if all_texts.null_count == len(all_texts):
        raise InputError(
            f"No item of {path} has any text",
            code="ITEMS-EMPTY",
            found=f"{len(all_ids):,} rows, all of them empty in {', '.join(chosen.chosen) or 'all columns'}",
            expected="text in at least one row",
            fix="name the columns that hold text with --text-columns",
        )
    notes = CatalogueNotes(chosen.not_text, chosen.others, dict(left_out), not_utf8, with_html)
    items = _keep_first_rows(path, all_ids, all_texts, chosen.chosen, notes)
    return replace(items, skipped=found.left_out, reading=found.notes)


def _read_footers(found: FoundFiles) -> tuple[list[_File], int]:
    """Returns the files that have rows, and how many rows these are. A file without rows need not have columns."""
    files, rows = [], 0
    for info in found.files:
        with open_parquet(info.path) as file:
            if file.metadata.num_rows:
                schema = file.schema_arrow
                partitions = tuple(pair for pair in info.partitions if pair[0] not in schema.names)
                for name, _ in partitions:
                    schema = schema.append(found.partitions.field(name))
                files.append(_File(info.path, schema, partitions))
                rows += file.metadata.num_rows
    return files, rows


def _keep_first_rows(
    path: str, ids: pa.Array, texts: pa.Array, text_columns: tuple[str, ...], notes: CatalogueNotes
) -> ItemTexts:
    encoded = ids.dictionary_encode()
    if len(encoded.dictionary) == len(ids):
        return ItemTexts(ids, texts, text_columns, 0, 0, notes)
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
    return ItemTexts(ids.take(first), texts.take(first), text_columns, len(ids) - len(first), conflicting, notes)


def _spellings(schema: pa.Schema, name: str) -> list[str]:
    """Returns the columns of that name, in whatever case they are written; the exact name comes first."""
    same = [found for found in dict.fromkeys(schema.names) if found.casefold() == name.casefold()]
    return sorted(same, key=lambda found: found != name)


def _item_column(schema: pa.Schema, name: str) -> str | None:
    return next(iter(_spellings(schema, name)), None)


def _choose(files: list[_File], item_column: str, path: str) -> TextColumns:
    """Chooses the text columns by the values in all files."""
    names: dict[str, str] = {}  # by the name in lower case; that spelling, else the first
    for file in files:
        for column in file.schema:
            if column.name.casefold() != item_column.casefold() and holds_text(column.type):
                name = str(column.name)
                key = name.casefold()
                names[key] = name if name == key else names.get(key, name)
    samples: dict[str, list[str]] = {name: [] for name in names.values()}
    enough = max(SAMPLED_VALUES // max(len(files), 1), 20)
    for file in files:
        if missing := [name for name, values in samples.items() if len(values) < SAMPLED_VALUES]:
            with open_parquet(file.path) as parquet:
                for name in missing:
                    samples[name] += _sample(parquet, file, name, enough)
    chosen = choose_text_columns(samples)
    if not chosen.chosen:
        columns = dict.fromkeys(f"{column.name} ({column.type})" for file in files for column in file.schema)
        hold = "; ".join(f"{name} holds {kind}" for name, kind in chosen.not_text.items())
        raise InputError(
            f"{path} has no text column",
            code="ITEMS-NO-TEXT",
            found=(", ".join(columns) or "no column at all") + (f"; {hold}" if hold else ""),
            expected="at least one column of text besides the item id",
            fix="add the titles or descriptions of the items, or name columns with --text-columns; "
            "the semantic half of the method needs text",
        )
    return chosen


def _sample(parquet: pq.ParquetFile, file: _File, name: str, enough: int) -> list[str]:
    """Returns the first values of a column in one file, in all its spellings."""
    values = [value for column, value in file.partitions if column == name and value is not None]
    columns = [found for found in _spellings(file.schema, name) if holds_text(file.schema.field(found).type)]
    columns = [column for column in columns if column not in dict(file.partitions)]
    with _reading(file.path):
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns) if columns else ():
            for column in batch.columns:
                values += sample_values(column.drop_null())
            if len(values) >= enough:
                break
    return values


def _check_columns(path: str, files: list[_File], item_column: str, text_columns: tuple[str, ...]) -> None:
    """Checks that every file has the ids, and that every text column is in some file."""
    missing = [(file, item_column, "--item-column") for file in files if _item_column(file.schema, item_column) is None]
    for name in text_columns:
        if files and not any(_spellings(file.schema, name) for file in files):
            missing.append((files[0], name, "--text-columns"))
    if missing:
        file, name, option = missing[0]
        raise InputError(
            f"{file.path}: column '{name}' is missing",
            code="ITEMS-COLUMN",
            found=f"columns {', '.join(file.schema.names) or '(none)'}",
            expected=f"'{item_column}' with the ids"
            + (f", and the text columns {', '.join(text_columns)}" if text_columns else ""),
            fix=f"name the right column with {option}",
        )


def _read(file: _File, item_column: str, text_columns: tuple[str, ...]) -> pa.Table:
    """Reads the ids, as the column `item_id`, and each text column in all its spellings."""
    names = [_item_column(file.schema, item_column) or item_column]
    names += [found for name in text_columns for found in _spellings(file.schema, name)]
    names = list(dict.fromkeys(names))
    with open_parquet(file.path) as parquet, _reading(file.path):
        table = parquet.read(columns=[name for name in names if name not in dict(file.partitions)])
        table = add_partitions(table, file.partitions, file.schema.remove_metadata())
        table = table.select(names) if file.partitions else table
        for column in table.columns:
            try:
                column.validate(full=True)
            except pa.ArrowInvalid as error:
                if "UTF8" not in str(error):
                    raise
        return table


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except IadsrError:
        raise
    # The file may hold anything, so the parser may raise anything.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read",
            code="ITEMS-READ",
            found=next(iter(str(error).splitlines()), type(error).__name__),
            expected="a complete Parquet file",
            fix="write the file again; it may be truncated",
        ) from error


def _usable_ids(table: pa.Table, path: str, item_column: str, left_out: Counter[str]) -> tuple[pa.Array, pa.Array]:
    """Returns the usable ids [n], and which rows have one, bool [rows]. Counts the others by reason."""
    (place, *_) = table.schema.get_all_field_indices(_item_column(table.schema, item_column))
    ids, problems = usable_item_ids(table.column(place), file=path, name=item_column)
    usable = np.ones(len(table), bool)
    for reason, rows in problems.items():
        left_out[reason] += int(rows.sum())
        usable &= ~rows
    if f"empty {item_column}" in problems:
        ids = ids.filter(pc.not_equal(ids, ""))
    return ids, pa.array(usable)


def _join_columns(table: pa.Table, path: str, text_columns: tuple[str, ...]) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Joins the text columns of a table of `_read`.

    Returns:
        The texts, large_string [n]; which rows hold a text that is not UTF-8; and which held HTML, each bool [n].
    """
    broken, had_html = np.zeros(len(table), bool), np.zeros(len(table), bool)
    parts = []
    for name in text_columns:
        spelled = _spellings(table.schema, name)
        columns = [index for found in spelled for index, other in enumerate(table.column_names) if other == found]
        cleaned = [pa.nulls(len(table), pa.large_string())]
        for index in columns:
            values, not_utf8 = _to_text(table.column(index), path, name)
            text, html = plain_texts(values)
            cleaned.append(text)
            broken |= not_utf8
            had_html |= html
        parts.append(pc.coalesce(*cleaned))
    return functools.reduce(_join_texts, parts), broken, had_html


def _to_text(column: pa.ChunkedArray, path: str, name: str) -> tuple[pa.Array, np.ndarray]:
    try:
        return text_values(column)
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
