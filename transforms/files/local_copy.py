"""Copies remote directories to this machine: for one block, or once for all processes of the machine."""

import atexit
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ...models.core.errors import ArtifactError
from .storage import is_local, join, list_below, list_names, open_binary, translating_read_errors
from .store import BLOCK_BYTES, FileInfo

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

_held: dict[str, int] = {}
"""Shared copies that this process uses, with the handle that locks each. A handle is closed when the process ends."""


@contextmanager
def local_copy(directory: str) -> Iterator[str]:
    """Gives a directory of this machine with the same files: itself, or a copy that is deleted after the block.

    Raises:
        InputError: There is no such file system, or a file cannot be read.
        ArtifactError: The name of a file would lead out of the copy.
    """
    if is_local(directory):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="iadsr-", ignore_cleanup_errors=True) as target:
        _copy(directory, list_names(directory), target)
        yield target


@contextmanager
def shared_copy(directory: str) -> Iterator[str]:
    """Gives a directory of this machine with the same files: itself, or one copy for all processes of the machine.

    The first process makes the copy and the others wait for it. A copy is known by the path and by the sizes and times
    of change of its files, so it is never used after the directory has changed. It is deleted when no process uses it
    any more. If the file system tells no times, or the machine has no locks, the copy is this process's own, as with
    `local_copy`.

    Raises:
        InputError: There is no such file system, or a file cannot be read.
        ArtifactError: The name of a file would lead out of the copy.
    """
    if is_local(directory):
        yield directory
        return
    files = list_below(directory)
    for file in files:
        _refuse_strange_name(directory, file.path)
    lock = _lock_copies() if files and all(file.updated for file in files) else None
    if lock is None:
        with local_copy(directory) as local:
            yield local
        return
    root, handle = lock
    try:
        copy = _find_or_make(root, directory, files)
    finally:
        os.close(handle)
    yield copy


def _copy(directory: str, names: list[str], target: str) -> None:
    for name in names:
        _refuse_strange_name(directory, name)
        path = os.path.join(target, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        remote = join(directory, name)
        with translating_read_errors(remote), open_binary(remote) as source, open(path, "wb") as sink:
            shutil.copyfileobj(source, sink, BLOCK_BYTES)


def _refuse_strange_name(directory: str, name: str) -> None:
    """Refuses a name that is no path below the directory. Object stores take any name."""
    if {"", ".", ".."} & set(name.split("/")):
        raise ArtifactError(
            f"{directory} holds a file whose name could lead out of the directory",
            code="ARTIFACT-NAME",
            found=name or "an empty name",
            expected="names without empty parts, '.' and '..'",
            fix="delete the file or rename it, or copy the directory again from where it was made",
        )


def _lock_copies(*, wait: bool = True) -> tuple[str, int] | None:
    """Locks the folder of this user's shared copies; returns it with the handle to close, or None if that fails."""
    if fcntl is None:
        return None
    root = os.path.join(tempfile.gettempdir(), f"iadsr-copies-{os.getuid()}")
    with suppress(OSError):
        os.makedirs(root, mode=0o700, exist_ok=True)
        handle = os.open(root, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        status = os.fstat(handle)
        try:
            # Nobody else may be able to put a model in there.
            if status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                _lock(handle, wait=wait)
                return root, handle
        except OSError:
            pass
        os.close(handle)
    return None


def _lock(handle: int, *, shared: bool = False, wait: bool = True) -> None:
    """Locks an open directory until the handle is closed.

    Raises:
        OSError: There are no locks, or another process holds one and this one is not to wait.
    """
    if fcntl is None:
        raise OSError("no locks on this system")
    fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def _find_or_make(root: str, directory: str, files: list[FileInfo]) -> str:
    """Returns the copy of a directory. The folder of all copies must be locked."""
    while True:
        copy = os.path.join(root, hashlib.sha256(repr((directory, files)).encode()).hexdigest()[:32])
        if not _is_complete(copy, files):
            _delete_unused(root)
            with tempfile.TemporaryDirectory(prefix=".tmp-", dir=root, ignore_cleanup_errors=True) as temporary:
                made = os.path.join(temporary, "copy")
                _copy(directory, [file.path for file in files], made)
                now = list_below(directory)
                if now != files:  # somebody has written to it meanwhile
                    files = now
                    continue
                shutil.rmtree(copy, ignore_errors=True)  # an incomplete one
                os.rename(made, copy)
            if copy in _held:
                os.close(_held.pop(copy))
        if copy not in _held:
            handle = os.open(copy, os.O_RDONLY)
            _lock(handle, shared=True)
            _held[copy] = handle
        return copy


def _is_complete(copy: str, files: list[FileInfo]) -> bool:
    """Returns whether a copy is there, and nothing that clears temporary directories has taken a part of it."""
    try:
        return all(os.path.getsize(os.path.join(copy, file.path)) == file.size for file in files)
    except OSError:
        return False


def _delete_unused(root: str) -> None:
    """Deletes the copies that no process uses. The folder of all copies must be locked."""
    for name in os.listdir(root):
        path = os.path.join(root, name)
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                _lock(handle, wait=False)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)


@atexit.register
def _let_go() -> None:
    """Lets go of this process's copies, and deletes those that no other process uses."""
    for handle in _held.values():
        os.close(handle)
    if _held and (lock := _lock_copies(wait=False)):
        root, handle = lock
        _delete_unused(root)
        os.close(handle)
    _held.clear()
