"""Runs a pipeline on an engine to its end, and passes on what the engine says of trouble meanwhile."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from ...models.core.errors import EngineError
from .engine import Engine
from .engine_errors import last_words, run_in_thread, translated_engine_errors, translated_submission

POLL_SECONDS = 2.0

_TROUBLE = re.compile(
    r"(?:WARN|ERROR)\S* [^:]*: (?P<what>Initial job has not accepted any resources"
    r"|Failed to connect to master|All masters are unresponsive|Lost executor|Application has been killed)(?P<rest>.*)"
)


def run_on(
    engine: Engine, pipeline: beam.Pipeline, say: Callable[[str], None], seconds: float | None = None
) -> PipelineResult | None:
    """Runs a pipeline to its end.

    Args:
        engine: What it was made for.
        pipeline: The pipeline.
        say: Called with a sentence about trouble that the engine may get over by itself.
        seconds: Time that a cluster has for it; None: any.

    Returns:
        What the engine tells afterwards, if it tells something.

    Raises:
        EngineError: The engine did not finish the job.
        IadsrError: The pipeline raised one of our errors.
        Exception: The pipeline raised something else.
    """
    if engine.here:
        run_in_thread(pipeline)
        return None
    if engine.server is None:  # one that Beam's own flags name, or a cloud
        with translated_submission():
            result = pipeline.run()
        with translated_engine_errors(engine.name, None, lambda: False), _ended_with(result):
            result.wait_until_finish()
        return result
    server = engine.server
    with (
        translated_engine_errors(engine.name, server.log, lambda: server.process.poll() is not None),
        _told_trouble(engine.name, server.log, say),
    ):
        result = pipeline.run()
        with _ended_with(result):
            state = result.wait_until_finish(None if seconds is None else int(seconds * 1000))
            if not PipelineState.is_terminal(state):
                raise EngineError(
                    f"{engine.name} has not finished a tiny job after {seconds:.0f} seconds",
                    code="ENGINE-SLOW",
                    found=next(iter(reversed(list(trouble_in(_read(server.log))))), None) or last_words(server.log),
                    expected="workers that take the job",
                    fix="see the cluster's web page: it may have no free cores, too little memory for an executor, or "
                    f"workers that do not start; the log here is {server.log}",
                )
            return result


@contextmanager
def _ended_with(result: PipelineResult) -> Iterator[None]:
    """Cancels a job if the block fails. It would go on, and write into a directory that is no longer locked."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            result.cancel()
        raise


def write_job(engine: Engine, pipeline: beam.Pipeline, say: Callable[[str], None]) -> None:
    """Writes a pipeline as a template or a jar, for somebody else to start.

    Args:
        engine: What it was made for.
        pipeline: The pipeline.
        say: Called with a sentence about how to start it.

    Raises:
        UsageError: The runner refused it.
        EngineError: The job server could not write it.
    """
    jar = engine.options.view_as(PortableOptions).output_executable_path
    if not jar:
        with translated_submission():
            pipeline.run()
        return
    has_ended = engine.server.process.poll if engine.server is not None else lambda: None
    with translated_engine_errors(engine.name, engine.log, lambda: has_ended() is not None):
        pipeline.run().wait_until_finish()
    if engine.submit:
        say(f"Start it with: {engine.submit} {jar}")


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def trouble_in(text: str) -> Iterator[str]:
    """Yields a sentence for each line of an engine's log that tells of trouble."""
    for match in _TROUBLE.finditer(text):
        yield match["what"] + match["rest"].rstrip(";, ")


@contextmanager
def _told_trouble(name: str, log: Path, say: Callable[[str], None]) -> Iterator[None]:
    stop = threading.Event()

    def tail() -> None:
        told: set[str] = set()
        with log.open("r", encoding="utf-8", errors="replace") as file:
            while not stop.wait(POLL_SECONDS):
                for sentence in trouble_in(file.read()):
                    if sentence not in told:
                        told.add(sentence)
                        say(f"{name}: {sentence}")

    thread = threading.Thread(target=tail, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
