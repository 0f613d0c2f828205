"""Files on every file system that Beam knows: list, read, delete, and write them whole or not at all."""

import io
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from ...models.core.errors import InputError

TEMPORARY_PREFIX = ".tmp-"
"""Begins the name of a file that `write_atomically` has not finished."""


@dataclass(frozen=True)
class FileInfo:
    """One file found by `listing.list_files`."""

    path: str
    """Path or URL, spelled as the file system does."""
    size: int
    """Bytes."""
    updated: float = 0.0
    """Time of the last change in seconds since 1970, or 0 if the file system does not say."""
    partitions: tuple[tuple[str, str | None], ...] = ()
    """Values of all its rows that do not stand in the file but in the names of its folders, or in the log of its table:
    column and text, None for null."""


def is_temporary(name: str) -> bool:
    """Returns whether `write_atomically` left a file of this name unfinished."""
    return name.rpartition("/")[2].startswith(TEMPORARY_PREFIX)


def is_local(path: str) -> bool:
    """Returns whether `path` is on this machine, not a URL such as gs://bucket/log."""
    return FileSystems.get_scheme(path) is None


def join(directory: str, *names: str) -> str:
    """Joins path parts the way the directory's file system does."""
    return FileSystems.join(directory, *names)


def without_trailing_slashes(directory: str) -> str:
    """Removes the slashes at the end of a directory, so that it is a prefix of the paths of its files."""
    stripped = directory.rstrip("/")
    is_root_or_scheme = not stripped or stripped.endswith(":")
    return directory if is_root_or_scheme else stripped


