"""Finds which files hold the current version of a table of Delta Lake, Apache Iceberg or Spark's streaming sink.

You need this because the folder of such a table also holds files with deleted and with replaced rows: only its log
tells which files count. What a log says that a list of files cannot say is refused: rows that are marked as deleted,
columns that are stored under other names, and the tables of Apache Hudi.
"""

import importlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from ...models.core.errors import IadsrError, InputError
from ...models.core.file_urls import to_path
from .listing import Listing, probe
from .local_copy import local_copy
from .partitions import Partitions, folder_partitions, partition_schema
from .storage import first_line, is_local, read_bytes

Format = Literal["Delta Lake", "Apache Iceberg", "Apache Hudi", "Spark streaming sink"]

MAX_SINK_BYTES = 256 << 20
"""Size of the log of a streaming sink that is still read. It holds one line for each file."""

_MARKERS: dict[Format, str] = {
    "Delta Lake": "_delta_log/*",
    "Apache Hudi": ".hoodie/*",
    "Spark streaming sink": "_spark_metadata/*",
    "Apache Iceberg": "metadata/*.metadata.json",
}
"""What lies in the folder of a table, and in no other. If a folder has several, the first counts."""

# Features that a reader must know, and that change neither which rows nor which values a file holds. Of deletion
# vectors and column mapping, a table may allow the use without using them.
_HARMLESS = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "deletionVectors", "columnMapping"}


@dataclass(frozen=True)
class TableVersion:
    """A table in the input, and which version of it was read."""

    path: str
    """Its folder."""
    format: str
    """What keeps it, such as Delta Lake."""
    version: str
    """Its version, as the format counts."""


class Snapshot(NamedTuple):
    """The current version of a table."""

    table: TableVersion
    """Which version of which table."""
    files: dict[str, Partitions]
    """The paths of its files, each with the values that do not stand in it."""
    schema: pa.Schema
    """Names and types of the columns that do not stand in the files."""


def find_tables(listing: Listing) -> dict[str, Format]:
    """Returns the folders of tables in what is listed, and of the table that it is a part of, with their formats."""
    marked = {name for name in listing.hidden if os.path.basename(name) in ("_delta_log", ".hoodie", "_spark_metadata")}
    found: dict[str, set[str]] = {}
    for name in marked:
        found.setdefault(_parent(name), set()).add(f"{os.path.basename(name)}/*")
    for name in listing.hidden:
        if os.path.basename(name) == ".hoodie_partition_metadata":
            found.setdefault(_parent(name), set()).add(_MARKERS["Apache Hudi"])
    for file in listing.files:
        if (table := iceberg_table(file.path)) is not None:
            found.setdefault(table, set()).add(_MARKERS["Apache Iceberg"])
    for place in _places(listing):
        for marker in _MARKERS.values():
            if probe(place, marker):
                found.setdefault(place, set()).add(marker)
                break
    return {
        root: next(name for name, marker in _MARKERS.items() if marker in markers)
        for root, markers in sorted(found.items())
    }


def _places(listing: Listing) -> list[str]:
    """Returns the folders that may be those of tables and whose content is not listed."""
    places = []
    if not listing.is_directory:
        folders = {_parent(file.path) for file in listing.files}
        while folders:
            places += [folder for folder in folders if "=" not in os.path.basename(folder)]
            folders = {_parent(folder) for folder in folders if len(folder) > len(listing.folder)}
    place = listing.folder
    while "=" in os.path.basename(place) or os.path.basename(place) in ("data", "metadata"):
        place = _parent(place)
        places.append(place)
    return sorted({*places})


def _parent(path: str) -> str:
    return path.rstrip("/").rpartition("/")[0] or "/" * path.startswith("/")


def iceberg_table(path: str) -> str | None:
    """Returns the folder of the table if a path is that of a metadata file of Apache Iceberg, else None."""
    is_metadata = path.endswith(".metadata.json") and os.path.basename(_parent(path)) == "metadata"
    return _parent(_parent(path)) if is_metadata else None


