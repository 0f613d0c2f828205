"""Writes embedding tables as Parquet files, and reads them back.

You need this to keep the vectors of items on disk. `embedding_contract` says what such a file holds. Every file is
checked against that contract when it is read.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..contract.hashing import hash_values
from ..files.found_files import find_files
from ..files.storage import delete, join, list_names, translating_read_errors, write_atomically
from ..files.symbolic_links import refuse_links
from ..files.tables import open_parquet
from .embedding_contract import (
    ITEM_COLUMN,
    METADATA_KEY,
    TEXT_COLUMN,
    VECTOR_COLUMN,
    cast_texts,
    common_dimension,
    common_metadata,
    concatenate_ids,
    copy_vectors,
    read_row_groups,
)
from .embedding_notes import EmbeddingNotes
from .embedding_table import (
    EmbeddingKind,
    EmbeddingMetadata,
    EmbeddingTable,
    fingerprint,
    stored_vectors,
)
from .item_ids import normalise_item_ids

FORMAT_VERSION = 1
"""Version of the file format. It is written into every file."""

PART_NAME = r"part-\d{5,}\.parquet"
"""Pattern of the names of the files of a table."""

ROWS_PER_FILE = 262_144
"""Rows of one file. With vectors of 384 dimensions these are 400 MB."""

ROWS_PER_GROUP = 16_384
"""Rows of one row group. A reader holds one of them besides its result: 25 MB with vectors of 384 dimensions."""


MAX_GROUPS_LOOKED_AT = 16
"""Row groups whose vectors `read_vectors_of` reads. Files in many small groups are looked at in part."""


def write_embeddings(
    table: EmbeddingTable,
    directory: str,
    *,
    notes: EmbeddingNotes | None = None,
    rows_per_file: int = ROWS_PER_FILE,
) -> list[str]:
    """Writes a table as `part-00000.parquet`, `part-00001.parquet` and so on, and removes parts of an earlier table.

    A file appears under its name only when it is complete and has reached the disk. Equal tables give equal bytes.
    Every part names the table that it belongs to. If a rewrite is interrupted, a reader therefore notices that the
    directory holds parts of two tables.

    Args:
        table: What to write.
        directory: Where to write it, on any file system that Beam knows.
        notes: What somebody should know about the table. Notes are no part of what makes two tables equal.
        rows_per_file: Rows of each file. The last one may have fewer.

    Returns:
        The paths written, in row order.
    """
    description = table.metadata.to_dict() | {"format_version": FORMAT_VERSION, "table": fingerprint(table)}
    if notes is not None and (told := notes.to_dict()):
        description["notes"] = told
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
    # The vectors are written as they are: they do not compress, and a dictionary of them would only cost time.
    names = [name for name in arrow.column_names if name != VECTOR_COLUMN]
    per_column: dict[str, Any] = {
        "compression": dict.fromkeys(names, "zstd"),
        "use_dictionary": names,
        "write_statistics": names,
    }
    pq.write_table(arrow, sink, row_group_size=ROWS_PER_GROUP, **per_column)


def read_embeddings(path: str, *, kind: EmbeddingKind = "semantic") -> EmbeddingTable:
    """Reads and checks an embedding table.

    Vectors made by other programs are accepted, see `embedding_contract`. If a vector is null or all zeros, the item
    has no vector.

    Args:
        path: A Parquet file, a directory or a glob, on any file system that Beam knows.
        kind: The kind of vectors that the caller needs. Files without our metadata count as being of this kind.

    Raises:
        InputError: There is no such file, or a file cannot be read.
        ArtifactError: A file breaks the contract. The message names the file, the column, what was found and what was
            expected.
    """
    with _open_files(path) as files:
        dimension = common_dimension(path, files)
        metadata = common_metadata(files, kind, dimension)
        count = sum(file.metadata.num_rows for _, file in files)
        vectors = np.zeros((count, dimension), np.float32)  # [V, D]
        ids, texts, row = [], [], 0
        with_text = all(TEXT_COLUMN in file.schema_arrow.names for _, file in files)
        columns = [ITEM_COLUMN, VECTOR_COLUMN] + ([TEXT_COLUMN] if with_text else [])
        for file_path, file in files:
            for group in read_row_groups(file_path, file, columns):
                ids.append(normalise_item_ids(group[ITEM_COLUMN], file=file_path))
                rows = slice(row, row + len(group))
                copy_vectors(group[VECTOR_COLUMN].combine_chunks(), ids[-1], file_path, vectors[rows])
                if with_text:
                    texts.append(cast_texts(group[TEXT_COLUMN], file_path))
                row += len(group)
        return EmbeddingTable(
            item_ids=concatenate_ids(path, ids),
            vectors=vectors,
            present=np.any(vectors, axis=1),
            texts=pa.concat_arrays(texts) if with_text else None,
            metadata=metadata,
        )


class _OneOpenFile:
    """Keeps one file of a table open: the one that was read last. A table may have more files than may be open."""

    def __init__(self):
        self._path, self._stack = "", ExitStack()

    def get(self, path: str) -> pq.ParquetFile:
        """Opens a file, if it is not open, and closes the one before."""
        if path != self._path:
            self.close()
            self._file = self._stack.enter_context(open_parquet(path))
            self._path = path
        return self._file

    def close(self) -> None:
        self._path = ""
        self._stack.close()


class _File:
    """A Parquet file that is opened when row groups of it are read. Its footer is there from the start."""

    def __init__(self, path: str, opened: _OneOpenFile):
        file = opened.get(path)
        self.metadata, self.schema_arrow, self.num_row_groups = file.metadata, file.schema_arrow, file.num_row_groups
        self._path, self._opened = path, opened

    def read_row_group(self, number: int, columns: list[str]) -> pa.Table:
        """Reads columns of one row group."""
        return self._opened.get(self._path).read_row_group(number, columns=columns)


@contextmanager
def _open_files(path: str) -> Iterator[list[tuple[str, Any]]]:
    """Gives all files of a table, as pairs of path and file (see `_File`), for as long as the block runs."""
    refuse_links(path)
    opened = _OneOpenFile()
    try:
        yield [(info.path, _File(info.path, opened)) for info in find_files(path).files]
    finally:
        opened.close()


def read_metadata(path: str, *, kind: EmbeddingKind = "semantic") -> tuple[EmbeddingMetadata, pa.DataType]:
    """Reads what made a table, and the type of its item ids, without reading the vectors.

    Args:
        path: A Parquet file, a directory or a glob.
        kind: The kind of vectors that the caller needs.

    Raises:
        InputError: There is no such file, or a file cannot be read.
        ArtifactError: The columns or the metadata break the contract.
    """
    with _open_files(path) as files:
        metadata = common_metadata(files, kind, common_dimension(path, files))
        first_path, first = next((pair for pair in files if pair[1].metadata.num_rows), files[0])
        return metadata, normalise_item_ids(first.schema_arrow.empty_table()[ITEM_COLUMN], file=first_path).type


def read_kind(path: str) -> str | None:
    """Returns which kind of vectors one file says that it holds. None if it has no such metadata.

    Raises:
        InputError: The file cannot be read.
    """
    with open_parquet(path) as file:
        text = (file.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}")
    with translating_read_errors(path):
        values = json.loads(text)
    return values.get("kind") if isinstance(values, dict) else None


def read_vectors_of(
    path: str, hashes: np.ndarray, *, enough: int = MAX_GROUPS_LOOKED_AT
) -> tuple[np.ndarray, np.ndarray]:
    """Returns vectors of the items that have one of some hashes, as many as a few row groups hold.

    The ids of all items are read, but vectors only from the row groups that hold most of the wanted items.

    Args:
        path: A Parquet file, a directory or a glob.
        hashes: Hashes of item ids by `hash_values`, uint64 [n].
        enough: The number of row groups to read vectors from.

    Returns:
        The hashes of the items found, uint64 [k], and their vectors, float32 [k, D], zeros if an item has none.

    Raises:
        InputError: There is no such file, or a file cannot be read.
        ArtifactError: A file breaks the contract.
    """
    with _open_files(path) as files:
        dimension = common_dimension(path, files)
        places: list[tuple[int, int, int]] = []  # wanted items, file, row group
        for number, (file_path, file) in enumerate(files):
            for group, table in enumerate(read_row_groups(file_path, file, [ITEM_COLUMN])):
                ids = normalise_item_ids(table[ITEM_COLUMN], file=file_path)
                if wanted := int(np.isin(hash_values(ids), hashes).sum()):
                    places.append((-wanted, number, group))
        found, vectors = [np.zeros(0, np.uint64)], [np.zeros((0, dimension), np.float32)]
        for _, number, group in sorted(places)[:enough]:
            file_path, file = files[number]
            columns = [ITEM_COLUMN, VECTOR_COLUMN]
            table = next(read_row_groups(file_path, file, columns, only=group))
            ids = normalise_item_ids(table[ITEM_COLUMN], file=file_path)
            keep = np.flatnonzero(np.isin(hash_values(ids), hashes))
            table, ids = table.take(pa.array(keep)), ids.take(pa.array(keep))
            vectors.append(np.zeros((len(keep), dimension), np.float32))
            copy_vectors(table[VECTOR_COLUMN].combine_chunks(), ids, file_path, vectors[-1])
            found.append(hash_values(ids))
        return np.concatenate(found), np.concatenate(vectors)


def read_notes(path: str) -> EmbeddingNotes:
    """Returns the notes in the first file of a table; empty if it has none.

    Raises:
        InputError: There is no such file, or it cannot be read.
    """
    with open_parquet(find_files(path).files[0].path) as file:
        text = (file.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}")
    with translating_read_errors(path):
        values = json.loads(text)
    return EmbeddingNotes.from_dict(values.get("notes") if isinstance(values, dict) else None)


def vector_bytes(path: str) -> int:
    """Returns how many bytes the vectors of a table take in memory, according to the footers of its files.

    Raises:
        InputError: There is no such file, or a file cannot be read.
        ArtifactError: The columns break the contract.
    """
    with _open_files(path) as files:
        return common_dimension(path, files) * sum(file.metadata.num_rows for _, file in files) * 4