def open_binary(path: str) -> BinaryIO:
    """Opens a file for reading. Nothing is decompressed, whatever the name ends with."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def read_bytes(path: str) -> bytes:
    """Returns the whole content of a file.

    Raises:
        InputError: It cannot be read.
    """
    with translating_read_errors(path), open_binary(path) as file:
        return file.read()


def read_range(path: str, offset: int, length: int) -> pa.Buffer:
    """Returns `length` bytes of a file from `offset` on. Those of a local file are not copied.

    Raises:
        InputError: It cannot be read.
    """
    with translating_read_errors(path):
        if is_local(path):
            with pa.memory_map(path) as source:
                source.seek(offset)
                return source.read_buffer(length)
        with open_binary(path) as file:
            file.seek(offset)
            return pa.py_buffer(file.read(length))


@contextmanager
def translating_read_errors(path: str) -> Iterator[None]:
    """Raises an error of ours if the file system fails while the block reads a file."""
    try:
        yield
    except (OSError, BeamIOError, ValueError) as error:
        raise InputError(
            f"Cannot read {path}",
            code="FILE-LOAD",
            found=first_line(error),
            fix="check that the file is there and may be read, and run again",
        ) from error


def write_atomically(path: str, write: Callable[[BinaryIO], object], *, durable: bool = False) -> None:
    """Writes a file that appears under `path` only when it is complete. It replaces an older file.

    An object store shows a file when its upload is closed. There the content is collected in memory and uploaded in one
    go. Elsewhere it is written under a temporary name, then renamed.

    Args:
        path: The final name.
        write: Called once with a binary file to write into.
        durable: On a local disk, wait until the file would survive a power cut. Meant for results, not for files that a
            run may throw away.

    Raises:
        InputError: The file cannot be written there.
    """
    try:
        if not FileSystems.get_filesystem(path).has_dirs():
            content = io.BytesIO()
            write(content)
            _upload(path, content)
        else:
            _write_and_rename(path, write, durable=durable and is_local(path))
    except (OSError, BeamIOError, pa.ArrowException) as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: str, error: BaseException) -> InputError:
    return InputError(
        f"Cannot write {path}",
        code="FILE-WRITE",
        found=first_line(error),
        fix="check that the directory may be written to and that the disk has room",
    )


def _write_and_rename(path: str, write: Callable[[BinaryIO], object], *, durable: bool) -> None:
    directory, name = FileSystems.split(path)
    # It ends in another way too: some readers of a folder go by the ends of names alone.
    temporary = FileSystems.join(directory, f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}-{name}.tmp")
    try:
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            write(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        _replace(temporary, path)
        if durable:
            _sync_directory(directory)
    except BaseException:
        with suppress(InputError):  # the user must see the first failure
            delete(temporary)
        raise


def _replace(temporary: str, path: str) -> None:
    try:
        FileSystems.rename([temporary], [path])
    except BeamIOError:
        with suppress(InputError):  # the user must see the first failure
            if exists(temporary) and exists(path):
                # HDFS does not rename onto an existing file.
                delete(path)
                FileSystems.rename([temporary], [path])
                return
        raise


def _sync_directory(directory: str) -> None:
    handle = os.open(directory or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _upload(path: str, content: io.BytesIO) -> None:
    try:
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(content.getbuffer())
    except BaseException as error:
        # Leaving the block closed the upload, which may have published the part that was sent.
        with suppress(Exception):  # the user must see the first failure
            if _holds_only_the_beginning_of(path, content.getvalue()):
                delete(path)
        if isinstance(error, Exception):  # the client of each cloud has its own
            raise _cannot_write(path, error) from error
        raise


def _holds_only_the_beginning_of(path: str, content: bytes) -> bool:
    """Tells what a failed upload left from a complete older file of the same name, which must stay."""
    with open_binary(path) as file:
        found = file.read(len(content))
    return len(found) < len(content) and content.startswith(found)


def exists(path: str) -> bool:
    """Returns whether a file or directory of that name exists.

    Raises:
        InputError: The file system does not say. To assume "no" would ignore a file that may exist.
    """
    with _translating_stat_errors(path):
        return _stat(path) is not None if is_local(path) else FileSystems.exists(path)


def is_unchanged(info: FileInfo) -> bool:
    """Returns whether a file still has the size and the time of change that it had when it was listed.

    Raises:
        InputError: The file system does not say.
    """
    with _translating_stat_errors(info.path):
        if is_local(info.path):
            now = _stat(info.path)
            return now is not None and (now.st_size, now.st_mtime) == (info.size, info.updated)
        now = FileSystems.match([literal(info.path)])[0].metadata_list
    then = (info.path, info.size, info.updated)
    return any((m.path, m.size_in_bytes, m.last_updated_in_seconds or 0.0) == then for m in now)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextmanager
def _translating_stat_errors(path: str) -> Iterator[None]:
    """Raises an error of ours if the file system fails while the block asks about a file."""
    try:
        yield
    except (OSError, BeamIOError, ValueError) as error:
        raise InputError(
            f"Cannot find out whether {path} is there and unchanged",
            code="FILE-ASK",
            found=first_line(error),
            fix="check the path, the permissions and the connection, and run again",
        ) from error


def delete(*paths: str) -> None:
    """Deletes files or directories. Those that do not exist are ignored.

    Raises:
        InputError: One cannot be deleted.
    """
    for path in paths:
        try:
            _delete(path)
        except (OSError, BeamIOError) as error:
            raise InputError(
                f"Cannot delete {path}",
                code="FILE-DELETE",
                found=first_line(error),
                fix="check that the directory may be written to, and run again",
            ) from error


def _delete(path: str) -> None:
    if not is_local(path):
        # Object stores have no directories: the files below a name are deleted one by one.
        inside = [join(path, name) for name in list_names(path)]
        if inside or exists(path):
            FileSystems.delete(inside or [path])
    # Beam would read the path as a glob.
    elif os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def list_names(directory: str) -> list[str]:
    """Returns the paths of all files below `directory`, relative to it and sorted; empty if there are none.

    Raises:
        InputError: It cannot be listed.
    """
    root = directory.rstrip("/")
    try:
        if not directory:
            raise ValueError("the path is empty")
        if is_local(root):
            walk = os.walk(root or directory, onerror=_unless_missing)
            found = [os.path.join(folder, name) for folder, _, names in walk for name in names]
            return sorted(path[len(root) + 1 :] for path in found)
        matches = FileSystems.match([f"{literal(root)}/**"])[0].metadata_list
    except (OSError, BeamIOError, ValueError) as error:
        # Some file systems fail if there is no such directory. Other failures must not look like that: a finished run
        # would pass for an empty directory.
        if not isinstance(error, ValueError) and _is_known_to_be_missing(root):
            return []
        raise cannot_list(directory, error) from error
    return sorted(match.path[len(root) + 1 :] for match in matches if match.path.startswith(f"{root}/"))


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _is_known_to_be_missing(path: str) -> bool:
    try:
        # An object store says that no directory exists, even if there are files below it.
        return FileSystems.get_filesystem(path).has_dirs() and not FileSystems.exists(path)
    except (OSError, BeamIOError, ValueError):
        return False


def literal(path: str) -> str:
    """Returns a glob for a path that may hold the characters of a glob. It may match more: the caller must filter."""
    return re.sub(r"[*?[\]]", "?", path)


def cannot_list(path: str, error: BaseException) -> InputError:
    """Returns the error for a path whose files cannot be listed."""
    return InputError(
        f"Cannot list {path}",
        code="FILE-LIST",
        found=first_line(error),
        fix="check the path; for a cloud path, install the Beam extra of that cloud (such as apache-beam[gcp])",
    )


def first_line(error: BaseException) -> str:
    """Returns one line about the cause. Beam wraps the real error in a dictionary of path to exception."""
    details = getattr(error, "exception_details", None)
    cause = next(iter(details.values())) if isinstance(details, dict) and details else error
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else ''}"
