"""Shows the progress of a running pipeline by counting the files that it has finished."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ...models.core.errors import IadsrError
from ...transforms.files.storage import is_local, list_names
from .progress import Progress

STORE_SECONDS = 10
"""A store is listed no more often: each time is a request for a thousand files."""


class FileStep(NamedTuple):
    """A step of a pipeline, seen as the files that it writes."""

    directory: str
    """Their directory."""
    prefix: str
    """How their names begin."""
    files: int
    """Number of files when the step is done."""
    share: float
    """Rough share of the pipeline's time. The shares of all steps add up to 1."""


def file_steps(steps: list[tuple[str, str, int, float]]) -> list[FileStep]:
    """Returns steps from their directories, prefixes, numbers of files and rough times in any unit."""
    whole = sum(time for *_, time in steps)
    return [FileStep(directory, prefix, files, time / whole) for directory, prefix, files, time in steps]


@contextmanager
def watch_files(progress: Progress, description: str, steps: list[FileStep], rows: int) -> Iterator[None]:
    """Shows the progress of a pipeline by counting the files that it has finished. Beam itself reports nothing.

    Args:
        progress: Where to show it.
        description: What is being done.
        steps: The steps. Their shares make the bar move evenly.
        rows: Rows in the whole input.
    """
    stop = threading.Event()
    started = time.monotonic()
    with progress.task(description, total=rows) as task:

        def show(done: float) -> None:
            speed = done / max(time.monotonic() - started, 1e-9)
            task.update(done, f"{rows:,} row{'s' * (rows != 1)}, {speed:,.0f} a second")

        def poll() -> None:
            while not stop.wait(seconds):
                # If files cannot be listed now, the next turn may list them. A failed run reports its own error.
                with suppress(IadsrError):
                    names = {directory: list_names(directory) for directory in {step.directory for step in steps}}
                    finished = (sum(name.startswith(s.prefix) for name in names[s.directory]) / s.files for s in steps)
                    show(rows * sum(min(part, 1) * step.share for part, step in zip(finished, steps, strict=True)))

        seconds = progress.poll_seconds
        if seconds is not None and not all(is_local(step.directory) for step in steps):
            seconds = max(seconds, STORE_SECONDS)
        thread = threading.Thread(target=poll, daemon=True)
        # Listing files costs time, and in a pipe nobody watches.
        if progress.poll_seconds is not None:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if thread.ident is not None:
                thread.join()
        show(rows)
