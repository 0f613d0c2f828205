"""What a command says on the standard error: text for people, or JSON lines for log collectors."""

import logging
import time
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.text import Text

from ...models.core.errors import PREFIX, IadsrError
from ...models.core.option import RUN, Option
from ..engines.json_lines import JsonLines

if TYPE_CHECKING:
    # The commands load modules that take seconds.
    from ..commands.doctor import Finding
    from ..commands.results import Result
    from ..engines.progress import Progress

LogFormat = Literal["text", "json"]

LOG_FORMAT = Option(
    name="log_format",
    type=LogFormat,
    default="text",
    help="What is written to the standard error: text, or one JSON object a line.",
    panel=RUN,
)

_BUG = "This is a bug of ours. Run again with --verbose for the stack trace, and report it, please."
_INTERRUPTED = "Interrupted. Run the same command again: it resumes where this one stopped, as far as it can."


class CommandLog:
    """Says it to people. Results are not said here: the standard output has them.

    Args:
        console: The standard error.
    """

    def __init__(self, console: Console):
        self._console = console

    def handler(self) -> logging.Handler:
        """Returns what writes the records of Python's logging, of Beam and other libraries."""
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
        return handler

    def progress(self) -> "Progress":
        """Returns what shows progress."""
        from ..engines.progress import Progress

        return Progress(self._console)

    def started(self, command: str) -> None:
        """Notes that a command starts."""

    def result(self, result: "Result") -> None:
        """Notes the result of a command."""

    def finding(self, finding: "Finding") -> None:
        """Notes what `iadsr doctor` has found."""

    def error(self, error: IadsrError) -> None:
        """Says what went wrong, and what to do."""
        self._console.print(Text.assemble(("Error ", "bold red"), str(error)), soft_wrap=True)
        for note in getattr(error, "__notes__", ()):
            self._console.print(Text(note), soft_wrap=True)

    def bug(self, short: str) -> None:
        """Says that something happened that we did not foresee."""
        self._console.print(Text.assemble(("Error ", "bold red"), f"{PREFIX}BUG: {short}"), soft_wrap=True)
        self._console.print(_BUG)

    def interrupted(self) -> None:
        """Says that the command was stopped, and how to go on."""
        self._console.print(_INTERRUPTED)

    def ended(self, exit_code: int) -> None:
        """Notes that the command has ended."""


class JsonCommandLog(CommandLog):
    """Writes it as JSON lines, results and figures among them.

    Args:
        lines: Where to.
    """

    def __init__(self, lines: JsonLines):
        self._lines, self._began = lines, time.monotonic()

    def handler(self) -> logging.Handler:
        """Returns what writes the records of Python's logging."""
        return self._lines.handler()

    def progress(self) -> "Progress":
        """Returns progress that is written as lines."""
        from ..engines.logged_progress import LoggedProgress

        return LoggedProgress(self._lines)

    def started(self, command: str) -> None:
        """Writes the version of iadsr."""
        from importlib import metadata

        self._lines.about(command=command)
        self._lines.write("info", "start", f"iadsr {command}", version=metadata.version("iadsr"))

    def result(self, result: "Result") -> None:
        """Writes the text of a result, and its figures."""
        level = "info" if result.passed else "error"
        self._lines.write(level, "result", str(result), passed=result.passed, figures=result.figures())

    def finding(self, finding: "Finding") -> None:
        """Writes a finding."""
        level = "info" if finding.healthy else "error"
        self._lines.write(level, "finding", finding.text, checked=finding.what, healthy=finding.healthy)

    def error(self, error: IadsrError) -> None:
        """Writes each part of an error as a field."""
        parts = {"found": error.found, "expected": error.expected, "fix": error.fix}
        notes = list(getattr(error, "__notes__", ())) or None
        self._lines.write("error", "error", error.what, code=PREFIX + error.code, **parts, notes=notes)

    def bug(self, short: str) -> None:
        """Writes type and place of a bug."""
        self._lines.write("error", "error", short, code=f"{PREFIX}BUG", fix=_BUG)

    def interrupted(self) -> None:
        """Writes how to go on."""
        self._lines.write("error", "interrupted", _INTERRUPTED)

    def ended(self, exit_code: int) -> None:
        """Writes the exit code, and how long the command took."""
        level, seconds = "error" if exit_code else "info", round(time.monotonic() - self._began, 3)
        self._lines.write(level, "end", f"exit code {exit_code}", exit_code=exit_code, seconds=seconds)


_ERR = Console(stderr=True, highlight=False, emoji=False)
_chosen: CommandLog = CommandLog(_ERR)


def chosen_log() -> CommandLog:
    """Returns the log of this process."""
    return _chosen


def choose_log(log_format: LogFormat) -> None:
    """Chooses the format of the log of this process."""
    global _chosen
    wanted = JsonCommandLog if log_format == "json" else CommandLog
    if type(_chosen) is not wanted:
        _chosen = JsonCommandLog(JsonLines()) if log_format == "json" else CommandLog(_ERR)
        logging.basicConfig(level=logging.root.level, handlers=[_chosen.handler()], force=True)


def show_libraries(wanted: bool) -> None:
    """Chooses whether the log has what libraries log.

    Beam and transformers log much that is of no use to a user. What matters reaches users in messages of ours.
    """
    level = logging.INFO if wanted else logging.CRITICAL
    logging.basicConfig(level=level, handlers=[_chosen.handler()], force=True)
