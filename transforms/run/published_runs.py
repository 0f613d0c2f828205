"""A dataset directory: runs side by side, and a pointer to the one that readers should take.

    dataset/LATEST                 the name of the latest published run, such as run=2026-11-28
    dataset/run=2026-11-28/        what `iadsr clean` wrote, and _SUCCESS once the run is published

The pointer is moved last, in one step. A run that fails its gates stays where it is, and the pointer does not move.
"""

from dataclasses import dataclass

from apache_beam.io.filesystems import FileSystems

from ...models.core.errors import InputError
from ..contract.output_layout import MANIFEST, SUCCESS
from ..files.storage import delete, exists, join, list_names, read_bytes, without_trailing_slashes, write_atomically
from .manifest import read_manifest

LATEST = "LATEST"
"""Name of the pointer in the dataset directory."""


@dataclass(frozen=True)
class Published:
    """What publishing a run has changed."""

    dataset: str
    """The dataset directory."""
    name: str
    """Name of the run in it."""
    deleted: tuple[str, ...]
    """Names of older runs that were deleted."""


def locate(run: str) -> tuple[str, str]:
    """Returns the dataset directory of a run, and the run's name in it.

    Raises:
        InputError: The run does not lie in a directory.
    """
    dataset, name = FileSystems.split(without_trailing_slashes(run))
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


def publish(run: str, keep_runs: int | None) -> Published:
    """Marks a finished run as published, moves the pointer to it, and deletes older published runs.

    Doing it again changes nothing. Runs that were never published are not deleted.

    Args:
        run: Directory of the run.
        keep_runs: Keep so many published runs, the newest ones by the time at which they finished, and this one. None:
            all.

    Raises:
        InputError: The run is not finished, or a file cannot be written or deleted.
    """
    read_manifest(run)
    dataset, name = locate(run)
    success = join(dataset, name, SUCCESS)
    if not exists(success):
        write_atomically(success, lambda file: None, durable=True)
    write_atomically(join(dataset, LATEST), lambda file: file.write(f"{name}\n".encode()), durable=True)
    older = []
    if keep_runs is not None:
        published = [path.split("/")[0] for path in list_names(dataset) if path.split("/")[1:] == [SUCCESS]]
        others = [other for other in published if other != name and exists(join(dataset, other, MANIFEST))]
        others.sort(key=lambda other: read_manifest(join(dataset, other)).finished_at)
        older = others[: max(len(others) - keep_runs + 1, 0)]
    for other in older:
        # The manifest first: what is left of a run whose deletion was cut off is no finished run.
        delete(join(dataset, other, MANIFEST), join(dataset, other))
    return Published(dataset, name, tuple(older))
