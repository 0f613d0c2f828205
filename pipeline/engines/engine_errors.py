"""Runs a pipeline. Beam wraps the errors of workers in errors of its own; they are turned back into ours."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
import grpc

from ...models.core.errors import (
    PREFIX,
    ArtifactError,
    ConservationError,
    EngineError,
    IadsrError,
    InputError,
    StoreError,
    UsageError,
)

_FAMILY = {error.__name__: error for error in (InputError, StoreError, ArtifactError, ConservationError, EngineError)}

_OUR_FRAME = re.compile(r'File "[^"]*/(?:models|transforms|pipeline)/\w+/\w+\.py", line')

_IN_TRACEBACK = re.compile(rf"\b({'|'.join(_FAMILY)}): {PREFIX}([A-Z-]+): (.*?)(?= \[while running|\n\n|\Z)", re.S)

_JAVA_ERROR = re.compile(
    r"((?:\b(?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error)\b|(?<=ERROR )|(?<=SEVERE: )|(?<=FATAL )|^Error: ).*)"
)

GRPC_ERRORS = (grpc.RpcError, grpc.FutureTimeoutError)

_PARTS = {"found": "found", "expected": "expected", "try": "fix"}


def run_in_thread(pipeline: beam.Pipeline) -> None:
    """Runs a pipeline in a thread. The local runner blocks; this thread stays free for progress and interrupts.

    Raises:
        IadsrError: The pipeline raised one of our errors.
        Exception: The pipeline raised something else.
    """
    failure: list[BaseException] = []

    def run() -> None:
        try:
            pipeline.run()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    with translated_errors():
        if failure:
            raise failure[0]


@contextmanager
def translated_submission() -> Iterator[None]:
    """Reports in Beam's words why a runner refused a job. It is no bug of ours, and no row has been read yet.

    Raises:
        UsageError: The runner refused the options, or could not be reached.
        IadsrError: A worker raised it; some runners wait for their workers.
    """
    try:
        with translated_errors():
            yield
    except IadsrError:
        raise
    except Exception as error:
        if "Traceback (most recent call last)" in str(error):  # a worker's, which may hold a row
            raise
        raise UsageError(
            "Beam could not start the job",
            code="BEAM-SUBMIT",
            found=" ".join(str(error).split())[:1000] or type(error).__name__,
            fix="correct the Beam flags, and check that the runner and what it needs can be reached from this machine",
        ) from error


@contextmanager
def translated_engine_errors(name: str, log: Path | None, has_ended: Callable[[], bool]) -> Iterator[None]:
    """Reports in the engine's words why it did not finish a job. It is no bug of ours.

    Args:
        name: The engine's name.
        log: What it prints on this machine.
        has_ended: Whether its job server has ended.

    Raises:
        EngineError: The engine gave up.
        IadsrError: A worker raised it.
        Exception: A worker raised something else: a bug of ours.
    """
    try:
        with translated_errors():
            yield
    except IadsrError:
        raise
    except Exception as error:
        if _OUR_FRAME.search(str(error)) or not isinstance(error, (RuntimeError, OSError, *GRPC_ERRORS)):
            raise
        gone = has_ended()
        raise EngineError(
            f"{name}'s job server ended before the job" if gone else f"{name} could not finish the job",
            code="ENGINE-JOB",
            found=(gone and log is not None and last_words(log)) or last_line(error),
            fix=" ".join(
                [
                    *([f"see its log {log} and the logs of its workers;"] if log else ["see its logs;"]),
                    "then run the same command again: it resumes where this run stopped",
                ]
            ),
        ) from error


def last_line(error: BaseException) -> str:
    """Returns what an engine says of a failure: the innermost cause, in one line."""
    details = getattr(error, "details", None)
    text = str(details() if callable(details) else error)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    said = (causes or lines or [type(error).__name__])[-1 if causes else 0]
    return said.removeprefix("Caused by: ")[:500]


def last_words(log: Path, tail: int = 200_000) -> str | None:
    """Returns the last error in a job server's log, or its last line.

    Args:
        log: The file.
        tail: Bytes at its end that are looked at.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - tail))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return None
    for line in reversed(lines):
        if match := _JAVA_ERROR.search(line):
            return match[1][:500]
    return lines[-1][:500] if lines else None


@contextmanager
def translated_errors() -> Iterator[None]:
    """Restores our errors from the text that Beam makes of a worker's exception.

    Raises:
        IadsrError: The error that a worker raised.
    """
    try:
        yield
    except IadsrError:
        raise
    except Exception as error:
        matches = _IN_TRACEBACK.findall(str(error))
        if not matches:
            raise
        name, code, text = matches[-1]
        what, *lines = text.splitlines()
        parts = {}
        for line in lines:
            label, _, value = line.strip().partition(":")
            if label in _PARTS:
                parts[_PARTS[label]] = value.strip()
        raise _FAMILY[name](what, code=code, **parts) from error
