"""Finds the Parquet files of a path, and names what is left out: no file that lies there is passed over in silence.

You need this before anything is read. A file is Parquet by its first bytes, whatever its name is. Of a table that has a
log (see `table_formats`) the files of its current version count. Columns may stand in the names of folders (see
`partitions`).
"""

import gzip
import os
import re
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import BinaryIO

import pyarrow as pa

from ...models.core.errors import InputError, StoreError
from .listing import Listing, list_files
from .partitions import folder_partitions, partition_schema
from .storage import is_local, open_binary, translating_read_errors
from .store import REQUESTS, FileInfo
from .table_formats import Snapshot, TableVersion, find_tables, iceberg_table, read_snapshot
from .tables import is_gzip_name
from .temporary import TEMPORARY_PREFIX

NOT_PARQUET = "FILE-OTHER"
"""Code of a file that is left out because it is not Parquet."""

HIDDEN = "FILE-HIDDEN"
"""Code of a Parquet file that is left out because of its name."""

_NAMED = 3
"""Files that a message names; it counts the others."""

_PARQUET_NAME = re.compile(r"\.(parquet|parq|pq)$", re.IGNORECASE)

_CONVENTIONAL = re.compile(r"\.crc$|_\$folder\$$|^(desktop\.ini|Thumbs\.db)$")
"""Files that tools leave beside data, and that hold none."""

_FORMATS = {
    b"": "empty",
    b"PAR1": "Parquet",
    b"PARE": "Parquet",  # encrypted
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"ARROW1": "Arrow IPC",
    b"FEA1": "Feather",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"PK": "a ZIP archive",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"SQLite": "SQLite",
}


@dataclass(frozen=True)
class SkippedFile:
    """A file of the input that is left out as a whole."""

    path: str
    """The file."""
    size: int
    """Size in bytes; 0 if it is not known."""
    rows: int | None
    """Rows according to the footer. None if the footer was not or cannot be read."""
    code: str
    """Code of the error that the file would have caused, FILE-OTHER if it is not Parquet, or FILE-HIDDEN if its name
    begins with a dot or an underscore."""
    reason: str
    """What is wrong with the file."""


@dataclass(frozen=True)
class FoundFiles:
    """What of a path is read, and what is not."""

    files: tuple[FileInfo, ...]
    """The files to read, sorted by path."""
    partitions: pa.Schema
    """Columns that do not stand in the files but in the names of folders or in the log of a table."""
    left_out: tuple[SkippedFile, ...] = ()
    """The files that are left out, sorted by path."""
    tables: tuple[TableVersion, ...] = ()
    """The tables whose current version is read."""
    notes: tuple[str, ...] = ()
    """What looks wrong or may surprise but can be read, in sentences for the user."""


def find_files(path: str) -> FoundFiles:
    """Finds the Parquet files of `path`: a file, all of a directory at any depth, or those that match a glob.

    A file that is named by its own path is taken for Parquet: who opens it must find out.

    Raises:
        InputError: Nothing is there, nothing of it is Parquet, the file system does not answer, or a table cannot be
            read.
    """
    listing, metadata = list_files(path), None
    if listing.is_one_file and (root := iceberg_table(listing.files[0].path)) is not None:
        metadata, listing = listing.files[0].path, list_files(root)
    known = frozenset(file.path for file in listing.files)
    tables = [read_snapshot(root, format, known, metadata) for root, format in find_tables(listing).items()]
    files, others = [], []
    for file in listing.files:
        table = _table_of(file.path, tables)
        if table is None:
            others.append(file)
        elif file.path in table.files:
            files.append(replace(file, partitions=table.files[file.path]))
    _check_complete(listing, known, tables)
    data, left_out = (others, []) if listing.is_one_file else _tell_apart(others)
    folders = [replace(file, partitions=folder_partitions(file.path, listing.folder)) for file in data]
    files = sorted([*files, *folders], key=lambda file: file.path)
    left_out = sorted([*left_out, *_hidden_data(listing)], key=lambda file: file.path)
    if not files:
        raise _nothing(path, left_out, tables)
    return FoundFiles(
        tuple(files),
        _unite([table.schema for table in tables] + [partition_schema(file.partitions for file in folders)]),
        tuple(left_out),
        tuple(table.table for table in tables),
        (*map(_describe, tables), *_unfinished(listing)),
    )


def _describe(table: Snapshot) -> str:
    path, format, version = table.table.path, table.table.format, table.table.version
    return f"{path or '.'} is a table of {format}: version {version} is read, and no file of other versions."


def _table_of(path: str, tables: list[Snapshot]) -> Snapshot | None:
    """Returns the innermost table whose folder a file lies in."""
    around = [table for table in tables if not table.table.path or path.startswith(f"{table.table.path}/")]
    return max(around, key=lambda table: len(table.table.path), default=None)


def _check_complete(listing: Listing, known: frozenset[str], tables: list[Snapshot]) -> None:
    """Checks that all files of each table are there, if all of the table is listed."""
    for table in tables:
        root = table.table.path
        covered = listing.is_directory and (root == listing.folder or root.startswith(f"{listing.folder}/"))
        missing = sorted(table.files.keys() - known) if covered else []
        if missing:
            raise InputError(
                f"Files of the {table.table.format} table {root} are missing",
                code="TABLE-FILES",
                found=f"{len(missing):,} of {len(table.files):,} files are not there, such as {missing[0]}",
                expected=f"all files of version {table.table.version}",
                fix="copy the whole table, or write its rows as plain Parquet with the engine that wrote it",
            )


