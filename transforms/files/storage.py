"""Files on any file system that Beam knows: list, read, delete them, write them whole or not at all."""

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import BinaryIO

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from ...models.core.errors import InputError

TEMPORARY_PREFIX = ".tmp-"


@dataclass(frozen=True)
class FileInfo:
    """One file found by `finding.match_files`."""

    path: str
    """Path or URL, as the file system spells it."""
    size: int
    """Bytes."""
    updated: float = 0.0
    """Time of the last change, seconds since 1970; 0 where the file system does not tell."""


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that `write_atomically` had not finished."""
    return name.rpartition("/")[2].startswith(TEMPORARY_PREFIX)


def is_local(path: str) -> bool:
    """Whether `path` names a file of this machine rather than a URL such as gs://bucket/log."""
    return FileSystems.get_scheme(path) is None


def join(directory: str, *names: str) -> str:
    """Joins path parts the way the directory's file system does."""
    return FileSystems.join(directory, *names)


def without_trailing_slashes(directory: str) -> str:
    """Spells a directory as it begins the paths of its files, whether or not the user ended it with slashes."""
    stripped = directory.rstrip("/")
    return directory if not stripped or stripped.endswith(":") else stripped  # the root, or a scheme alone


def open_binary(path: str) -> BinaryIO:
    """Opens a file for reading as it is, whatever its name says about compression."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def read_bytes(path: str) -> bytes:
    """Returns the whole content of a file.

    Raises:
        InputError: It cannot be read.
    """
    with translating_read_errors(path), open_binary(path) as file:
        return file.read()


def read_range(path: str, offset: int, length: int) -> pa.Buffer:
    """Returns some bytes of a file; of a local one without copying them.

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
    """Turns what a file system raises while the block reads a file into an error of ours."""
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
    """Writes a file that appears under `path` only when it is complete, replacing an older one.

    Args:
        path: The final name.
        write: Called once with a binary file to write into.
        durable: On a local disk, wait until the file would survive a power cut. For results; not for what a run may
            throw away.

    Raises:
        InputError: The place cannot be written to.
    """
    directory, name = FileSystems.split(path)
    temporary = FileSystems.join(directory, f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}-{name}")
    try:
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            write(file)
            if durable and is_local(path):
                file.flush()
                os.fsync(file.fileno())
        _replace(temporary, path)
        if durable and is_local(path):
            _sync_directory(directory)
    except BaseException as error:
        # The file system that fails to write may fail to delete as well; what failed first is what the user must know.
        with suppress(InputError):
            delete(temporary)
        if not isinstance(error, (OSError, BeamIOError, pa.ArrowException)):
            raise
        raise InputError(
            f"Cannot write {path}",
            code="FILE-WRITE",
            found=first_line(error),
            fix="check that the directory may be written to and that the disk has room",
        ) from error


def _replace(temporary: str, path: str) -> None:
    try:
        FileSystems.rename([temporary], [path])
    except BeamIOError:
        with suppress(InputError):  # what failed first is what the user must know
            if exists(temporary) and exists(path):
                # HDFS, unlike the others, does not rename onto a file that is there.
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


def exists(path: str) -> bool:
    """Whether a file or directory of that name exists.

    Raises:
        InputError: The file system does not say: to take that for "no" would pass over what is there.
    """
    with _translating_stat_errors(path):
        return _stat(path) is not None if is_local(path) else FileSystems.exists(path)


def is_unchanged(info: FileInfo) -> bool:
    """Whether a file is there, with the size and time of change that it had when it was listed.

    Raises:
        InputError: The file system does not say.
    """
    with _translating_stat_errors(info.path):
        if is_local(info.path):
            now = _stat(info.path)
            return now is not None and (now.st_size, now.st_mtime) == (info.size, info.updated)
        now = FileSystems.match([literal(info.path)])[0].metadata_list
    return any((m.path, m.size_in_bytes, m.last_updated_in_seconds or 0.0) == astuple(info) for m in now)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextmanager
def _translating_stat_errors(path: str) -> Iterator[None]:
    """Turns what a file system raises while the block asks it about a file into an error of ours."""
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
    """Deletes files or directories; those that do not exist are passed over.

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
        # Object stores know no directories: what lies under a name goes file by file.
        inside = [join(path, name) for name in list_names(path)]
        if inside or exists(path):
            FileSystems.delete(inside or [path])
    # Not by Beam, which would take the path for a glob.
    elif os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def list_names(directory: str) -> list[str]:
    """Returns the paths of all files under `directory`, relative to it, sorted; empty when there is none.

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
        # Some file systems fail where there is no such directory. To take any failure for that would make a finished
        # run look like an empty directory.
        if not isinstance(error, ValueError) and _is_known_to_be_missing(root):
            return []
        raise cannot_list(directory, error) from error
    return sorted(match.path[len(root) + 1 :] for match in matches if match.path.startswith(f"{root}/"))


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _is_known_to_be_missing(path: str) -> bool:
    try:
        # On an object store no directory exists, whatever lies under its name.
        return FileSystems.get_filesystem(path).has_dirs() and not FileSystems.exists(path)
    except (OSError, BeamIOError, ValueError):
        return False


def literal(path: str) -> str:
    """A pattern for a path that may hold the characters of a glob; it may match more, to be sifted by the caller."""
    return re.sub(r"[*?[\]]", "?", path)


def cannot_list(path: str, error: BaseException) -> InputError:
    """The error for a path whose files cannot be listed."""
    return InputError(
        f"Cannot list {path}",
        code="FILE-LIST",
        found=first_line(error),
        fix="check the path; for a cloud path, install the Beam extra of that cloud (such as apache-beam[gcp])",
    )


def first_line(error: BaseException) -> str:
    """One line of the root cause: Beam wraps the real error in a dict of path to exception."""
    details = getattr(error, "exception_details", None)
    cause = next(iter(details.values())) if isinstance(details, dict) and details else error
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else ''}"
