"""The item embeddings contract: tables of vectors kept as Parquet, checked in full when they are read.

A file holds `item_id` (string or integer), `embedding` (fixed-size list of float32) and, where it is known, the `text`
that was embedded; what made the vectors stands as JSON under `iadsr` in the schema metadata. An item without a vector
keeps its row, with a vector of zeros: Parquet readers, pyarrow's included, fail on a fixed-size list that is null.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...models.core.errors import ArtifactError
from ..files.listing import match_files
from ..files.storage import delete, join, list_names, translating_read_errors, write_atomically
from ..files.symbolic_links import refuse_links
from ..files.tables import open_parquet
from .embedding_table import (
    UNKNOWN,
    EmbeddingMetadata,
    EmbeddingTable,
    Kind,
    fingerprint,
    normalise_item_ids,
    stored_vectors,
)

ITEM_COLUMN, VECTOR_COLUMN, TEXT_COLUMN = "item_id", "embedding", "text"


METADATA_KEY = b"iadsr"


PART_NAME = r"part-\d{5,}\.parquet"
"""Pattern of the names of parts."""


FORMAT_VERSION = 1


ROWS_PER_FILE = 262_144  # 400 MB of 384-dimensional vectors


ROWS_PER_GROUP = 16_384  # what a reader holds beside the result: 25 MB of 384-dimensional vectors


def write_embeddings(table: EmbeddingTable, directory: str, *, rows_per_file: int = ROWS_PER_FILE) -> list[str]:
    """Writes a table as `part-00000.parquet`, ... and removes parts of an earlier, longer table.

    Each file appears only whole, when it has reached the disk, and equal tables give equal bytes. Every part names the
    whole that it belongs to, so that parts of two tables, left behind by an interrupted rewrite, are found on reading.

    Returns:
        The paths written, in row order.
    """
    description = table.metadata.to_dict() | {"format_version": FORMAT_VERSION, "table": fingerprint(table)}
    starts = range(0, max(len(table), 1), rows_per_file)
    paths = []
    for part, start in enumerate(starts):
        rows = slice(start, start + rows_per_file)
        text = json.dumps(description | {"part": part, "parts": len(starts)}, sort_keys=True)
        arrow = _to_arrow(table, rows).replace_schema_metadata({METADATA_KEY: text.encode()})
        paths.append(join(directory, f"part-{part:05d}.parquet"))
        write_atomically(paths[-1], lambda sink, arrow=arrow: _write_parquet(arrow, sink), durable=True)
    own = {join(directory, name) for name in list_names(directory) if re.fullmatch(PART_NAME, name)}
    delete(*sorted(own - set(paths)))
    return paths


def read_embeddings(path: str, *, kind: Kind = "semantic") -> EmbeddingTable:
    """Reads and checks an embedding table: a Parquet file, a directory or a glob.

    Vectors made elsewhere are welcome: lists of any float type and one length are converted, and files without our
    metadata count as `kind` by an unknown encoder. A null vector or a vector of zeros means that the item has none.

    Args:
        path: Where the table lies, on any file system that Beam knows.
        kind: The kind that the caller needs.

    Raises:
        InputError: There is no such file, or one is unreadable.
        ArtifactError: A file breaks the contract; the message names file, column, what was found and what was expected.
    """
    with _open_files(path) as files:
        return _read_files(path, files, kind)


def read_metadata(path: str, *, kind: Kind = "semantic") -> tuple[EmbeddingMetadata, pa.DataType]:
    """Reads what a table is without reading its vectors: its metadata, and the type of its item ids.

    Args:
        path: Where the table lies.
        kind: The kind that the caller needs.

    Raises:
        InputError: There is no such file, or one is unreadable.
        ArtifactError: Columns or metadata break the contract.
    """
    with _open_files(path) as files:
        metadata = _joint_metadata(files, kind, _joint_dimension(path, files))
        return metadata, normalise_item_ids(files[0][1].schema_arrow.empty_table()[ITEM_COLUMN], file=files[0][0]).type


def read_kind(path: str) -> str | None:
    """Returns which kind of vectors one file says it holds; None where it says nothing of vectors.

    Raises:
        InputError: It is unreadable.
    """
    with open_parquet(path) as file:
        text = (file.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}")
    with translating_read_errors(path):
        values = json.loads(text)
    return values.get("kind") if isinstance(values, dict) else None


def vector_bytes(path: str) -> int:
    """Returns how many bytes a table's vectors take, by the files' footers.

    Raises:
        InputError: There is no such file, or one is unreadable.
        ArtifactError: Columns break the contract.
    """
    with _open_files(path) as files:
        return _joint_dimension(path, files) * sum(file.metadata.num_rows for _, file in files) * 4


@contextmanager
def _open_files(path: str) -> Iterator[list[tuple[str, pq.ParquetFile]]]:
    refuse_links(path)
    with ExitStack() as stack:
        yield [(info.path, stack.enter_context(open_parquet(info.path))) for info in match_files(path)]


def _to_arrow(table: EmbeddingTable, rows: slice) -> pa.Table:
    dimension = table.metadata.dimension
    values = np.ascontiguousarray(stored_vectors(table, rows)).reshape(-1)
    start, count = rows.start, rows.stop - rows.start
    fields = [pa.field(ITEM_COLUMN, table.item_ids.type, nullable=False)]
    element = pa.field("element", pa.float32(), nullable=False)
    fields.append(pa.field(VECTOR_COLUMN, pa.list_(element, dimension), nullable=False))
    columns = [
        table.item_ids.slice(start, count),
        pa.FixedSizeListArray.from_arrays(pa.array(values), type=fields[1].type),
    ]
    if table.texts is not None:
        fields.append(pa.field(TEXT_COLUMN, pa.large_string()))
        columns.append(table.texts.slice(start, count).cast(pa.large_string()))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _write_parquet(arrow: pa.Table, sink: Any) -> None:
    # Vectors do not compress, and a dictionary of them is built only to be thrown away.
    names = [name for name in arrow.column_names if name != VECTOR_COLUMN]
    per_column: dict[str, Any] = {
        "compression": dict.fromkeys(names, "zstd"),
        "use_dictionary": names,
        "write_statistics": names,
    }
    pq.write_table(arrow, sink, row_group_size=ROWS_PER_GROUP, **per_column)


def _read_files(path: str, files: list[tuple[str, pq.ParquetFile]], kind: Kind) -> EmbeddingTable:
    dimension = _joint_dimension(path, files)
    metadata = _joint_metadata(files, kind, dimension)

    count = sum(file.metadata.num_rows for _, file in files)
    vectors = np.zeros((count, dimension), np.float32)  # [V, D]
    ids, texts, row = [], [], 0
    with_text = all(TEXT_COLUMN in file.schema_arrow.names for _, file in files)
    columns = [ITEM_COLUMN, VECTOR_COLUMN] + ([TEXT_COLUMN] if with_text else [])
    for file_path, file in files:
        for group in _row_groups(file_path, file, columns):
            ids.append(normalise_item_ids(group[ITEM_COLUMN], file=file_path))
            _fill(vectors[row : row + len(group)], group[VECTOR_COLUMN].combine_chunks(), ids[-1], file_path)
            if with_text:
                texts.append(_text_column(group[TEXT_COLUMN], file_path))
            row += len(group)
    return EmbeddingTable(
        item_ids=_unique_ids(path, ids),
        vectors=vectors,
        present=np.any(vectors, axis=1),
        texts=pa.concat_arrays(texts) if with_text else None,
        metadata=metadata,
    )


def _joint_dimension(path: str, files: list[tuple[str, pq.ParquetFile]]) -> int:
    """Checks every file's columns and returns the one length of their vectors."""
    dimensions = {file_path: _dimension(file_path, file) for file_path, file in files}
    known = {file_path: size for file_path, size in dimensions.items() if size is not None}
    if not known:
        raise ArtifactError(
            f"{path} holds no item with a vector",
            code="VECTORS-NONE",
            found=f"{sum(file.metadata.num_rows for _, file in files):,} rows in {len(files)} files",
            expected="at least one embedding",
            fix="run `iadsr embed` on an item catalogue that has text",
        )
    first, dimension = next(iter(known.items()))
    for file_path, size in known.items():
        if size != dimension:
            raise ArtifactError(
                f"{file_path}: column '{VECTOR_COLUMN}' has vectors of another length than {first}",
                code="VECTORS-LENGTH",
                found=f"{size} values per vector",
                expected=f"{dimension}",
                fix="keep one encoder's embeddings per directory: delete the odd files, or run `iadsr embed` again",
            )
    return dimension


