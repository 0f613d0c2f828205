"""The contract of embedding files: which columns and metadata they have, and the checks that a file must pass.

You need this if you want to bring vectors of your own, or to know why a file was refused.

A file has the columns `item_id` (string or integer) and `embedding` (fixed-size list of float32). It may have a column
`text`, the text that was embedded. What made the vectors is stated as JSON under the key `iadsr` of the schema's
metadata. An item without a vector keeps its row, with a vector of zeros. It must not be null, because Parquet readers,
pyarrow's included, fail on a fixed-size list that is null.

Vectors made by other programs are accepted too: lists of any size and of any float type, without metadata.

All functions take open files as pairs of path and file. The path is for messages.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...models.core.errors import ArtifactError
from .embedding_table import UNKNOWN, EmbeddingKind, EmbeddingMetadata

ITEM_COLUMN = "item_id"
"""Column of the item ids."""

VECTOR_COLUMN = "embedding"
"""Column of the vectors."""

TEXT_COLUMN = "text"
"""Optional column of the texts that were embedded."""

METADATA_KEY = b"iadsr"
"""Key of our entry in the schema's metadata."""


def common_dimension(path: str, files: list[tuple[str, pq.ParquetFile]]) -> int:
    """Checks the columns of every file, and returns the length that all vectors have.

    Raises:
        ArtifactError: A column is missing or has an unusable type, no item has a vector, or lengths differ.
    """
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
                fix="keep the embeddings of only one encoder in a directory: "
                "delete the files of the other one, or run `iadsr embed` again",
            )
    return dimension


def _dimension(path: str, file: pq.ParquetFile) -> int | None:
    """Checks the columns of one file, and returns the length of its vectors. None if no row has a vector.

    A file without rows need not have the columns: pandas writes an empty frame without their types.
    """
    if not file.metadata.num_rows:
        return None
    schema = file.schema_arrow
    for name in (ITEM_COLUMN, VECTOR_COLUMN):
        if name not in schema.names:
            raise ArtifactError(
                f"{path}: column '{name}' is missing",
                code="VECTORS-COLUMN",
                found=f"columns {', '.join(schema.names) or '(none)'}",
                expected=f"{ITEM_COLUMN} and {VECTOR_COLUMN}",
                fix="pass the directory that `iadsr embed` wrote, or rename the columns of the file",
            )
    data_type = schema.field(VECTOR_COLUMN).type
    is_fixed_size = pa.types.is_fixed_size_list(data_type)
    is_list = is_fixed_size or pa.types.is_list(data_type) or pa.types.is_large_list(data_type)
    if not is_list or not pa.types.is_floating(data_type.value_type):
        raise ArtifactError(
            f"{path}: column '{VECTOR_COLUMN}' cannot hold vectors",
            code="VECTORS-TYPE",
            found=f"type {data_type}",
            expected="fixed-size list of float32",
            fix=f"cast {VECTOR_COLUMN} to a list of float32",
        )
    if is_fixed_size:
        return data_type.list_size
    for group in read_row_groups(path, file, [VECTOR_COLUMN]):
        if lengths := group[VECTOR_COLUMN].combine_chunks().value_lengths().drop_null():
            return lengths[0].as_py()
    return None


def read_row_groups(
    path: str, file: pq.ParquetFile, columns: list[str], *, only: int | None = None
) -> Iterator[pa.Table]:
    """Reads some columns of one file, one row group at a time; only one of them if `only` is its number.

    Raises:
        ArtifactError: A row group cannot be read.
    """
    for group in range(file.num_row_groups) if only is None else (only,):
        if not file.metadata.row_group(group).num_rows:
            continue
        try:
            table = file.read_row_group(group, columns=columns)
            table.validate(full=True)
            expected_rows = file.metadata.row_group(group).num_rows
            if len(table) != expected_rows:
                raise ValueError(f"{len(table):,} rows, but the footer says {expected_rows:,}")
        # The file may hold anything, so the parser may raise anything.
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


