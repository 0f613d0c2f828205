"""Progress as lines of a log: when a task starts, how far it is now and then, when it has finished."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from .json_lines import JsonLines
from .progress import Progress, Task

SECONDS_BETWEEN = 30.0
"""At most one line in this time says how far a task is."""


class LoggedProgress(Progress):
    """Writes progress to a log.

    Args:
        lines: The log.
    """

    poll_seconds = SECONDS_BETWEEN

    def __init__(self, lines: JsonLines):
        super().__init__(None)
        self._lines = lines

    def say(self, text: str) -> None:
        """Writes a note."""
        self._lines.write("warning", "note", text)

    def about(self, run: str) -> None:
        """Adds the run to all lines from now on."""
        self._lines.about(run=run)

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Task]:
        """Writes when a task starts and when it has finished."""
        began, task = time.monotonic(), LoggedTask(self._lines, description, total)
        self._lines.write("info", "task_start", description, task=description)
        yield task
        seconds = round(time.monotonic() - began, 3)
        self._lines.write("info", "task_end", task.note or "done", task=description, seconds=seconds)


class LoggedTask(Task):
    """A task whose progress is written now and then."""

    def __init__(self, lines: JsonLines, description: str, total: float | None):
        self._lines, self._description, self._total = lines, description, total
        self._next = time.monotonic() + SECONDS_BETWEEN
        self.note = ""

    def update(self, completed: float, note: str | None = None) -> None:
        """Writes how much is done, if it is time for a line."""
        self.note = self.note if note is None else note
        self._write(completed, self._total)

    def advance_to(self, done: int, total: int) -> None:
        """Writes how much of how much is done, likewise."""
        self.note = f"{done:,} of {total:,}"
        self._write(done, total)

    def _write(self, done: float, total: float | None) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN
            self._lines.write("info", "progress", self.note, task=self._description, done=done, total=total)
