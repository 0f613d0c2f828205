"""Live progress on the terminal: bars for work that can be counted, a spinner for the rest, lines when piped."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from ..models.errors import IadsrError
from ..models.printable import printable
from ..transforms.files import list_names

POLL_SECONDS = 1.0


class Progress:
    """Shows tasks one after the other on a console; a console that is no terminal gets a line per finished task."""

    def __init__(self, console: Console):
        self.console = console
        self._bars = RichProgress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("[dim]{task.fields[note]}[/dim]"),
            console=console,
            speed_estimate_period=300,  # a shard of a large log takes a while
            disable=not console.is_terminal,
        )
        self._depth = 0

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        self.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator["Task"]:
        """Shows a task while the block runs.

        Args:
            description: What is being done.
            total: Amount of work; None when it cannot be known.
        """
        if self._depth == 0:
            self._bars.start()
        self._depth += 1
        task = Task(self._bars, self._bars.add_task(description, total=total, note=""))
        try:
            yield task
        except BaseException:
            self._bars.stop()
            raise
        else:
            task.finish()
            if not self.console.is_terminal:
                self.console.print(f"{description}: {task.note or 'done'}", highlight=False, markup=False)
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._bars.stop()


class Task:
    """One line of progress."""

    def __init__(self, bars: RichProgress, task_id: TaskID):
        self._bars, self._id = bars, task_id
        self.note = ""

    def update(self, completed: float, note: str | None = None) -> None:
        """Sets how much is done, and a short remark."""
        self.note = self.note if note is None else note
        self._bars.update(self._id, completed=completed, note=self.note)

    def advance_to(self, done: int, total: int) -> None:
        """Sets how much of how much is done."""
        self.note = f"{done:,} of {total:,}"
        self._bars.update(self._id, completed=done, total=max(total, 1), note=self.note)

    def finish(self) -> None:
        """Marks the task as complete."""
        total = self._bars.tasks[self._bars.task_ids.index(self._id)].total or 1
        self._bars.update(self._id, total=total, completed=total, note=self.note)


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
