"""A dataset directory: runs side by side, and a pointer to the one that readers should take.

    dataset/LATEST                 the name of the latest published run, such as run=2026-11-28
    dataset/run=2026-11-28/        what `iadsr clean` wrote, and _SUCCESS once the run is published

The pointer is moved last, in one step. A run that fails its gates stays where it is, and the pointer does not move.

Where the ids of runs are dates or times, they order the runs. A run of an earlier date, such as that of a backfill, is
published beside the later ones, and does not take the pointer from them.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from ...models.core.errors import ArtifactError, InputError
from ..contract.output_layout import KEPT_SCORES, MANIFEST, SUCCESS
from ..files.storage import (
    delete,
    exists,
    join,
    list_names,
    read_bytes,
    split,
    without_trailing_slashes,
    write_atomically,
)
from .manifest import read_manifest
from .run_store import MARKER, lasting, read_marker

RUN_PREFIX = "run="
"""Begins the name of a run's directory; the id of the run follows."""

LATEST = "LATEST"
"""Name of the pointer in the dataset directory."""


@dataclass(frozen=True)
class Published:
    """What publishing a run has changed."""

    dataset: str
    """The dataset directory."""
    name: str
    """Name of the run in it."""
    latest: str
    """Name of the run that readers take now. It is another one if the run that was published is of an earlier date."""
    deleted: tuple[str, ...]
    """Names of older runs that were deleted."""


def locate(run: str) -> tuple[str, str]:
    """Returns the dataset directory of a run, and the run's name in it.

    Raises:
        InputError: The run does not lie in a directory.
    """
    dataset, name = split(without_trailing_slashes(run))
    if not name or name == LATEST:
        raise InputError(
            f"{run} is no run in a dataset directory",
            code="PUBLISH-PLACE",
            found=repr(name),
            expected="a directory with a name of its own, such as dataset/run=2026-11-28",
            fix="name the run's directory",
        )
    return dataset, name


def latest_run(dataset: str) -> str | None:
    """Returns the name of the latest published run; None if none is published.

    Raises:
        InputError: The pointer cannot be read, or names no finished run.
    """
    pointer = join(dataset, LATEST)
    if not exists(pointer):
        return None
    name = read_bytes(pointer).decode(errors="replace").strip()
    if not name or "/" in name or not exists(join(dataset, name, MANIFEST)):
        raise InputError(
            f"The pointer {pointer} names no finished run",
            code="PUBLISH-POINTER",
            found=repr(name),
            expected="the name of a directory beside it",
            fix=f"write the name of a finished run into {LATEST}, or delete it",
        )
    return name


def unpublished_run(dataset: str, identity: dict[str, str]) -> str | None:
    """Returns the name of the newest run of an identity that is not published yet, finished or not; None if none is.

    Raises:
        InputError: The directory cannot be listed, or a file in it cannot be read.
    """
    names = set(list_names(dataset))
    runs = sorted({name.split("/")[0] for name in names if name.startswith(RUN_PREFIX)}, reverse=True)
    for run in runs:
        if f"{run}/{SUCCESS}" in names:
            continue
        with suppress(ArtifactError):  # a run whose manifest is damaged is not continued
            if f"{run}/{MANIFEST}" in names:
                found = read_manifest(join(dataset, run)).identity
            else:
                marker = read_marker(join(dataset, run)) if f"{run}/{MARKER}" in names else None
                found = {} if marker is None else lasting(marker.identity)
            if found == lasting(identity):
                return run
    return None


def run_before(dataset: str, name: str) -> str | None:
    """Returns the name of the published run that a run should be compared with; None if there is none.

    It is the latest one, unless a run of an earlier date is asked about: then it is the last one before that date.

    Raises:
        InputError: The pointer or the directory cannot be read.
    """
    latest = latest_run(dataset)
    if latest is None or (latest != name and not _is_earlier(name, latest)):
        return latest
    earlier = [run for run in _published(dataset) if _is_earlier(run, name)]
    return _in_order(dataset, earlier)[-1] if earlier else None


def retract(dataset: str, name: str) -> str | None:
    """Takes the pointer from a run that is about to be replaced, and gives it to the one that was published before.

    Returns:
        Name of the run that readers take now; None if none is left.

    Raises:
        InputError: A file cannot be read, written or deleted.
    """
    others = _in_order(dataset, [run for run in _published(dataset) if run != name])
    if others:
        _point(dataset, others[-1])
        return others[-1]
    delete(join(dataset, LATEST))
    return None


def publish(run: str, keep_runs: int | None, *, backwards: bool = True) -> Published:
    """Marks a finished run as published, moves the pointer to it, and deletes older published runs.

    Doing it again changes nothing. Runs that were never published are not deleted.

    Args:
        run: Directory of the run.
        keep_runs: Keep so many published runs, and among them this one and the one that the pointer names. The newest
            ones are kept, by their dates if all have some, else by the time at which they finished. None: all.
        backwards: Move the pointer even if it names a run of a later date, or one that was published after this one.

    Raises:
        InputError: The run is not finished, or a file cannot be written or deleted.
    """
    dataset, name = locate(run)

    def finished(name: str) -> str:
        return read_manifest(join(dataset, name)).finished_at

    finished(name)
    success = join(dataset, name, SUCCESS)
    again = exists(success)
    if not again:
        write_atomically(success, lambda file: None, durable=True)
    latest = None if backwards else latest_run(dataset)
    if latest is None or not (_is_earlier(name, latest) or (again and finished(name) < finished(latest))):
        latest = name
        _point(dataset, name)
    older, kept = [], {name, latest}
    published = [other for other in _published(dataset) if other not in kept]
    # Only the latest run's scores are taken over by the next one.
    delete(*(join(dataset, other, KEPT_SCORES) for other in published))
    if keep_runs is not None:
        others = _in_order(dataset, published)
        older = others[: max(len(others) + len(kept) - keep_runs, 0)]
    for other in older:
        # The manifest first: what is left of a run whose deletion was cut off is no finished run.
        delete(join(dataset, other, MANIFEST), join(dataset, other))
    return Published(dataset, name, latest, tuple(older))


def _point(dataset: str, name: str) -> None:
    write_atomically(join(dataset, LATEST), lambda file: file.write(f"{name}\n".encode()), durable=True)


def _published(dataset: str) -> list[str]:
    names = set(list_names(dataset))
    runs = sorted({name.split("/")[0] for name in names if name.split("/")[1:] == [SUCCESS]})
    return [run for run in runs if f"{run}/{MANIFEST}" in names]


def _in_order(dataset: str, runs: list[str]) -> list[str]:
    """Returns runs with the oldest first."""
    dates = {run: date for run in runs if (date := _date(run)) is not None}
    if len(dates) == len(runs):
        return sorted(runs, key=lambda run: dates[run])
    return sorted(runs, key=lambda run: read_manifest(join(dataset, run)).finished_at)


def _date(name: str) -> datetime | None:
    """Returns the date or time that is the id of a run; None if the id is none."""
    try:
        date = datetime.fromisoformat(name.removeprefix(RUN_PREFIX))
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _is_earlier(name: str, other: str) -> bool:
    date, other_date = _date(name), _date(other)
    return date is not None and other_date is not None and date < other_date
