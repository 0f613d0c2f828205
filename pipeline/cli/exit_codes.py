"""Turns every failure of a command into a message for the user and an exit code."""

import logging
import re
import traceback
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import typer

from ...models.core.errors import ConservationError, EngineError, IadsrError, UsageError
from .command_log import CommandLog

_INSTALLED = Path(__file__).parents[2]
_FLOORS = ("models", "transforms", "pipeline")
EXIT_INPUT, EXIT_USAGE, EXIT_CONSERVATION, EXIT_BUG, EXIT_GATE, EXIT_ENGINE, EXIT_INTERRUPTED = 1, 2, 3, 4, 5, 6, 130

# typer brings a click of its own or uses the installed one. This is the base class of its errors in both cases.
_MISTAKE: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if issubclass(base, Exception) and base.__name__ == "ClickException"
)


def exit_code_of(command: Callable[[], int | None], log: Callable[[], CommandLog]) -> int:
    """Runs a command. If it fails, logs why.

    Args:
        command: Returns its exit code; None means 0.
        log: Returns the log. The command may have chosen another one.
    """
    try:
        code = command() or 0
    except IadsrError as error:
        log().error(error)
        own = {ConservationError: EXIT_CONSERVATION, UsageError: EXIT_USAGE, EngineError: EXIT_ENGINE}
        return own.get(type(error), EXIT_INPUT)
    except _MISTAKE as error:
        log().error(_usage_error(error))
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:
        logging.getLogger(__name__).info("What happened:", exc_info=True)  # with --verbose
        log().bug(bug_in_short(error))
        return EXIT_BUG
    if code == EXIT_INTERRUPTED:  # typer may have caught the interrupt and returned this code
        log().interrupted()
    return code


def bug_in_short(error: BaseException) -> str:
    """Names the type and place of an unforeseen error. Its text may hold a user's id or a row, so it is not shown."""
    text = "".join(traceback.format_exception(error))
    name = type(error).__name__
    if "Traceback (most recent call last)" in str(error):  # Beam passes on a worker's stack trace as one text
        text = str(error)
        last = [line for line in text.splitlines() if line.strip() and not line[0].isspace()][-1]
        name = re.split(r"[:\s]", last, maxsplit=1)[0].rpartition(".")[2]
    frames = re.findall(r'File "([^"]*)", line (\d+)', text)
    places = [f"{file}:{line}" for path, line in frames if (file := _our_file(path))]
    return name + (f" at {places[-1]}" if places else "")


def _our_file(path: str) -> str | None:
    """Returns the path of one of our source files inside the package; None for other files."""
    parts = PurePath(path).parts
    endings = (PurePath(*parts[first:]) for first in range(len(parts)) if parts[first] in _FLOORS)
    return next((ending.as_posix() for ending in endings if (_INSTALLED / ending).is_file()), None)


def _usage_error(error: Any) -> UsageError:
    """Makes one of our errors from an error of the parser of the command line."""
    command = error.ctx.command_path if getattr(error, "ctx", None) else "iadsr"
    return UsageError(
        error.format_message().strip().replace("Value error, ", ""),
        code="OPTION",
        found=f"arguments of {command}",
        fix=f"see {command} --help",
    )
