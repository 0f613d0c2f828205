"""Tables in files: Parquet for results, Arrow IPC for files that only the same run reads."""

import gzip
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError

from ...models.core.errors import InputError
from .cloud_stores import store_of
from .storage import first_line, is_local, open_binary, read_buffer, translating_read_errors, write_atomically
from .store import BLOCK_BYTES, FileInfo
from .store_errors import store_error


@dataclass(frozen=True)
class WrittenFile:
    """One file of a result. The manifest lists it and `iadsr verify` checks it."""

    path: str
    """Path or URL. In a manifest, the path below the output directory."""
    rows: int
    """Number of rows."""
    size: int
    """Bytes."""
    sha256: str
    """Hash of the content, in hex."""


@contextmanager
def open_parquet(path: str, *, whole: bool = False) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file on any file system and closes it after the block.

    If its name ends in `.gz`, the whole file may be compressed with gzip. It is unpacked on this machine each time.

    Args:
        path: The file.
        whole: Read all of it at once if it is in a store. That saves requests where most of it is needed.

    Raises:
        InputError: The file is missing, empty, truncated, encrypted, or not Parquet; or the store fails.
    """
    with ExitStack() as stack:
        yield _open_parquet(path, stack, whole=whole)


@contextmanager
def open_footer(info: FileInfo) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file that was listed, for its schema and its footer only.

    Raises:
        InputError: As of `open_parquet`.
    """
    with ExitStack() as stack:
        yield _open_parquet(info.path, stack, size=info.size)


def _open_parquet(path: str, stack: ExitStack, *, whole: bool = False, size: int | None = None) -> pq.ParquetFile:
    try:
        if is_local(path) and os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("a directory, a pipe or a device")  # opening a pipe could block for ever
        footer = None
        if is_gzip_name(path):
            source = stack.enter_context(_unpacked(path))
        elif is_local(path):
            source = path
        elif size is not None:
            source, footer = pa.BufferReader(b""), store_of(path).read_footer(path, size)
        elif whole:
            source = pa.BufferReader(read_buffer(path))
        else:
            source = stack.enter_context(_closing(open_binary(path)))
        # Nanoseconds, Arrow's default for INT96, do not hold the years before 1678 and after 2261.
        parquet = stack.enter_context(
            pq.ParquetFile(
                source,
                metadata=footer,
                page_checksum_verification=True,
                coerce_int96_timestamp_unit="us",
                pre_buffer=not is_local(path),  # a few large requests instead of one for each column
            )
        )
        # A name or a time zone that is not UTF-8 must fail here, where the error names the file.
        _ = [(field.name, getattr(field.type, "tz", None)) for field in parquet.schema_arrow]
        footer = parquet.metadata
        groups = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
        if sum(groups) != footer.num_rows or min(groups, default=0) < 0:
            raise ValueError(f"{footer.num_rows:,} rows by the footer, {sum(groups):,} in its row groups")
        return parquet
    # The parser can raise anything on a file that somebody else wrote.
    except Exception as error:
        if (failure := store_error(path, error)) is not None:
            raise failure from error
        if "encrypt" in str(error) or "decrypt" in str(error):
            raise InputError(
                f"{path} is encrypted",
                code="FILE-ENCRYPTED",
                found=first_line(error),
                expected="a Parquet file that can be read without a key",
                fix="write the file without encryption, or leave it out of the input",
            ) from error
        raise InputError(
            f"Cannot read {path}",
            code="FILE-READ",
            found=first_line(error),
            expected="a complete Parquet file",
            fix="write the file as Parquet, if it is of another format, or leave it out of the input"
            if "magic bytes" in str(error)
            else "write the file again, or leave it out of the input",
        ) from error


def is_gzip_name(path: str) -> bool:
    """Returns whether a file is called like a stream of gzip."""
    return re.search(r"\.gz(ip)?$", path, re.IGNORECASE) is not None


@contextmanager
def _unpacked(path: str) -> Iterator[BinaryIO]:
    """Gives the content of a file that gzip has compressed as a whole, if it has, in a temporary file."""
    with _closing(open_binary(path)) as source, tempfile.TemporaryFile(prefix="iadsr-") as target:
        is_packed = source.read(2) == b"\x1f\x8b"
        source.seek(0)
        shutil.copyfileobj(gzip.GzipFile(fileobj=source) if is_packed else source, target, BLOCK_BYTES)
        target.seek(0)
        yield target


@contextmanager
def _closing(file: BinaryIO) -> Iterator[BinaryIO]:
    """Closes a file after reading, which Arrow does not do. A failure to close does no harm to what was read."""
    try:
        yield file
    finally:
        with suppress(OSError, BeamIOError):
            file.close()


def write_table(path: str, table: pa.Table, *, varied: tuple[str, ...] = ()) -> WrittenFile:
    """Writes one Parquet file atomically and durably. It is compressed by zstd; equal tables give equal bytes.

    Args:
        path: The file.
        table: The content.
        varied: Columns whose values are seldom equal. No dictionary is built for them: Parquet would throw it away.

    Raises:
        InputError: The file cannot be written.
    """
    leaves = [(field.name, leaf) for field in table.schema for leaf in _leaves(field.type, field.name)]
    settings: dict[str, Any] = {
        "compression": "zstd",
        "use_dictionary": [leaf for name, leaf in leaves if name not in varied],
        # Statistics let readers skip row groups. Those of the elements of lists help nobody.
        "write_statistics": [leaf for name, leaf in leaves if leaf == name],
    }
    sink = _Hashed()

    def write(file: BinaryIO) -> None:
        sink.file = file
        pq.write_table(table, sink, **settings)

    write_atomically(path, write, durable=True)
    return WrittenFile(path, len(table), sink.size, sink.digest.hexdigest())


def _leaves(data_type: pa.DataType, path: str) -> Iterator[str]:
    """Yields Parquet's paths of the values of a column. A nested column has more than one."""
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
    """Passes on what is written, and hashes it."""

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
    """Returns the same description of a Parquet file that `write_table` returned when it wrote the file.

    Raises:
        InputError: The file cannot be read.
    """
    with open_parquet(path) as parquet:
        rows = parquet.metadata.num_rows
    size, digest = 0, hashlib.sha256()
    with translating_read_errors(path), open_binary(path) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return WrittenFile(path, rows, size, digest.hexdigest())


def write_arrow(path: str, table: pa.Table) -> None:
    """Writes one Arrow IPC file atomically, for this run to read back.

    Raises:
        InputError: The file cannot be written.
    """

    def write(file: BinaryIO) -> None:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    write_atomically(path, write)


def read_arrow(path: str) -> pa.Table:
    """Reads a file of `write_arrow`.

    Raises:
        InputError: The file cannot be read.
    """
    with translating_read_errors(path):
        return pa.ipc.open_file(read_buffer(path)).read_all()