def read_snapshot(root: str, format: Format, known: frozenset[str], metadata: str | None = None) -> Snapshot:
    """Reads the log of a table.

    Args:
        root: The folder of the table.
        format: Its format.
        known: The paths of all files that are listed.
        metadata: The metadata file of the version to read, for Apache Iceberg. None: that of the current version.

    Raises:
        InputError: The format cannot be read, the library that reads it is not installed, the log is damaged, or the
            table uses what a list of files cannot say.
    """
    if format == "Apache Hudi":
        raise InputError(
            f"{root or '.'} is a table of Apache Hudi, which iadsr does not read",
            code="TABLE-HUDI",
            found=".hoodie, the timeline of the table: its files also hold rows that were replaced or deleted",
            expected="a folder of Parquet files, or a table of Delta Lake or Apache Iceberg",
            fix="write the current rows as plain Parquet, for example in Spark with "
            "spark.read.format('hudi').load(...).write.parquet(...)",
        )
    try:
        if format == "Delta Lake":
            return _read_delta(root)
        return _read_iceberg(root, metadata) if format == "Apache Iceberg" else _read_sink(root, known)
    except IadsrError:
        raise
    # The log may hold anything, and each library has errors of its own.
    except Exception as error:
        raise InputError(
            f"The log of the {format} table {root or '.'} cannot be read",
            code="TABLE-LOG",
            found=first_line(error),
            expected="a complete table",
            fix="check the table with the engine that wrote it, or write its rows as plain Parquet",
        ) from error


