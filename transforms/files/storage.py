"""Files on this machine and in every store: list, read, delete, and write them whole or not at all."""

import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from ...models.core.errors import InputError
from .cloud_stores import store_of
from .store import FileInfo
from .store_errors import first_line, store_error
from .temporary import TEMPORARY_PREFIX as TEMPORARY_PREFIX
from .temporary import is_temporary as is_temporary
from .temporary import temporary_name

FAILURES = (OSError, BeamIOError, ValueError, pa.ArrowException)
"""What the client of a file system raises."""


def is_local(path: str) -> bool:
    """Returns whether `path` is on this machine, not a URL such as gs://bucket/log."""
    return FileSystems.get_scheme(path) is None


def join(directory: str, *names: str) -> str:
    """Joins path parts the way the directory's file system does."""
    return os.path.join(directory, *names) if is_local(directory) else "/".join([directory.rstrip("/"), *names])


def split(path: str) -> tuple[str, str]:
    """Returns the directory of a path, and its name in it. That of a path on this machine is a full one."""
    if is_local(path):
        return os.path.split(os.path.abspath(path))
    directory, _, name = path.rpartition("/")
    return directory, name


def without_trailing_slashes(directory: str) -> str:
    """Removes the slashes at the end of a directory, so that it is a prefix of the paths of its files."""
    stripped = directory.rstrip("/")
    is_root_or_scheme = not stripped or stripped.endswith(":")
    return directory if is_root_or_scheme else stripped


def open_binary(path: str) -> BinaryIO:
    """Opens a file for reading. Nothing is decompressed, whatever the name ends with."""
    return open(path, "rb") if is_local(path) else store_of(path).open(path)


def read_bytes(path: str) -> bytes:
    """Returns the whole content of a file.

    Raises:
        InputError: It cannot be read.
    """
    with translating_read_errors(path), open_binary(path) as file:
        return file.read()


def read_buffer(path: str) -> pa.Buffer:
    """Returns the whole content of a file for Arrow to read. That of a local file is not copied.

    Raises:
        InputError: It cannot be read.
    """
    with translating_read_errors(path):
        if is_local(path):
            with pa.memory_map(path) as source:
                return source.read_buffer()
        with open_binary(path) as file:
            opened: Any = file
            return opened.read_buffer() if isinstance(opened, pa.NativeFile) else pa.py_buffer(opened.read())


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
    except FAILURES as error:
        raise store_error(path, error) or InputError(
            f"Cannot read {path}",
            code="FILE-LOAD",
            found=first_line(error),
            fix="check that the file is there and may be read, and run again",
        ) from error


def write_atomically(path: str, write: Callable[[BinaryIO], object], *, durable: bool = False) -> None:
    """Writes a file that appears under `path` only when it is complete. It replaces an older file.

    On this machine it is written under a temporary name, then renamed. For a store, the content is collected in memory
    first: a failure before it is complete sends nothing.

    The folder of the file is made. What lies above it is made for a durable file only. So an attempt that comes too
    late does not bring back the folder of a run that has ended.

    Args:
        path: The final name.
        write: Called once with a binary file to write into.
        durable: On a local disk, wait until the file would survive a power cut. Meant for results, not for files that a
            run may throw away.

    Raises:
        InputError: The file cannot be written there.
    """
    try:
        if is_local(path):
            _write_here(path, write, durable=durable)
            return
        content = io.BytesIO()
        write(content)
    except (OSError, BeamIOError, pa.ArrowException) as error:
        raise _cannot_write(path, error) from error
    try:
        store_of(path).write(path, content.getbuffer())
    except Exception as error:  # the client of each cloud has its own
        raise store_error(path, error) or _cannot_write(path, error) from error


def _cannot_write(path: str, error: BaseException) -> InputError:
    return InputError(
        f"Cannot write {path}",
        code="FILE-WRITE",
        found=first_line(error),
        fix="check that the directory may be written to and that the disk has room",
    )