def _row_groups(path: str, file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.Table]:
    for group in range(file.num_row_groups):
        try:
            table = file.read_row_group(group, columns=columns)
            table.validate(full=True)
            if len(table) != file.metadata.row_group(group).num_rows:
                raise ValueError(f"{len(table):,} rows, where the footer says otherwise")
        # The file is anybody's: what its parser raises cannot be listed.
        except Exception as error:
            null_list = "Expected all lists to be of size" in str(error)
            raise ArtifactError(
                f"{path}: row group {group} cannot be read",
                code="VECTORS-READ",
                found=next(iter(str(error).splitlines()), type(error).__name__),
                expected=f"{VECTOR_COLUMN} without nulls, or of the type list<float32>" if null_list else None,
                fix="leave out the items without a vector"
                if null_list
                else "write the file again; it may be truncated",
            ) from error
        yield table


def _dimension(path: str, file: pq.ParquetFile) -> int | None:
    """Checks one file's columns and returns the length of its vectors, None if no row has one."""
    schema = file.schema_arrow
    for name in (ITEM_COLUMN, VECTOR_COLUMN):
        if name not in schema.names:
            raise ArtifactError(
                f"{path}: column '{name}' is missing",
                code="VECTORS-COLUMN",
                found=f"columns {', '.join(schema.names) or '(none)'}",
                expected=f"{ITEM_COLUMN} and {VECTOR_COLUMN}",
                fix="give the directory that `iadsr embed` wrote, or rename the file's columns",
            )
    type_ = schema.field(VECTOR_COLUMN).type
    is_list = pa.types.is_fixed_size_list(type_) or pa.types.is_list(type_) or pa.types.is_large_list(type_)
    if not is_list or not pa.types.is_floating(type_.value_type):
        raise ArtifactError(
            f"{path}: column '{VECTOR_COLUMN}' cannot hold vectors",
            code="VECTORS-TYPE",
            found=f"type {type_}",
            expected="fixed-size list of float32",
            fix=f"cast {VECTOR_COLUMN} to a list of float32",
        )
    if pa.types.is_fixed_size_list(type_):
        return type_.list_size if file.metadata.num_rows else None
    for group in _row_groups(path, file, [VECTOR_COLUMN]):
        if lengths := group[VECTOR_COLUMN].combine_chunks().value_lengths().drop_null():
            return lengths[0].as_py()
    return None


