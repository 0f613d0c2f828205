"""Reads which items a user has named as no items, from a file of ids and from the catalogue."""

import csv
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import InputError
from ..contract.arrow_types import id_type, one_chunk, plain_type
from ..contract.hashing import hash_values
from ..files.found_files import find_files
from ..files.storage import first_line, open_binary, read_bytes, translating_read_errors
from ..files.tables import open_parquet
from ..read.ids import read_ids
from .rule_options import RuleOptions


def read_non_items(
    options: RuleOptions, item_column: str, item_type: pa.DataType
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the hashes of what is no item, and of all that is in the catalogue if nothing else is an item.

    Both are uint64, ascending.

    Raises:
        InputError: A file cannot be read, lacks a column, or holds ids of another kind than the log.
    """
    named = [np.zeros(0, np.uint64)]
    only = [np.zeros(0, np.uint64)]
    if options.non_items is not None:
        named += [_hashed(ids, item_type, options.non_items) for ids in _read_ids(options.non_items, item_column)]
    if options.catalogue is not None:
        for table in _read_columns(options.catalogue, tuple(filter(None, (item_column, options.non_item_column)))):
            if options.non_item_column is not None:
                ids = table[item_column].filter(_is_set(table, options))
                named.append(_hashed(ids, item_type, options.catalogue))
            if options.catalogue_only:
                only.append(_hashed(table[item_column], item_type, options.catalogue))
    return np.unique(np.concatenate(named)), np.unique(np.concatenate(only)) if options.catalogue_only else None


def _is_set(table: pa.Table, options: RuleOptions) -> pa.ChunkedArray:
    values = table[options.non_item_column]
    try:
        return pc.fill_null(values.cast(pa.bool_()), False)
    except pa.ArrowException as error:
        raise InputError(
            f"Column {options.non_item_column!r} of {options.catalogue} is neither true nor false",
            code="RULE-FLAG",
            found=str(values.type),
            expected="true and false, or numbers",
            fix="name another column with --non-item-column",
        ) from error


def _read_ids(path: str, item_column: str) -> Iterator[pa.ChunkedArray]:
    if not _is_text(path):
        yield from (table[item_column] for table in _read_columns(path, (item_column,)))
        return
    lines = read_bytes(path).decode("utf-8-sig", errors="replace").splitlines()
    ids = [line.strip() for line in lines if line.strip()]
    delimiter = next((each for each in "\t;," if ids and each in ids[0]), ",")
    if ids and item_column in next(csv.reader(ids[:1], delimiter=delimiter)):
        ids = [row[item_column] for row in csv.DictReader(ids, delimiter=delimiter)]
    yield pa.chunked_array([pa.array(ids, pa.string())])


def _is_text(path: str) -> bool:
    """Whether a path is one file that does not begin as Parquet does, packed or not."""
    with suppress(InputError), translating_read_errors(path), open_binary(path) as file:
        return not file.read(4).startswith((b"PAR1", b"PARE", b"\x1f\x8b"))
    return False


def _read_columns(path: str, names: tuple[str, ...]) -> Iterator[pa.Table]:
    for info in find_files(path).files:
        with open_parquet(info.path) as parquet:
            missing = [name for name in names if name not in parquet.schema_arrow.names]
            if missing:
                raise InputError(
                    f"{info.path} has no column {missing[0]!r}",
                    code="RULE-ITEMS",
                    found=f"columns {', '.join(parquet.schema_arrow.names)}",
                    expected=f"columns {', '.join(names)}",
                    fix="correct --item-column or --non-item-column, or name ids in a text file, one on each line",
                )
            yield parquet.read(columns=list(names))


def _hashed(item_ids: pa.ChunkedArray, item_type: pa.DataType, path: str) -> np.ndarray:
    """Returns the hashes of ids, as they have them in the log. An id that the log's type cannot hold is not in it."""
    plain = item_ids.cast(plain_type(item_ids.type))
    try:
        if id_type(plain.type) is None:
            raise pa.ArrowTypeError("no type of ids")
        ids = one_chunk(read_ids(plain, "item_id").values).drop_null()
        return hash_values(ids.cast(pa.int64() if pa.types.is_integer(item_type) else pa.large_string()))
    except pa.ArrowException as error:
        raise InputError(
            f"{path} holds ids of another kind than the log",
            code="RULE-IDS",
            found=f"{item_ids.type}: {first_line(error)}",
            expected=str(item_type),
            fix="write the ids as they are in the log",
        ) from error
