"""Runs a pipeline. Beam wraps the errors of workers in errors of its own; they are turned back into ours."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import apache_beam as beam

from ...models.core.errors import PREFIX, ArtifactError, ConservationError, IadsrError, InputError, UsageError

_FAMILY = {error.__name__: error for error in (InputError, ArtifactError, ConservationError)}

_IN_TRACEBACK = re.compile(rf"\b({'|'.join(_FAMILY)}): {PREFIX}([A-Z-]+): (.*?)(?= \[while running|\n\n|\Z)", re.S)

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