def _joint_metadata(files: list[tuple[str, pq.ParquetFile]], kind: Kind, dimension: int) -> EmbeddingMetadata:
    """Reads every file's metadata and checks that all tell of one encoder and that no part is missing."""
    unknown = EmbeddingMetadata(kind, UNKNOWN, UNKNOWN, UNKNOWN, dimension)
    first_path, first = "", unknown
    parts: dict[tuple[str, int], dict[int, str]] = {}
    for path, file in files:
        raw = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
        metadata = unknown
        if raw is not None:
            try:
                values = json.loads(raw)
                metadata = EmbeddingMetadata.from_dict(values)
                if "table" in values:
                    whole = parts.setdefault((str(values["table"]), int(values["parts"])), {})
                    whole[int(values["part"])] = path
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
                raise ArtifactError(
                    f"{path}: the embedding metadata is damaged",
                    code="VECTORS-METADATA",
                    found=raw[:200].decode(errors="replace"),
                    expected="a JSON object with kind, encoder, revision, pooling and dimension",
                    fix="run `iadsr embed` again",
                ) from error
        if not first_path:
            first_path, first = path, metadata
        if metadata != first:
            raise ArtifactError(
                f"{path} and {first_path} were not made by the same encoder from the same columns",
                code="VECTORS-MIXED",
                found=f"{metadata}, text columns {', '.join(metadata.text_columns) or '(none)'}",
                expected=f"{first}, text columns {', '.join(first.text_columns) or '(none)'}",
                fix="keep one encoder's embeddings per directory: delete the odd files, or run `iadsr embed` again",
            )
    if first.kind != kind:
        raise ArtifactError(
            f"{first_path} holds {first.kind} embeddings",
            code="VECTORS-KIND",
            found=f"{first.kind} vectors of {first}",
            expected=f"{kind} vectors",
            fix="give the directory that `iadsr embed` wrote"
            if kind == "semantic"
            else "give the model's own embeddings",
        )
    if first.dimension != dimension:
        raise ArtifactError(
            f"{first_path}: the metadata and the column '{VECTOR_COLUMN}' disagree",
            code="VECTORS-DIMENSION",
            found=f"{dimension} values per vector",
            expected=f"{first.dimension}, as the metadata says",
            fix="run `iadsr embed` again",
        )
    for (_, count), present in parts.items():
        if len(present) != count:
            raise ArtifactError(
                f"{next(iter(present.values()))} is one of {count} parts and others are missing or of another table",
                code="VECTORS-PARTS",
                found=f"{len(present)} of {count} parts",
                expected="all parts of one table; an interrupted or partial copy leaves fewer",
                fix="run `iadsr embed` again, or copy the whole directory",
            )
    return first


