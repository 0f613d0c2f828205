"""Reads which items a user has named as no items, from a file of ids and from the catalogue."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import InputError
from ..contract.arrow_types import one_chunk, plain_type
from ..contract.hashing import hash_values
from ..files.found_files import find_files
from ..files.storage import read_bytes
from ..files.tables import open_parquet
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
    catalogue = None
    if options.non_items is not None:
        named.append(_hashed(_read_ids(options.non_items, item_column), item_type, options.non_items))
    if options.catalogue is not None:
        table = _read_columns(options.catalogue, tuple(filter(None, (item_column, options.non_item_column))))
        if options.non_item_column is not None:
            named.append(_hashed(table[item_column].filter(_is_set(table, options)), item_type, options.catalogue))
        if options.catalogue_only:
            catalogue = np.unique(_hashed(table[item_column], item_type, options.catalogue))
    return np.unique(np.concatenate(named)), catalogue


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


def _read_ids(path: str, item_column: str) -> pa.ChunkedArray:
    if path.lower().endswith((".txt", ".csv", ".tsv", ".list")):
        lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
        return pa.chunked_array([pa.array([line.strip() for line in lines if line.strip()], pa.string())])
    return _read_columns(path, (item_column,))[item_column]


def _read_columns(path: str, names: tuple[str, ...]) -> pa.Table:
    tables = []
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
            tables.append(parquet.read(columns=list(names)))
    return pa.concat_tables(tables, promote_options="permissive")


def _hashed(item_ids: pa.ChunkedArray, item_type: pa.DataType, path: str) -> np.ndarray:
    """Returns the hashes of ids, as they have them in the log. An id that the log's type cannot hold is not in it."""
    ids = one_chunk(item_ids.cast(plain_type(item_ids.type))).drop_null()
    try:
        return hash_values(ids.cast(pa.int64() if pa.types.is_integer(item_type) else pa.large_string()))
    except pa.ArrowException as error:
        raise InputError(
            f"{path} holds ids of another kind than the log",
            code="RULE-IDS",
            found=str(ids.type),
            expected=str(item_type),
            fix="write the ids as they are in the log",
        ) from error