def _library(name: str, extra: str, root: str, format: Format) -> Any:
    """Imports a library that iadsr needs for one format only."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{root or '.'} is a table of {format}, and the library that reads it is not installed",
            code="TABLE-EXTRA",
            found=first_line(error),
            expected=f"the extra {extra!r}; a list of the files would bring back deleted and replaced rows",
            fix=f"in a checkout of iadsr, pip install -c constraints.txt '.[{extra}]'",
        ) from error


def _refuse(root: str, format: Format, found: str, fix: str) -> InputError:
    return InputError(
        f"The {format} table {root or '.'} cannot be read as a list of Parquet files",
        code="TABLE-FEATURE",
        found=found,
        expected="a table whose files hold exactly the rows and columns of its current version",
        fix=fix,
    )


def _read_delta(root: str) -> Snapshot:
    library = _library("deltalake", "delta", root, "Delta Lake")
    with _delta_folder(root) as folder:
        table = library.DeltaTable(folder)
        _check_delta(root, table)
        actions = pa.table(table.get_add_actions(flatten=True))
        names = table.metadata().partition_columns
        version = table.version()
    columns = [actions[f"partition.{name}"] for name in names]
    texts = [column.cast(pa.string()).to_pylist() for column in columns]
    paths = [_delta_path(root, path) for path in actions["path"].to_pylist()]
    values = [tuple(zip(names, row, strict=True)) for row in zip(*texts, strict=True)] or [()] * len(paths)
    schema = pa.schema([pa.field(name, column.type) for name, column in zip(names, columns, strict=True)])
    return Snapshot(TableVersion(root, "Delta Lake", str(version)), dict(zip(paths, values, strict=True)), schema)


def _delta_path(root: str, path: str) -> str:
    """Returns where a file of a log lies. Paths in the log are those of URLs: `%25` stands for `%`."""
    return to_path(unquote(path)) if re.match(r"[a-z0-9]+:/", path) else os.path.join(root, unquote(path))


@contextmanager
def _delta_folder(root: str) -> Iterator[str]:
    """Gives a folder of this machine that holds the log of a Delta table."""
    if is_local(root) and "%" not in os.path.abspath(root):  # the library takes %20 for a space
        yield os.path.abspath(root)
        return
    # The library has file systems of its own, which would need credentials of their own.
    with TemporaryDirectory(prefix="iadsr-", ignore_cleanup_errors=True) as folder:
        with local_copy(os.path.join(root, "_delta_log")) as log:
            shutil.copytree(log, os.path.join(folder, "_delta_log"))
        yield folder


def _check_delta(root: str, table: Any) -> None:
    protocol, settings = table.protocol(), table.metadata().configuration
    unknown = sorted({*(protocol.reader_features or ())} - _HARMLESS)
    if protocol.min_reader_version > 3 or unknown:
        raise _refuse(
            root,
            "Delta Lake",
            f"reader version {protocol.min_reader_version}, {', '.join(unknown) or 'unknown features'}",
            "write its rows as plain Parquet with the engine that wrote the table",
        )
    if settings.get("delta.columnMapping.mode", "none") != "none":
        raise _refuse(
            root,
            "Delta Lake",
            "column mapping: the columns have other names in the files than in the table",
            "write its rows as plain Parquet, for example in Spark with spark.table(...).write.parquet(...)",
        )
    if "deletionVectors" in (protocol.reader_features or ()) and _has_deletion_vectors(table):
        raise _refuse(
            root,
            "Delta Lake",
            "deletion vectors: rows that are still in the files but deleted",
            "run REORG TABLE ... APPLY (PURGE), which writes the files without these rows",
        )


def _has_deletion_vectors(table: Any) -> bool:
    try:
        return any(len(batch) for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()))
    # One that cannot be read is one that is there. The library has errors of its own.
    except Exception:
        return True


def _read_iceberg(root: str, metadata: str | None) -> Snapshot:
    library = _library("pyiceberg.table", "iceberg", root, "Apache Iceberg")
    metadata = metadata or _newest_metadata(root)
    table = library.StaticTable.from_metadata(os.path.abspath(metadata) if is_local(metadata) else metadata)
    snapshot = table.current_snapshot()
    if snapshot is None:
        return Snapshot(TableVersion(root, "Apache Iceberg", "without a snapshot"), {}, pa.schema([]))
    _check_iceberg_columns(root, table)
    to_arrow = importlib.import_module("pyiceberg.io.pyarrow").schema_to_pyarrow
    schema, specs = table.schema(), table.specs()
    files: dict[str, Partitions] = {}
    for task in table.scan().plan_files():
        if task.delete_files:
            raise _refuse(
                root,
                "Apache Iceberg",
                "delete files: rows that are still in the data files but deleted",
                "rewrite the data files, for example in Spark with CALL system.rewrite_data_files(..., "
                "options => map('delete-file-threshold', '1'))",
            )
        if task.file.file_format.name != "PARQUET":
            raise _refuse(
                root, "Apache Iceberg", f"files of {task.file.file_format.name}", "write the table as Parquet"
            )
        values = []
        for number, field in enumerate(specs[task.file.spec_id].fields):
            # Files that were added to a table, not written by it, may lack the columns of their folders' names.
            if str(field.transform) == "identity":
                value, column = task.file.partition[number], schema.find_field(field.source_id)
                text = None if value is None else field.transform.to_human_string(column.field_type, value)
                values.append((schema.find_column_name(field.source_id), text))
        files[_where(root, task.file.file_path, table.location())] = tuple(values)
    names = dict.fromkeys(name for values in files.values() for name, _ in values)
    types = to_arrow(schema, include_field_ids=False)
    return Snapshot(
        TableVersion(root, "Apache Iceberg", str(snapshot.snapshot_id)),
        files,
        pa.schema([pa.field(name, types.field(name).type) for name in names]),
    )


def _newest_metadata(root: str) -> str:
    """Returns the metadata file of the current version, as far as a folder can tell it."""
    hints = probe(root, "metadata/version-hint.text")
    there = probe(root, _MARKERS["Apache Iceberg"])
    if hints:
        hint = read_bytes(hints[0]).decode().strip()
        named = [path for path in there if os.path.basename(path) in (hint, f"v{hint}.metadata.json")]
    else:
        numbers = {path: re.match(r"v?(\d+)", os.path.basename(path)) for path in there}
        versions = {path: int(match[1]) for path, match in numbers.items() if match}
        named = [path for path, version in versions.items() if version == max(versions.values())]
    if len(named) != 1:
        raise _refuse(
            root,
            "Apache Iceberg",
            f"{len(named)} metadata files that may be the current one, of {len(there)}",
            "give the path of the right .metadata.json file, which the catalogue of the table knows",
        )
    return named[0]


def _check_iceberg_columns(root: str, table: Any) -> None:
    """Refuses columns that some files may hold under another name, that are gone, or whose default is in no file."""
    current = {id: table.schema().find_column_name(id) for id in table.schema().field_ids}
    for schema in table.schemas().values():
        for id in schema.field_ids:
            if current.get(id) != schema.find_column_name(id):
                raise _refuse(
                    root,
                    "Apache Iceberg",
                    f"the column {schema.find_column_name(id)!r} was renamed or dropped, and older files may still "
                    "hold it as it was",
                    "write its rows as plain Parquet, for example in Spark with spark.table(...).write.parquet(...)",
                )
    if any(table.schema().find_field(id).initial_default is not None for id in current):
        raise _refuse(
            root,
            "Apache Iceberg",
            "a column with a default value that older files do not hold",
            "write its rows as plain Parquet, for example in Spark with spark.table(...).write.parquet(...)",
        )


def _where(root: str, path: str, location: str) -> str:
    """Returns where a file lies that a log names by its whole path. The table may have another name there."""
    path, location = to_path(path), to_path(location).rstrip("/")
    return os.path.join(root, path[len(location) + 1 :]) if path.startswith(f"{location}/") else path


def _read_sink(root: str, known: frozenset[str]) -> Snapshot:
    """Reads the log of Spark's streaming file sink: a file for each batch, `9.compact` for all batches up to it."""
    listed = [path for path in probe(root, "_spark_metadata/*") if not os.path.basename(path).startswith(".")]
    by_name = {os.path.basename(path): path for path in listed}
    batches = {int(name): path for name, path in by_name.items() if name.isdigit()}
    compact = {int(name.split(".")[0]): path for name, path in by_name.items() if re.fullmatch(r"\d+\.compact", name)}
    last, start = max(batches | compact), max(compact, default=-1)
    missing = [batch for batch in range(start + 1, last + 1) if batch not in batches]
    if missing:
        raise ValueError(f"batch {missing[0]} of {last} is missing")
    files: dict[str, Partitions] = {}
    size = 0
    for path in ([compact[start]] if compact else []) + [batches[batch] for batch in range(start + 1, last + 1)]:
        content = read_bytes(path)
        size += len(content)
        if size > MAX_SINK_BYTES:
            raise _refuse(
                root,
                "Spark streaming sink",
                f"a log of more than {MAX_SINK_BYTES >> 20} MiB",
                "write its rows as plain Parquet, in Spark with spark.read.parquet(...).write.parquet(...)",
            )
        version, *lines = content.decode().splitlines()
        if version != "v1":
            raise ValueError(f"a log of version {version[:20]!r}")
        for entry in map(json.loads, filter(None, lines)):
            place = _matching(root, unquote(entry["path"]), known)
            if entry.get("action", "add") == "delete":
                files.pop(place, None)
            else:
                files[place] = folder_partitions(place, root)
    return Snapshot(
        TableVersion(root, "Spark streaming sink", f"batch {last}"), files, partition_schema(files.values())
    )


def _matching(root: str, path: str, known: frozenset[str]) -> str:
    """Returns the listed file whose path ends like the one in the log: the folder may have been moved since."""
    parts = path.split("/")
    ends = (os.path.join(root, "/".join(parts[start:])) for start in range(len(parts)))
    return next((end for end in ends if end in known), path)
