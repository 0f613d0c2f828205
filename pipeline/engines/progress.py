"""Live progress: bars for work that can be counted, a spinner for the rest. In a pipe, one line per finished task."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from ...models.core.printable import printable

POLL_SECONDS = 1.0


class Progress:
    """Shows tasks one after the other on a console. A console that is no terminal gets a line per finished task.

    Args:
        console: Where to show them; None: nowhere.
    """

    poll_seconds: float | None
    """Time between two looks at work that has to be looked at; None: nobody watches, so looking is no use."""

    def __init__(self, console: Console | None):
        console = console or Console(quiet=True, force_terminal=False)
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
        self.poll_seconds = POLL_SECONDS if console.is_terminal else None

    def about(self, run: str) -> None:
        """Tells the token of the run that is shown."""

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        self.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator["Task"]:
        """Shows a task while the block runs.

        Args:
            description: What is being done.
            total: Amount of work; None if it is not known.
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