def _write_here(path: str, write: Callable[[BinaryIO], object], *, durable: bool) -> None:
    directory, name = os.path.split(path)
    if durable:
        os.makedirs(directory or ".", exist_ok=True)
    else:
        with suppress(FileExistsError):
            os.mkdir(directory or ".")
    temporary = os.path.join(directory, temporary_name(name))
    try:
        with open(temporary, "wb") as file:
            write(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            _sync_directory(directory)
    except BaseException:
        with suppress(OSError):  # the user must see the first failure
            os.remove(temporary)
        raise


def make_directory(directory: str) -> None:
    """Makes a directory on this machine, and those above it. A store needs none.

    Raises:
        InputError: It cannot be made.
    """
    if not is_local(directory):
        return
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise _cannot_write(directory, error) from error


def _sync_directory(directory: str) -> None:
    handle = os.open(directory or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def exists(path: str) -> bool:
    """Returns whether there is a file of that name, or a directory on this machine.

    Raises:
        InputError: The file system does not say. To assume "no" would ignore a file that may exist.
    """
    with _translating_stat_errors(path):
        return _stat(path) is not None if is_local(path) else store_of(path).exists(path)


def is_unchanged(info: FileInfo) -> bool:
    """Returns whether a file still has the size and the time of change that it had when it was listed.

    Raises:
        InputError: The file system does not say.
    """
    with _translating_stat_errors(info.path):
        if is_local(info.path):
            now = _stat(info.path)
            return now is not None and (now.st_size, now.st_mtime) == (info.size, info.updated)
        return _same(info, store_of(info.path).find(info.path))


def first_changed(files: Iterable[FileInfo]) -> FileInfo | None:
    """Returns a file that is not as it was when it was listed; None if all are. A store lists each folder once.

    Raises:
        InputError: The file system does not say.
    """
    folders: dict[str, list[FileInfo]] = {}
    for file in files:
        folders.setdefault(split(file.path)[0], []).append(file)
    for folder, inside in folders.items():
        if is_local(folder) or len(inside) == 1:
            changed = next((file for file in inside if not is_unchanged(file)), None)
        else:
            now = {file.path: file for file in list_below(folder)}
            name = len(folder) + 1
            changed = next((file for file in inside if not _same(file, now.get(file.path[name:]))), None)
        if changed is not None:
            return changed
    return None


def _same(then: FileInfo, now: FileInfo | None) -> bool:
    return now is not None and (now.size, now.updated) == (then.size, then.updated)


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
    except FAILURES as error:
        raise store_error(path, error) or InputError(
            f"Cannot find out whether {path} is there and unchanged",
            code="FILE-ASK",
            found=first_line(error),
            fix="check the path, the permissions and the connection, and run again",
        ) from error


def delete(*paths: str) -> None:
    """Deletes files or directories. Those that do not exist are ignored, also if they go meanwhile.

    Raises:
        InputError: One cannot be deleted.
    """
    for path in paths:
        try:
            _delete(path)
        except FAILURES as error:
            raise store_error(path, error) or InputError(
                f"Cannot delete {path}",
                code="FILE-DELETE",
                found=first_line(error),
                fix="check that the directory may be written to, and run again",
            ) from error


def _delete(path: str) -> None:
    if not is_local(path):
        store_of(path).delete(path)
    elif os.path.isdir(path):
        shutil.rmtree(path, onerror=_unless_gone)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.remove(path)


def _unless_gone(function: Callable[..., Any], path: str, failure: tuple[Any, BaseException, Any]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]


def list_below(directory: str) -> list[FileInfo]:
    """Returns all files below a directory of a store, with paths relative to it, sorted; empty if there are none.

    Raises:
        InputError: It cannot be listed.
    """
    root = directory.rstrip("/")
    try:
        found = store_of(root).below(root)
    except FAILURES as error:
        raise cannot_list(directory, error) from error
    files = [file for file in found if not file.path.endswith("/")]  # some stores have objects that stand for folders
    relative = (FileInfo(file.path[len(root) + 1 :], file.size, file.updated) for file in files)
    return sorted(relative, key=lambda file: file.path)


def list_names(directory: str) -> list[str]:
    """Returns the paths of all files below `directory`, relative to it and sorted; empty if there are none.

    Raises:
        InputError: It cannot be listed.
    """
    if directory and not is_local(directory):
        return [file.path for file in list_below(directory)]
    root = directory.rstrip("/")
    try:
        if not directory:
            raise ValueError("the path is empty")
        walk = os.walk(root or directory, onerror=_unless_missing)
        found = [os.path.join(folder, name) for folder, _, names in walk for name in names]
    except (OSError, ValueError) as error:
        raise cannot_list(directory, error) from error
    return sorted(path[len(root) + 1 :] for path in found)


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def cannot_list(path: str, error: BaseException) -> InputError:
    """Returns the error for a path whose files cannot be listed."""
    return store_error(path, error) or InputError(
        f"Cannot list {path}",
        code="FILE-LIST",
        found=first_line(error),
        fix="check the path and its scheme, such as s3://, gs:// or abfs://",
    )