def _tell_apart(files: list[FileInfo]) -> tuple[list[FileInfo], list[SkippedFile]]:
    """Divides files into those that are Parquet and the others. A file with Parquet's name is not opened for this."""
    unsure = [file for file in files if not _PARQUET_NAME.search(file.path)]
    if unsure and not is_local(unsure[0].path):
        with ThreadPoolExecutor(REQUESTS) as pool:
            formats = list(pool.map(_format, unsure))
    else:
        formats = [_format(file) for file in unsure]
    other = {file.path: format for file, format in zip(unsure, formats, strict=True) if format != "Parquet"}
    left_out = [
        SkippedFile(file.path, file.size, None, NOT_PARQUET, f"{file.path} is not a Parquet file: {other[file.path]}")
        for file in files
        if file.path in other and not _CONVENTIONAL.search(os.path.basename(file.path))
    ]
    return [file for file in files if file.path not in other], left_out


def _format(file: FileInfo) -> str:
    """Says what the first bytes of a file show it to be."""
    if is_local(file.path) and not os.path.isfile(file.path):
        return "no regular file"  # opening a pipe could block for ever
    try:
        with translating_read_errors(file.path), open_binary(file.path) as source:
            start = source.read(16) if file.size else b""
            if start.startswith(b"\x1f\x8b"):
                source.seek(0)
                if _unpacked_start(source) != b"PAR1":
                    return "compressed with gzip"
                return "Parquet" if is_gzip_name(file.path) else "Parquet inside of gzip; its name must end in .gz"
    except StoreError:
        raise
    except InputError:
        return "Parquet"  # it may be: who opens it finds the same error
    names = [name for magic, name in _FORMATS.items() if magic and start.startswith(magic)]
    return names[0] if names else _FORMATS[b""] if not start else "text" if start.isascii() else "unknown"


def _unpacked_start(source: BinaryIO) -> bytes:
    try:
        return gzip.GzipFile(fileobj=source).read(4)
    except (OSError, EOFError, zlib.error):
        return b""


def _hidden_data(listing: Listing) -> Iterable[SkippedFile]:
    """Returns the hidden files that are called Parquet. What lies in hidden folders belongs to other programs."""
    for path in listing.hidden:
        name = os.path.basename(path)
        if _PARQUET_NAME.search(name) and not name.startswith(("._", TEMPORARY_PREFIX)):
            reason = f"{path} is hidden: its name begins with {name[0]!r}"
            yield SkippedFile(path, os.path.getsize(path) if is_local(path) else 0, None, HIDDEN, reason)


def _unfinished(listing: Listing) -> Iterable[str]:
    """Says which folders an engine has begun to write and not finished, as far as it left a mark."""
    names: dict[str, set[str]] = {}
    for path in listing.hidden:
        folder, _, name = path.rpartition("/")
        names.setdefault(folder, set()).add(name)
    for folder, there in sorted(names.items()):
        begun = {name.removeprefix("_started_") for name in there if name.startswith("_started_")}
        ended = {name.removeprefix("_committed_") for name in there if name.startswith("_committed_")}
        if ("_temporary" in there or begun - ended) and "_SUCCESS" not in there:
            mark = "_temporary" if "_temporary" in there else f"_started_{min(begun - ended)}"
            yield (
                f"{folder or '.'} holds {mark} and no _SUCCESS: the job that wrote it has not finished, so rows may be "
                "missing or doubled."
            )


def _unite(schemas: list[pa.Schema]) -> pa.Schema:
    """Returns the columns of all schemas. A column that has two types becomes text."""
    types: dict[str, set[pa.DataType]] = {}
    for field in (field for schema in schemas for field in schema):
        types.setdefault(field.name, set()).add(field.type)
    return pa.schema([(name, found.pop() if len(found) == 1 else pa.string()) for name, found in types.items()])


def _nothing(path: str, left_out: list[SkippedFile], tables: list[Snapshot]) -> InputError:
    if tables:
        table = tables[0].table
        return InputError(
            f"{path} holds no file of the version of its table that is read",
            code="TABLE-EMPTY",
            found=f"version {table.version} of the {table.format} table {table.path or '.'}",
            expected="a table with rows",
            fix="give the path of the whole table, and check with its engine whether the version has rows",
        )
    files = "1 file" if len(left_out) == 1 else f"{len(left_out):,} files"
    return InputError(
        f"No Parquet file at {path}",
        code="FILE-FORMAT",
        found=f"{files}: {name_files(left_out)}" if left_out else "nothing but hidden files",
        expected="a Parquet file, a directory that holds some, or a glob",
        fix="write the data as Parquet, or give the path of the folder that holds it",
    )


def name_files(files: Iterable[SkippedFile]) -> str:
    """Returns the names of the first files, each with what is wrong with it in a few words, and counts the others."""
    files = list(files)
    wrong = [file.reason.rpartition(": ")[2] if file.code == NOT_PARQUET else file.code for file in files[:_NAMED]]
    named = [f"{os.path.basename(file.path)} ({what})" for file, what in zip(files, wrong, strict=False)]
    more = [f"and {len(files) - _NAMED:,} more"] if len(files) > _NAMED else []
    return ", ".join([*named, *more])
