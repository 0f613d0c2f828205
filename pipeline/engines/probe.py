"""Asks the workers of an engine what they have and see, with a tiny job: for `iadsr doctor`."""

import dataclasses
import os
import platform
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics.metric import Metrics, MetricsFilter

from ...models.core.errors import EngineError, InputError, StoreError
from ...transforms.files import storage
from ...transforms.files.listing import list_files
from .engine import Engine
from .engine_options import EngineOptions
from .run_on import run_on
from .versions import as_text, installed_versions, refuse_other_versions

PROBE_SECONDS = 180
QUESTIONS = 8
"""Elements of the job; more than one for each worker of a small cluster."""

_SEEN = "iadsr.probe"


def for_probe(asked: EngineOptions) -> EngineOptions:
    """Returns an engine's options for a probe: what a worker misses does not come by trying again."""
    once = "spark.task.maxFailures"
    if asked.address is None or asked.address.kind != "spark" or once in asked.settings:
        return asked
    return dataclasses.replace(asked, engine_options=(*(asked.engine_options or ()), f"{once}=1"))


@dataclass(frozen=True)
class Question:
    """What a worker is asked."""

    versions: str
    """The versions of the machine that submits the job."""
    paths: tuple[str, ...]
    """Inputs that it has to see."""
    output: str | None
    """A file beside the output that it has to see; None: not asked."""
    room: int
    """Bytes that it needs for temporary files."""


def answer(question: Question) -> str:
    """Checks what a worker has and sees. Returns its machine's name.

    Raises:
        EngineError: It has other versions, does not see a path, or has no room.
        StoreError: A store does not serve it.
    """
    refuse_other_versions(question.versions, installed_versions())
    machine = platform.node()
    for path in (*question.paths, *filter(None, (question.output,))):
        if not _is_seen(path):
            raise EngineError(
                f"A worker on {machine} does not see a path of this run",
                code="ENGINE-PATH",
                found=f"no {path} there",
                expected="paths that all workers and the machine that submits the job share",
                fix="put inputs and output on a mount that all machines have at the same place, or in an object store",
            )
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < question.room:
        raise EngineError(
            f"A worker on {machine} has no room for the item vectors",
            code="ENGINE-ROOM",
            found=f"{free >> 20:,} MiB free in {folder}",
            expected=f"{question.room >> 20:,} MiB",
            fix="make room, let TMPDIR name another disk there, or run with --join shuffle",
        )
    return machine


def _is_seen(path: str) -> bool:
    if storage.is_local(path) and os.path.exists(path):
        return True
    try:
        list_files(path)
    except StoreError:
        raise
    except InputError:
        return False
    return True


class _Ask(beam.DoFn):
    def __init__(self, question: Question):
        self._question = question

    def process(self, element: int) -> Iterator[str]:
        machine = answer(self._question)
        Metrics.counter(_SEEN, machine).inc()
        yield machine


def ask_workers(engine: Engine, paths: tuple[str, ...], output: str | None, room: int) -> str:
    """Has workers of an engine check versions, paths and room.

    Args:
        engine: The engine.
        paths: Inputs.
        output: Directory of the output; None: not asked.
        room: Bytes that they need for temporary files.

    Returns:
        A sentence about them.

    Raises:
        EngineError: They miss something, or do not answer in time.
    """
    mark = _mark_beside(output)
    try:
        pipeline = beam.Pipeline(engine.runner, options=engine.options)
        question = Question(as_text(installed_versions()), paths, mark, room)
        _ = pipeline | beam.Create(range(QUESTIONS)) | beam.Reshuffle() | "Ask" >> beam.ParDo(_Ask(question))
        result = run_on(engine, pipeline, lambda sentence: None, seconds=PROBE_SECONDS)
        counters = result.metrics().query(MetricsFilter().with_namespace(_SEEN))["counters"] if result else []
        machines = sorted({counter.key.metric.name for counter in counters})
    finally:
        if mark is not None:
            os.unlink(mark)
    where = f" on {', '.join(machines)}" if machines else ""
    sees = "; they see all paths" if paths or output else ""
    return f"the same versions as here{where}{sees}"


def _mark_beside(output: str | None) -> str | None:
    """Makes an empty file in the output directory, or in the first one above it that exists."""
    if output is None or not storage.is_local(output):
        return None
    place = os.path.abspath(output)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    mark = os.path.join(place, f"{storage.TEMPORARY_PREFIX}doctor-{uuid.uuid4().hex}")
    try:
        with open(mark, "xb"):
            return mark
    except OSError:
        return None  # the check of the output tells it
