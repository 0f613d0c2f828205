"""Lists the files of a path: a file, a directory or a glob, on this machine and in every store."""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from apache_beam.io.filesystem import FileSystem

from ...models.core.errors import InputError
from .cloud_stores import store_of
from .storage import FAILURES, cannot_list, exists, is_local
from .store import FileInfo, literal


@dataclass(frozen=True)
class Listing:
    """What lies at a path."""

    folder: str
    """The folder that was asked for: the directory, that of the file, or that in which the glob begins."""
    files: tuple[FileInfo, ...]
    """The files, sorted by path, without those that are hidden."""
    hidden: tuple[str, ...]
    """Files and folders whose names begin with a dot or an underscore, sorted. What lies in them is not listed."""
    is_one_file: bool = False
    """Whether the path is that of a file."""
    is_directory: bool = False
    """Whether the path is that of a directory: all that it holds is listed."""


def list_files(path: str, expected: str = "a Parquet file, a directory that holds some, or a glob") -> Listing:
    """Lists the files of `path`: a file, all files of a directory at any depth, or those that match a glob.

    Names that start with a dot or an underscore are hidden, at any depth: they are temporary files and markers of other
    engines. A folder like `_day=2026-11-23` is not: it holds the values of a column. What the user wrote out is not
    hidden either: in a glob, only what follows the first wildcard can be. Links on this machine are followed. A file is
    listed once, however many links lead to it.

    Args:
        path: On this machine or in a store.
        expected: What should be there, for the message if nothing is.

    Raises:
        InputError: Nothing is there, or the file system does not answer.
    """
    try:
        if not path:
            raise ValueError("the path is empty")
        is_glob = any(c in path for c in "*?[") and not exists(path)
        listing = _list_here if is_local(path) else _list_remotely
        found = listing(path, is_glob)
        if is_glob and not found.files and not path.endswith("/"):
            found = listing(f"{path}/", is_glob)  # it may match folders alone
    except (*FAILURES, re.error) as error:
        raise cannot_list(path, error) from error
    if found.files or found.hidden:
        return found
    raise InputError(
        f"No file found at {path}",
        code="FILE-NONE",
        expected=expected,
        fix="check the spelling, and quote a glob so that the shell does not expand it",
    )


def _list_here(path: str, is_glob: bool) -> Listing:
    """Lists files on this machine. Beam is not used: it ignores links and folders that it may not read."""
    spelled = _spelled(path, is_glob)
    if not is_glob and not os.path.isdir(path):
        files = (_describe(spelled),) if os.path.exists(spelled) else ()
        return Listing(os.path.dirname(spelled), files, (), is_one_file=True)
    folder = os.path.dirname(spelled) if is_glob else spelled or path
    pattern = path + "*" * path.endswith("/")  # as Beam does
    matches = re.compile(FileSystem.translate_pattern(pattern)).match if is_glob else lambda _: True
    deepest = path.count("/") if is_glob and "**" not in path else sys.maxsize
    names: dict[str, tuple[bool, str]] = {}
    hidden: list[str] = []
    for name in _walk(folder, spelled, deepest, hidden):
        if matches(name):
            real = os.path.realpath(name)
            is_link = real != os.path.join(os.path.realpath(folder), os.path.relpath(name, folder or "."))
            names[real] = min(names.get(real, (True, name)), (is_link, name))  # a name that is no link, if there is one
    files = sorted((_describe(name) for _, name in names.values()), key=lambda file: file.path)
    if is_glob:
        hidden = [name for name in hidden if _leads_into(pattern, name)]
    return Listing(folder, tuple(files), tuple(sorted(hidden)), is_directory=not is_glob)


def _leads_into(pattern: str, hidden: str) -> bool:
    """Whether a pattern could match a hidden file, or something in a hidden folder."""
    beginning = "/".join(pattern.split("/")[: hidden.count("/") + 1])
    return "**" in beginning or re.compile(FileSystem.translate_pattern(beginning)).match(hidden) is not None