def _fill(out: np.ndarray, column: Any, ids: pa.Array, path: str) -> None:
    """Copies a list column's vectors into out [n, D]; rows that are null stay zero."""
    dimension = out.shape[1]
    valid = np.asarray(column.is_valid())  # [n]
    lengths = np.asarray(column.value_lengths().fill_null(dimension))
    if (wrong := lengths != dimension).any():
        row = int(wrong.argmax())
        raise _bad_vector(path, ids[row], f"{lengths[row]} values", f"{dimension} values, as in the other rows")
    values = column.flatten()  # leaves out the null rows
    if values.null_count:
        row = int(np.flatnonzero(valid)[pc.index(values.is_null(), True).as_py() // dimension])
        raise _bad_vector(path, ids[row], "a null among its values", "numbers only")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is reported below
        dense = values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, dimension)
    if not np.isfinite(dense).all():
        row = int(np.flatnonzero(valid)[~np.isfinite(dense).all(axis=1)][0])
        raise _bad_vector(path, ids[row], "NaN or infinity", "finite float32 numbers")
    out[valid] = dense


def _bad_vector(path: str, item: pa.Scalar, found: str, expected: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: column '{VECTOR_COLUMN}' of item {item.as_py()!r} is not a usable vector",
        code="VECTORS-VALUES",
        found=found,
        expected=expected,
        fix="correct the file, or make the embeddings with `iadsr embed`",
    )


def _text_column(column: pa.ChunkedArray, path: str) -> pa.Array:
    try:
        return column.combine_chunks().cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ArtifactError(
            f"{path}: column '{TEXT_COLUMN}' cannot hold text",
            code="VECTORS-TEXT",
            fix="cast the column to string, or leave it out",
            found=f"type {column.type}",
            expected="string",
        ) from error


def _unique_ids(path: str, ids: list[pa.Array]) -> pa.Array:
    if len({chunk.type for chunk in ids}) > 1:
        raise ArtifactError(
            f"{path}: column '{ITEM_COLUMN}' has different types in different files",
            code="VECTORS-IDS",
            found=" and ".join(sorted({str(chunk.type) for chunk in ids})),
            expected="one type, as in the interactions",
            fix="write all files with the same type of item id",
        )
    joined = pa.concat_arrays(ids)
    counts = joined.value_counts()
    repeated = counts.filter(pa.array(np.asarray(counts.field("counts")) > 1))
    if len(repeated):
        raise ArtifactError(
            f"{path}: column '{ITEM_COLUMN}' has {len(repeated):,} ids more than once",
            code="VECTORS-DOUBLED",
            found=f"item {repeated[0]['values'].as_py()!r} in {repeated[0]['counts'].as_py()} rows",
            expected="one row per item",
            fix="remove the repeated rows",
        )
    return joined
