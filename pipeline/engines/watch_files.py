"""Shows the progress of a running pipeline by counting the files that it has finished."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ...models.core.errors import IadsrError
from ...transforms.files.storage import list_names
from .progress import Progress

POLL_SECONDS = 1.0


class FileStep(NamedTuple):
    """A step of a pipeline as the files that it leaves behind."""

    directory: str
    """Where they lie."""
    prefix: str
    """How their names begin."""
    files: int
    """How many there are when the step is done."""
    share: float
    """Of the pipeline's time, about; all steps' together make 1."""


@contextmanager
def watch_files(progress: Progress, description: str, steps: list[FileStep], rows: int) -> Iterator[None]:
    """Shows the progress of a pipeline that tells nothing while it runs, by counting the files that it has finished.

    Args:
        progress: Where to show it.
        description: What is being done.
        steps: The steps, whose shares make the bar move evenly.
        rows: Rows in the whole input.
    """
    stop = threading.Event()
    started = time.monotonic()
    with progress.task(description, total=rows) as task:

        def show(done: float) -> None:
            speed = done / max(time.monotonic() - started, 1e-9)
            task.update(done, f"{rows:,} rows, {speed:,.0f} a second")

        def poll() -> None:
            while not stop.wait(POLL_SECONDS):
                # What cannot be listed now is listed the next time; a run that cannot go on says so itself.
                with suppress(IadsrError):
                    names = {directory: list_names(directory) for directory in {step.directory for step in steps}}
                    finished = (sum(name.startswith(s.prefix) for name in names[s.directory]) / s.files for s in steps)
                    show(rows * sum(min(part, 1) * step.share for part, step in zip(finished, steps, strict=True)))

        thread = threading.Thread(target=poll, daemon=True)
        # Listing files costs something, and nobody looks at a pipe.
        if progress.console.is_terminal:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if thread.ident is not None:
                thread.join()
        show(rows)