def common_metadata(files: list[tuple[str, pq.ParquetFile]], kind: EmbeddingKind, dimension: int) -> EmbeddingMetadata:
    """Checks the metadata of every file, and returns the metadata that all files have.

    A file without our metadata counts as made by an unknown encoder.

    Args:
        files: At least one file.
        kind: The kind of vectors that the caller needs.
        dimension: The length of the vectors, see `common_dimension`.

    Raises:
        ArtifactError: Metadata are damaged, differ between files, or do not fit the vectors or `kind`. Also if parts
            of a table are missing.
    """
    first_path, first = "", EmbeddingMetadata(kind, UNKNOWN, UNKNOWN, UNKNOWN, dimension)
    parts: dict[tuple[str, int], dict[int, str]] = {}  # (table, number of parts) to part to path
    for path, file in files:
        metadata, part = _file_metadata(path, file)
        if metadata is None:
            metadata = EmbeddingMetadata(kind, UNKNOWN, UNKNOWN, UNKNOWN, dimension)
        if part is not None:
            parts.setdefault((part.table, part.parts), {})[part.part] = path
        if not first_path:
            first_path, first = path, metadata
        if metadata != first:
            raise ArtifactError(
                f"{path} and {first_path} were not made by the same encoder from the same columns",
                code="VECTORS-MIXED",
                found=f"{metadata}, text columns {', '.join(metadata.text_columns) or '(none)'}",
                expected=f"{first}, text columns {', '.join(first.text_columns) or '(none)'}",
                fix="keep the embeddings of only one encoder in a directory: "
                "delete the files of the other one, or run `iadsr embed` again",
            )
    if first.kind != kind:
        raise ArtifactError(
            f"{first_path} holds {first.kind} embeddings",
            code="VECTORS-KIND",
            found=f"{first.kind} vectors of {first}",
            expected=f"{kind} vectors",
            fix="pass the directory that `iadsr embed` wrote"
            if kind == "semantic"
            else "pass the embeddings that belong to the model",
        )
    if first.dimension != dimension:
        raise ArtifactError(
            f"{first_path}: the metadata and the column '{VECTOR_COLUMN}' disagree",
            code="VECTORS-DIMENSION",
            found=f"{dimension} values per vector",
            expected=f"{first.dimension}, as the metadata says",
            fix="run `iadsr embed` again",
        )
    _check_parts(parts)
    return first


class _Part(NamedTuple):
    """Which part of which table a file is."""

    table: str
    """Fingerprint of the whole table."""
    part: int
    """Number of the part, from 0."""
    parts: int
    """Number of parts of the table."""


def _file_metadata(path: str, file: pq.ParquetFile) -> tuple[EmbeddingMetadata | None, _Part | None]:
    """Returns what the metadata of one file say, as far as the file has any."""
    raw = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    if raw is None:
        return None, None
    try:
        values = json.loads(raw)
        metadata = EmbeddingMetadata.from_dict(values)
        has_part = "table" in values
        part = _Part(str(values["table"]), int(values["part"]), int(values["parts"])) if has_part else None
        return metadata, part
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ArtifactError(
            f"{path}: the embedding metadata is damaged",
            code="VECTORS-METADATA",
            found=raw[:200].decode(errors="replace"),
            expected="a JSON object with kind, encoder, revision, pooling and dimension",
            fix="run `iadsr embed` again",
        ) from error


def _check_parts(parts: dict[tuple[str, int], dict[int, str]]) -> None:
    """Checks that every table is complete."""
    for (_, count), present in parts.items():
        if len(present) != count:
            raise ArtifactError(
                f"{next(iter(present.values()))} is one of {count} parts of a table, and not all of them are there",
                code="VECTORS-PARTS",
                found=f"{len(present)} of {count} parts",
                expected="all parts of one table; an interrupted or partial copy leaves fewer",
                fix="run `iadsr embed` again, or copy the whole directory",
            )


def copy_vectors(column: Any, ids: pa.Array, path: str, out: np.ndarray) -> None:
    """Copies the vectors of a list column into an array of zeros. Rows that are null stay zero.

    Args:
        column: Array of lists of floats [n].
        ids: The item ids of the rows [n], for messages.
        path: The file, for messages.
        out: float32 [n, D], the array to fill.

    Raises:
        ArtifactError: A vector has another length than D, or a value that is null or not a finite float32.
    """
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
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is found below
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


def cast_texts(column: pa.ChunkedArray, path: str) -> pa.Array:
    """Returns a text column as large_string [n].

    Raises:
        ArtifactError: The column has a type that cannot be cast to text.
    """
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


def concatenate_ids(path: str, ids: list[pa.Array]) -> pa.Array:
    """Returns the item ids of all files as one array.

    Raises:
        ArtifactError: Files have different types of ids, or an id occurs more than once.
    """
    filled = [chunk for chunk in ids if len(chunk)]
    if len({chunk.type for chunk in filled}) > 1:
        raise ArtifactError(
            f"{path}: column '{ITEM_COLUMN}' has different types in different files",
            code="VECTORS-IDS",
            found=" and ".join(sorted({str(chunk.type) for chunk in filled})),
            expected="one type, the same as in the interactions",
            fix="write all files with the same type of item ids",
        )
    joined = pa.concat_arrays(filled or ids[:1])
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
