"""Checks of output directories that `embed`, `train` and `clean` share: one run at a time, and only in a fit place."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from apache_beam.io.filesystem import FileSystem

from ...models.core.errors import InputError
from ..contract.output_layout import INTERACTIONS, MANIFEST, OUTPUTS, REJECTED, REPORT, SEQUENCES, shard_file
from ..files import storage
from ..files.store import literal

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

# What `clean` writes, an example of each kind.
_WRITES = (MANIFEST, REPORT, *(f"{name}/{shard_file(0, 1)}" for name in (INTERACTIONS, SEQUENCES, REJECTED)))


@contextmanager
def locked(output: str) -> Iterator[None]:
    """Keeps other runs out of an output directory while the block runs, and creates the directory if it is missing.

    The kernel holds the lock, on the directory itself. It leaves no file, and it is gone when the process ends, however
    that happens. Remote file systems and some network shares have no such locks. There, `RunStore.check_still_ours`
    checks the run's mark before the run is finished.

    Raises:
        InputError: Another run holds it, or the directory cannot be created.
    """
    if not storage.is_local(output) or fcntl is None:
        yield
        return
    try:
        os.makedirs(output, exist_ok=True)
        handle = os.open(output, os.O_RDONLY)
    except (OSError, ValueError) as error:
        raise InputError(
            f"Cannot create the directory {output}",
            code="OUTPUT-CREATE",
            found=str(error),
            fix="check that no file has this name and that the directory above it may be written to",
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another run is writing into {output}",
                code="OUTPUT-BUSY",
                found="a lock that another process holds",
                fix="wait until it has ended, or choose another --output",
            ) from error
        except OSError:
            pass  # no locks on this file system
        yield
    finally:
        os.close(handle)


def check_place(output: str, log: str, reads: Iterable[str]) -> None:
    """Checks where an output directory lies, before it is created.

    Args:
        output: The directory.
        log: The log as the user names it; the output must not lie in it.
        reads: Paths that the run reads; none may lie in the directory.

    Raises:
        InputError: It lies in the log, holds something that is read, or one of its parts is a symbolic link.
    """
    refuse_inside(output, log, _WRITES)
    for path in reads:
        if _absolute(path).startswith(_absolute(output) + "/"):
            raise InputError(
                f"{path} lies inside the output directory {output}",
                code="OUTPUT-INSIDE",
                found=path,
                expected="an output directory that holds nothing the run reads",
                fix="choose another --output",
            )
    links = [name for name in OUTPUTS if storage.is_local(output) and os.path.islink(os.path.join(output, name))]
    if links:
        raise InputError(
            f"{links[0]} in the output directory {output} is a symbolic link",
            code="OUTPUT-LINK",
            found=f"a link to {os.readlink(os.path.join(output, links[0]))}",
            expected="files and folders of the run itself",
            fix="remove the link, or choose another --output",
        )


def refuse_foreign(output: str, foreign: list[str]) -> None:
    """Refuses an output directory that holds files of somebody else.

    Args:
        output: The directory.
        foreign: Names in it that no command of ours has written.

    Raises:
        InputError: There is one.
    """
    if foreign:
        raise InputError(
            f"{output} holds files that are not ours",
            code="OUTPUT-FOREIGN",
            found=", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else ""),
            expected="a new or empty directory, or one with an earlier result",
            fix="choose another --output",
        )


def refuse_inside(output: str, source: str, writes: Iterable[str]) -> None:
    """Checks that the next run would not read an output directory as part of its input.

    Args:
        output: The directory.
        source: A file, a directory or a glob that the command reads.
        writes: Files that the command writes, relative to the directory, an example of each kind.

    Raises:
        InputError: It would.
    """
    place = _absolute(output)
    inside = place.startswith(_absolute(source) + "/")
    spelled = re.split(r"[*?[]", source)[0]
    if spelled != source:
        rest = source[spelled.rfind("/") + 1 :]
        folder = _absolute(source.removesuffix(rest) or ".").rstrip("/")
        if "**" in source:  # everything below the folder
            inside = inside or f"{place}/".startswith(f"{folder}/")
        else:
            pattern = f"{literal(folder)}/{rest}" + "*" * rest.endswith("/")  # as `list_files` reads it
            matches = re.compile(FileSystem.translate_pattern(pattern)).match
            is_hidden = re.search(r"/[._]", place.removeprefix(folder))  # globs skip these
            inside = inside or (not is_hidden and any(matches(f"{place}/{name}") for name in writes))
    if inside:
        raise InputError(
            f"The output directory {output} lies inside the input {source}",
            code="OUTPUT-INPUT",
            found=output,
            expected="a directory outside of the input, or the next run would read it as part of the input",
            fix="choose another --output",
        )


def same_directory(one: str, other: str) -> bool:
    """Returns whether two paths name the same directory."""
    return _absolute(one) == _absolute(other)


def _absolute(path: str) -> str:
    return os.path.realpath(path) if storage.is_local(path) else path.rstrip("/")