def _spelled(path: str, is_glob: bool) -> str:
    """Returns what the user wrote out of a path: nothing in it is hidden."""
    return re.split(r"[*?[]", path)[0] if is_glob else path.rstrip("/")


def _walk(folder: str, spelled: str, deepest: int, hidden: list[str]) -> Iterator[str]:
    """Yields the paths of all files below a folder. Links are followed, but not back to a folder that holds them.

    Args:
        folder: Where to begin.
        spelled: What the user wrote out of the path, for `_hidden_part`.
        deepest: The largest number of slashes in a path that can match.
        hidden: The paths of hidden files and folders are appended here.
    """
    pending = [(folder, frozenset[str]())]
    while pending:
        folder, above = pending.pop()
        real = os.path.realpath(folder)
        if real in above:
            continue
        for name in os.listdir(real) if os.path.isdir(real) else ():
            path = os.path.join(folder, name)
            if _hidden_part(path, spelled) and (_hidden_part(f"{path}/", spelled) or not os.path.isdir(path)):
                hidden.append(path)
                continue
            if os.path.islink(path) and not os.path.exists(path):
                raise _leads_nowhere(path)  # its target may lie in a folder that is not mounted
            if not os.path.isdir(path):
                yield path
            elif path.count("/") < deepest:
                pending.append((path, above | {real}))


def _leads_nowhere(path: str) -> InputError:
    return InputError(
        f"The link {path} leads nowhere",
        code="FILE-LINK",
        found=f"no {os.path.realpath(path)}",
        fix="delete the link, or mount what it leads to",
    )


def _describe(path: str) -> FileInfo:
    status = os.stat(path)
    return FileInfo(path, status.st_size, status.st_mtime)


def _list_remotely(path: str, is_glob: bool) -> Listing:
    store, root, spelled = store_of(path), path.rstrip("/"), _spelled(path, is_glob)
    listed = store.matching(path) if is_glob else store.below(root)
    files: list[FileInfo] = []
    hidden = set[str]()
    for file in listed:
        if part := _hidden_part(file.path, spelled):
            hidden.add(part)
        elif not file.path.endswith("/"):  # some stores have objects that stand for folders
            files.append(file)
    files.sort(key=lambda file: file.path)
    if is_glob:
        return Listing(spelled.rpartition("/")[0], tuple(files), tuple(sorted(hidden)))
    if files or hidden:
        return Listing(root, tuple(files), tuple(sorted(hidden)), is_directory=True)
    found = store.find(root)
    return Listing(root.rpartition("/")[0], () if found is None else (found,), (), is_one_file=found is not None)


_HIDDEN = re.compile(r"(?<![^/])(?:\.|_(?![^/]*=[^/]*/))[^/]*")


def _hidden_part(path: str, spelled: str) -> str:
    """Returns a path up to its first hidden name after the part that the user wrote out; empty if there is none."""
    start = len(spelled) if path.startswith(spelled) else path.rfind("/") + 1
    match = _HIDDEN.search(path, start)
    return path[: match.end()] if match else ""


def probe(folder: str, pattern: str) -> list[str]:
    """Returns the paths that match a pattern of one folder, such as `_delta_log/*`; empty if the folder is not there.

    Raises:
        InputError: The file system does not answer.
    """
    try:
        if is_local(folder):
            inside, _, name = pattern.rpartition("/")
            place = os.path.join(folder, inside)
            matches = re.compile(FileSystem.translate_pattern(name)).match
            return sorted(os.path.join(place, each) for each in os.listdir(place or ".") if matches(each))
        found = store_of(folder).matching(f"{literal(folder)}/{pattern}")
        return sorted(file.path for file in found if file.path.startswith(f"{folder}/"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except FAILURES as error:
        raise cannot_list(folder, error) from error
