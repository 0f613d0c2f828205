"""The output directory of a run: one run at a time, what is left of an earlier one, and where to go on."""

import dataclasses
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from apache_beam.io.filesystem import FileSystem

from ..models.errors import InputError
from ..transforms import files
from ..transforms.manifest import MANIFEST, REPORT, read_manifest
from ..transforms.run_marker import MARKER, STAGING, RunMarker, read_marker, write_marker
from ..transforms.writing import INTERACTIONS, REJECTED, SEQUENCES, shard_file

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

OUTPUTS = (INTERACTIONS, SEQUENCES, REJECTED, MANIFEST, REPORT, STAGING)
_WRITES = (MANIFEST, REPORT, *(f"{name}/{shard_file(0, 1)}" for name in (INTERACTIONS, SEQUENCES, REJECTED)))


@contextmanager
def locked(output: str) -> Iterator[None]:
    """Keeps other runs out of an output directory while the block runs, and creates it where it is missing.

    The lock is the kernel's, on the directory itself: it leaves no file, and is gone with the process however that
    ends. On a remote file system, and on a network share that knows no locks, there is none: there the mark that a run
    sets is checked before it closes, see `run_marker.check_still_ours`.

    Raises:
        InputError: Another run holds it, or the directory cannot be created.
    """
    if not files.is_local(output) or fcntl is None:
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


def prepare_output(
    output: str, identity: dict[str, str], *, overwrite: bool, say: Callable[[str], None]
) -> RunMarker | None:
    """Makes an output directory ready for a run: empty, or with what an unfinished run of the same identity has done.

    Args:
        output: The directory.
        identity: Fingerprints of all that the result depends on.
        overwrite: Replace a finished run.
        say: Told what becomes of an unfinished run.

    Returns:
        The run's mark; None where the directory already holds the finished result of just this run, which was cut off
        before it could clear up.

    Raises:
        InputError: The directory holds something that must not be replaced, or cannot be written to.
    """
    names = files.list_names(output)
    marker = read_marker(output)
    finished = MANIFEST in names
    if finished and marker is not None and marker.ready and marker.identity == identity:
        manifest = read_manifest(output)
        if manifest.get("run") == marker.token:
            files.delete(files.join(output, STAGING))
            say(f"{output} holds the finished result of this run already.")
            return None
    if finished and not overwrite:
        raise InputError(
            f"{output} already holds a finished run",
            code="OUTPUT-FINISHED",
            found=MANIFEST,
            fix="choose another --output, or pass --overwrite to replace it",
        )
    # Only a run of ours is replaced: folders named as ours may well be somebody's data.
    ours = OUTPUTS if finished or MARKER in names else ()
    # A run that was cut off while it set its mark has left a temporary file and nothing else.
    own = [name for name in names if not files.is_temporary(name)]
    refuse_foreign(output, sorted({name.split("/")[0] for name in own} - set(ours)))

    new = RunMarker(identity, secrets.token_hex(16), ready=True)
    if marker is not None and not finished and marker.ready and marker.identity == identity:
        scored = sum(name.startswith(f"{new.staging}/scored-") for name in names)
        written = sum(name.startswith(f"{INTERACTIONS}/part-") for name in names)
        say(f"Going on with the unfinished run in {output}: {scored} shards are scored, {written} written.")
        _delete_all(output, [name for name in names if files.TEMPORARY_PREFIX in name])
        write_marker(output, new)
        return new
    if marker is not None and not finished:
        changed = [name for name in identity if marker.identity.get(name) != identity[name]]
        why = f"differs in {', '.join(changed)}" if changed else "had hardly begun"
        say(f"The unfinished run in {output} {why}: starting afresh.")
    # The mark comes first and the manifest goes next: whatever stops us, what is left is known to be ours, unfinished,
    # and not fit to go on with.
    write_marker(output, dataclasses.replace(new, ready=False))
    files.delete(files.join(output, MANIFEST))
    stale = [name for name in names if name.startswith(f"{STAGING}/") and name != MARKER]
    temporary = [name for name in names if files.TEMPORARY_PREFIX in name]
    _delete_all(output, [INTERACTIONS, SEQUENCES, REJECTED, REPORT, *stale, *temporary])
    write_marker(output, new)
    return new


def check_place(output: str, log: str, reads: Iterable[str]) -> None:
    """Checks where an output directory lies, before it is created.

    Args:
        output: The directory.
        log: The log as the user names it; the output must not lie in it.
        reads: Paths that the run reads; none may lie in the directory.

    Raises:
        InputError: It lies in the log, holds something that is read, or a part of it is a link to elsewhere.
    """
    refuse_inside(output, log, _WRITES)
    for path in reads:
        if _absolute(path).startswith(_absolute(output) + "/"):
            raise InputError(
                f"{path} lies inside the output directory {output}",
                code="OUTPUT-INSIDE",
                found=path,
                expected="an output directory apart from everything that is read",
                fix="choose another --output",
            )
    links = [name for name in OUTPUTS if files.is_local(output) and os.path.islink(os.path.join(output, name))]
    if links:
        raise InputError(
            f"{links[0]} in the output directory {output} is a symbolic link",
            code="OUTPUT-LINK",
            found=f"a link to {os.readlink(os.path.join(output, links[0]))}",
            expected="files and folders of the run itself",
            fix="remove the link, or choose another --output",
        )


def refuse_foreign(output: str, foreign: list[str]) -> None:
    """Refuses an output directory that holds files which no command of ours wrote there.

    Raises:
        InputError: There are such files.
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
    """Checks that an output directory does not lie where it would be read as part of the input by the next run.

    Args:
        output: The directory.
        source: A file, a directory or a glob that the command reads.
        writes: Files that the command writes, from the directory on, an example of each kind.

    Raises:
        InputError: It lies there.
    """
    place = _absolute(output)
    inside = place.startswith(_absolute(source) + "/")
    spelled = re.split(r"[*?[]", source)[0]
    if spelled != source:
        rest = source[spelled.rfind("/") + 1 :]
        folder = _absolute(source.removesuffix(rest) or ".").rstrip("/")
        if "**" in source:  # all below, however deep
            inside = inside or f"{place}/".startswith(f"{folder}/")
        else:
            pattern = f"{files.literal(folder)}/{rest}" + "*" * rest.endswith("/")  # as `match_files` reads it
            matches = re.compile(FileSystem.translate_pattern(pattern)).match
            is_hidden = re.search(r"/[._]", place.removeprefix(folder))  # passed over by globs
            inside = inside or (not is_hidden and any(matches(f"{place}/{name}") for name in writes))
    if inside:
        raise InputError(
            f"The output directory {output} lies inside the input {source}",
            code="OUTPUT-INPUT",
            found=output,
            expected="a directory apart from the input, which would be read as part of it by the next run",
            fix="choose another --output",
        )


def _absolute(path: str) -> str:
    return os.path.realpath(path) if files.is_local(path) else path.rstrip("/")


def _delete_all(output: str, names: Iterable[str]) -> None:
    files.delete(*(files.join(output, *name.split("/")) for name in names))
