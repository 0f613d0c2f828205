"""Finds the files of a path: a file, a directory or a glob, on every file system that Beam knows."""

import os
import re
import sys
from collections.abc import Iterator

from apache_beam.io.filesystem import BeamIOError, FileSystem
from apache_beam.io.filesystems import FileSystems

from ...models.core.errors import InputError
from .storage import FileInfo, cannot_list, is_local, literal, open_binary


def match_files(path: str, *, suffix: str = ".parquet") -> list[FileInfo]:
    """Returns the files of `path` (a file, a directory or a glob), sorted by path.

    A directory means all files below it that end with `suffix`. Names that start with a dot or an underscore are
    ignored at any depth: they are temporary files and markers of other engines. A glob ignores them after its first
    wildcard. Links on this machine are followed. A file is listed once, however many links lead to it.

    Raises:
        InputError: Nothing matches, or the file system does not answer.
    """
    try:
        if not path:
            raise ValueError("the path is empty")
        is_glob = any(c in path for c in "*?[") and not FileSystems.exists(path)
        spelled = re.split(r"[*?[]", path)[0] if is_glob else path.rstrip("/")
        find = _find_here if is_local(path) else _find_remotely
        if found := find(path, is_glob, suffix, spelled):
            return sorted(found, key=lambda file: file.path)
    except (OSError, BeamIOError, ValueError, re.error) as error:
        raise cannot_list(path, error) from error
    raise InputError(
        f"No file found at {path}",
        code="FILE-NONE",
        expected=f"a Parquet file, a directory that holds *{suffix} files, or a glob",
        fix="check the spelling, and quote a glob so that the shell does not expand it",
    )


def _find_here(path: str, is_glob: bool, suffix: str, spelled: str) -> list[FileInfo]:
    """Finds files on this machine. Beam is not used: it ignores links and folders that it may not read."""
    if not is_glob and not os.path.isdir(path):
        return [_describe(spelled)] if os.path.exists(spelled) else []
    folder = os.path.dirname(spelled) if is_glob else spelled or path
    pattern = path + "*" * path.endswith("/")  # as Beam does
    matches = re.compile(FileSystem.translate_pattern(pattern)).match if is_glob else lambda name: name.endswith(suffix)
    deepest = path.count("/") if is_glob and "**" not in path else sys.maxsize
    names: dict[str, tuple[bool, str]] = {}
    for name in _walk(folder, spelled, deepest):
        if matches(name):
            real = os.path.realpath(name)
            is_link = real != os.path.join(os.path.realpath(folder), os.path.relpath(name, folder or "."))
            names[real] = min(names.get(real, (True, name)), (is_link, name))  # a name that is no link, if there is one
    return [_describe(name) for _, name in names.values()]


def _walk(folder: str, spelled: str, deepest: int) -> Iterator[str]:
    """Yields the paths of all files below a folder. Links are followed, but not back to a folder that holds them.

    Args:
        folder: Where to begin.
        spelled: The part of the path that the user wrote out, for `_is_hidden`.
        deepest: The largest number of slashes in a path that can match.
    """
    pending = [(folder, frozenset[str]())]
    while pending:
        folder, above = pending.pop()
        real = os.path.realpath(folder)
        if real in above:
            continue
        for name in os.listdir(real) if os.path.isdir(real) else ():
            path = os.path.join(folder, name)
            if _is_hidden(path, spelled):
                continue
            if os.path.islink(path):
                os.stat(path)  # fails if the target is missing, for example a folder that is not mounted
            if not os.path.isdir(path):
                yield path
            elif path.count("/") < deepest:
                pending.append((path, above | {real}))


def _describe(path: str) -> FileInfo:
    status = os.stat(path)
    return FileInfo(path, status.st_size, status.st_mtime)


def _find_remotely(path: str, is_glob: bool, suffix: str, spelled: str) -> list[FileInfo]:
    root = path.rstrip("/")
    for pattern in [path] if is_glob else [f"{literal(root)}/**{suffix}", literal(path)]:
        found = [
            FileInfo(match.path, match.size_in_bytes, match.last_updated_in_seconds or 0.0)
            for match in FileSystems.match([pattern])[0].metadata_list
            if (is_glob or match.path.startswith(root)) and not _is_hidden(match.path, spelled)
        ]
        if found and not (len(found) == 1 and found[0].path.rstrip("/") == root and _is_directory(root)):
            return found
    return []


def _is_directory(path: str) -> bool:
    try:
        with open_binary(path):
            return False
    except (OSError, BeamIOError):
        return True


def _is_hidden(path: str, spelled: str) -> bool:
    """Returns whether a name in a path starts with a dot or an underscore, after the part that the user wrote out."""
    start = len(spelled) if path.startswith(spelled) else path.rfind("/") + 1
    return re.compile(r"(?<![^/])[._]").search(path, start) is not None
