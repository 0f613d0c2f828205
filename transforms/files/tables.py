"""Tables in files: Parquet for results, Arrow IPC for what a run reads back itself."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError

from ...models.core.errors import InputError
from .storage import first_line, is_local, open_binary, read_bytes, translating_read_errors, write_atomically


@dataclass(frozen=True)
class WrittenFile:
    """One file of a result, as the manifest lists it and `iadsr verify` checks it."""

    path: str
    """Path or URL; in a manifest, what is below the output directory."""
    rows: int
    """Rows."""
    size: int
    """Bytes."""
    sha256: str
    """Of its content, in hex."""


@contextmanager
def open_parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file on any file system, for as long as the block runs.

    Raises:
        InputError: The file is missing, empty, truncated, encrypted, or not Parquet.
    """
    with ExitStack() as stack:
        yield _open_parquet(path, stack)


def _open_parquet(path: str, stack: ExitStack) -> pq.ParquetFile:
    try:
        if is_local(path) and os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("a directory, a pipe or a device")  # to open a pipe would wait for ever
        source = path if is_local(path) else stack.enter_context(_closing(open_binary(path)))
        parquet = stack.enter_context(pq.ParquetFile(source, page_checksum_verification=True))
        # Decoded here, where a name or a time zone that is not UTF-8 is still the file's fault.
        _ = [(field.name, getattr(field.type, "tz", None)) for field in parquet.schema_arrow]
        footer = parquet.metadata
        groups = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
        if sum(groups) != footer.num_rows or min(groups, default=0) < 0:
            raise ValueError(f"{footer.num_rows:,} rows by the footer, {sum(groups):,} in its row groups")
        return parquet
    # The file is anybody's: what its parser raises cannot be listed.
    except Exception as error:
        raise InputError(
            f"Cannot read {path}",
            code="FILE-READ",
            found=first_line(error),
            expected="a complete Parquet file",
            fix="write the file again, or leave it out of the input",
        ) from error


@contextmanager
def _closing(file: BinaryIO) -> Iterator[BinaryIO]:
    """Closes a file that was read, which Arrow does not do; that this fails takes nothing from what was read."""
    try:
        yield file
    finally:
        with suppress(OSError, BeamIOError):
            file.close()


def write_table(path: str, table: pa.Table, *, varied: tuple[str, ...] = ()) -> WrittenFile:
    """Writes one Parquet file atomically and durably (zstd; equal tables give equal bytes).

    Args:
        path: The file.
        table: Its content.
        varied: Columns whose values seldom come twice: a dictionary of them would be built only to be thrown away.
    """
    leaves = [(field.name, leaf) for field in table.schema for leaf in _leaves(field.type, field.name)]
    settings: dict[str, Any] = {
        "compression": "zstd",
        "use_dictionary": [leaf for name, leaf in leaves if name not in varied],
        # Readers skip row groups by them, which nobody can by the least of all lists' elements.
        "write_statistics": [leaf for name, leaf in leaves if leaf == name],
    }
    sink = _Hashed()

    def write(file: BinaryIO) -> None:
        sink.file = file
        pq.write_table(table, sink, **settings)

    write_atomically(path, write, durable=True)
    return WrittenFile(path, len(table), sink.size, sink.digest.hexdigest())


def _leaves(data_type: pa.DataType, path: str) -> Iterator[str]:
    """Yields the paths by which Parquet knows the values of a column: more than one where it is nested."""
    if pa.types.is_struct(data_type):
        for field in data_type.fields:
            yield from _leaves(field.type, f"{path}.{field.name}")
    elif pa.types.is_map(data_type):
        yield from _leaves(data_type.key_type, f"{path}.key_value.key")
        yield from _leaves(data_type.item_type, f"{path}.key_value.value")
    elif pa.types.is_nested(data_type) and not pa.types.is_union(data_type):
        yield from _leaves(data_type.value_type, f"{path}.list.element")
    else:
        yield path


class _Hashed(io.RawIOBase):
    """Passes on what is written, and hashes it on the way."""

    file: BinaryIO

    def __init__(self):
        self.size, self.digest = 0, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.file.write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)


def describe_file(path: str) -> WrittenFile:
    """Returns what `write_table` returned for a Parquet file when it was written.

    Raises:
        InputError: It cannot be read.
    """
    with open_parquet(path) as parquet:
        rows = parquet.metadata.num_rows
    size, digest = 0, hashlib.sha256()
    with translating_read_errors(path), open_binary(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return WrittenFile(path, rows, size, digest.hexdigest())


def write_arrow(path: str, table: pa.Table) -> None:
    """Writes one Arrow IPC file atomically, to be read back by this run."""

    def write(file: BinaryIO) -> None:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    write_atomically(path, write)


def read_arrow(path: str) -> pa.Table:
    """Reads what `write_arrow` wrote.

    Raises:
        InputError: It cannot be read.
    """
    with translating_read_errors(path):
        source = pa.memory_map(path) if is_local(path) else pa.py_buffer(read_bytes(path))
        return pa.ipc.open_file(source).read_all()
