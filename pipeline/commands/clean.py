"""The clean command: checks everything that can be checked in advance, builds the Beam graph, and runs it."""

import dataclasses
import hashlib
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from ...models.core.errors import InputError, UsageError
from ...transforms.contract.output_layout import INTERACTIONS, KEPT_SCORES
from ...transforms.contract.schemas import refuse_taken_names
from ...transforms.contract.sharding import Sharding
from ...transforms.files import storage
from ...transforms.files.found_files import HIDDEN, NOT_PARQUET, find_files
from ...transforms.judge.artifacts import COLLABORATIVE, ModelFacts, changed_vectors, check_embeddings, read_model_facts
from ...transforms.judge.kept_scores import ScoreKeeping
from ...transforms.read.forgotten import forgotten_files, forgotten_users
from ...transforms.read.input_plan import InputPlan, plan_input
from ...transforms.rules.rule_set import RuleSet, check_rule_columns, make_rules
from ...transforms.run.gates import read_gates
from ...transforms.run.manifest import Manifest, ModelOrigin, read_manifest
from ...transforms.run.output_directory import check_place, locked
from ...transforms.run.published_runs import (
    LATEST,
    RUN_PREFIX,
    latest_run,
    locate,
    retract,
    run_before,
    unpublished_run,
)
from ...transforms.run.run_facts import RunDescription, RunFacts
from ...transforms.run.run_store import MACHINE, RunStore
from ..engines.engine import Engine, open_engine
from ..engines.engine_errors import translated_submission
from ..engines.engine_options import without_secrets
from ..engines.progress import Progress
from ..engines.run_on import run_on, write_job
from ..engines.runner import is_template
from ..engines.versions import VERSIONED
from ..engines.watch_files import file_steps, watch_files
from .clean_graph import build_graph
from .command_options import CleanOptions
from .messages import describe_cleaning, describe_vector_files
from .publish import PublishResult, check_and_publish
from .results import Result, Table


@dataclasses.dataclass(frozen=True, repr=False)
class CleanResult(Result):
    """What `iadsr clean` did."""

    manifest: Manifest | None
    """All counts and origins, as in manifest.json; None if a job template was written and nothing has run yet."""
    output: str
    """Directory of the result."""
    publication: PublishResult | None = None
    """What the gates say, and whether the run is published. None if it is in no dataset directory."""

    def __str__(self) -> str:
        """Says what was dropped, why, where the result is, and whether it is published."""
        described = describe_cleaning(self.manifest, self.output)
        return described if self.publication is None else f"{described}\n\n{self.publication}"

    @property
    def passed(self) -> bool:
        """Whether no gate fails, if the run is in a dataset directory."""
        return self.publication is None or self.publication.passed

    def figures(self) -> dict[str, Any]:
        """Returns the numbers of rows and users, the reasons that occurred, and the share of noise."""
        if self.manifest is None:
            return {"output": self.output}
        rows, users, share = self.manifest.rows, self.manifest.users, self.manifest.noise_share
        reasons = dataclasses.asdict(self.manifest.reasons).items()
        return {
            "output": self.output,
            "run": self.manifest.run,
            "rows": dataclasses.asdict(rows),
            "users": dataclasses.asdict(users),
            "reasons": {kind: {code: n for code, n in counts.items() if n} for kind, counts in reasons},
            "noise_share": share and share.estimate,
            "seconds": self.manifest.total_seconds,
            **({} if self.publication is None else {"publication": self.publication.figures()}),
        }

    def tables(self) -> Iterator[Table]:
        """Returns the numbers of interactions, in all and by reason."""
        if self.manifest is not None:
            yield [["interactions", ""], *dataclasses.asdict(self.manifest.rows).items()]
            reasons = dataclasses.asdict(self.manifest.reasons).items()
            yield [
                ["", "reason", "interactions"],
                *((kind, reason, count) for kind, counts in reasons for reason, count in counts.items() if count),
            ]
        if self.publication is not None:
            yield from self.publication.tables()


def run_clean(options: CleanOptions, beam_options: PipelineOptions, progress: Progress | None = None) -> CleanResult:
    """Cleans a log.

    Raises:
        IadsrError: Input, artifacts, options or the output directory are unusable, or rows do not add up.
    """
    started, progress = datetime.now(UTC), progress or Progress(None)
    bounds = {} if options.gates is None else read_gates(options.gates)
    if options.engine.address is not None:
        options = with_absolute_paths(options)
    columns = options.log.columns
    with progress.task("Checking input"):
        plan = plan_input(options.log)
        if columns.forget is not None:
            forgotten_users(columns.forget)  # before the work, which may take hours
        refuse_taken_names(plan.schema.names, options.added, options.log.path, **options.adds)
        item_type = plan.schema.field(columns.item).type
        check_rule_columns(options.rules, plan.schema, options.log.columns)
        rules = make_rules(options.rules, columns.item, item_type)
        model, embeddings, notes = None, None, list(plan.notes)
        if options.model is not None and options.embeddings is not None:
            model = read_model_facts(options.model)
            embeddings = check_embeddings(options.embeddings, model, item_type)
            notes += describe_vector_files(options.embeddings)
            if changed := changed_vectors(options.embeddings, model):
                notes.append(changed)
                progress.say(changed)  # before the work, which may take hours
    plan = dataclasses.replace(plan, files=(*plan.files, *forgotten_files(columns.forget)))
    sharding = plan.sharding(options.shards)
    artifacts = filter(None, (options.embeddings, options.model))
    reads = (*plan.rows_by_file, *(file.path for file in plan.skipped), *artifacts)
    identity = _identity(options, plan, rules, model, sharding)
    output, dataset = _output(options, identity, started), options.dataset
    check_place(output, options.log.path, reads)
    # Whether the engine can be used is known before an earlier result is touched.
    with open_engine(options.engine, beam_options, sharding.shards) as engine:
        if dataset is not None and is_template(engine.options):
            raise UsageError(
                "--dataset needs a run that is waited for, and a job template is started later",
                code="OPTION-TEMPLATE",
                found=f"--dataset {dataset}",
                fix="give --output, and run `iadsr publish` when the job has finished",
            )
        with locked(output):
            if not engine.here:
                refuse_local_output(output, engine.options)
            if dataset is not None and options.overwrite:
                _retract(dataset, output, progress)
            store = RunStore.open(
                output,
                identity,
                sharding.shards,
                overwrite=options.overwrite,
                say=progress.say,
                again=dataset is not None,
            )
            if store is None:
                manifest = read_manifest(output)
            else:
                progress.about(run=store.token)
                keeping, earlier = None, None
                if dataset is not None and model is not None:
                    keeping, earlier = _keep_scores(dataset, store, progress)
                facts = RunFacts(
                    plan.rows_by_file,
                    options.policy,
                    _describe(options, beam_options, model, embeddings, started),
                    inputs=plan.files,
                    skipped=plan.skipped,
                    tables=plan.tables,
                    notes=(*notes, *_trained_otherwise(options, model)),
                    directory=_working_directory(plan),
                    max_rejected=options.log.max_rejected,
                    columns=options.log.columns,
                    report_users=options.report_users,
                    earlier_run=earlier,
                )
                manifest = _run(options, engine, progress, plan, facts, rules, model, sharding, store, keeping)
            if dataset is None:
                return CleanResult(manifest, output)
            against = run_before(*locate(output))
            published = check_and_publish(output, against, bounds, options.keep_runs, backwards=False)
            return CleanResult(manifest, output, published)


def _output(options: CleanOptions, identity: dict[str, str], started: datetime) -> str:
    """Returns the directory of the run. Without an id, a run that has not come to its end is continued."""
    place = storage.without_trailing_slashes(options.place)
    if options.dataset is None:
        return place
    if options.run_id is not None:
        return storage.join(place, f"{RUN_PREFIX}{options.run_id}")
    unpublished = unpublished_run(place, identity)
    return storage.join(place, unpublished or f"{RUN_PREFIX}{started:%Y%m%dT%H%M%SZ}")


def _retract(dataset: str, output: str, progress: Progress) -> None:
    """Lets readers take an earlier run if the one that they take now is to be replaced."""
    _, name = locate(output)
    if latest_run(dataset) == name:
        before = retract(dataset, name)
        progress.say(f"{name} is replaced. Until it is published again, {LATEST} points to {before or 'no run'}.")


def _keep_scores(dataset: str, store: RunStore, progress: Progress) -> tuple[ScoreKeeping, str | None]:
    """Returns where the run keeps its scores, and the published run from which it takes over those that still hold."""
    keeping = ScoreKeeping(storage.join(store.output, KEPT_SCORES), store.shards)
    latest = latest_run(dataset)
    if latest is None:
        return keeping, None
    identity, kept = read_manifest(storage.join(dataset, latest)).identity, storage.join(dataset, latest, KEPT_SCORES)
    changed = [name for name in ("model", "versions", "processor") if identity.get(name) != store.identity[name]]
    files = storage.list_names(kept)
    if changed or not files:
        why = f"differs in {', '.join(changed)}" if changed else "has kept no scores"
        progress.say(f"All users are scored: {latest} {why}.")
        return keeping, None
    return dataclasses.replace(keeping, earlier=tuple(storage.join(kept, name) for name in files)), latest


def _run(
    options: CleanOptions,
    engine: Engine,
    progress: Progress,
    plan: InputPlan,
    facts: RunFacts,
    rules: RuleSet,
    model: ModelFacts | None,
    sharding: Sharding,
    store: RunStore,
    keeping: ScoreKeeping | None,
) -> Manifest | None:
    with translated_submission():
        pipeline = beam.Pipeline(engine.runner, options=engine.options)
    shuffle = options.shuffle
    if shuffle == "auto":
        shuffle = "claim-check" if storage.is_local(store.output) else "bytes"
    build_graph(pipeline, options, plan, facts, rules, model, sharding, shuffle, store, keeping)
    if is_template(engine.options):
        write_job(engine, pipeline, progress.say)
        return None
    staged = [("slices-", len(plan.splits), 3)] if shuffle == "claim-check" else []
    staged += [("ruled-", sharding.shards, 2), *([("scored-", sharding.shards, 40)] if model is not None else [])]
    written = storage.join(store.output, INTERACTIONS), "part-", sharding.shards, 5
    steps = file_steps([*((store.staging, *each) for each in staged), written])
    with watch_files(progress, "Cleaning" if engine.here else f"Cleaning on {engine.name}", steps, plan.rows):
        run_on(engine, pipeline, progress.say)
    return read_manifest(store.output)


def _identity(
    options: CleanOptions, plan: InputPlan, rules: RuleSet, model: ModelFacts | None, sharding: Sharding
) -> dict[str, str]:
    """Fingerprints everything that the bytes of a result depend on. An interrupted run resumes if none has changed."""
    embeddings = ()
    if options.model is not None and options.embeddings is not None:
        embeddings = (options.embeddings, storage.join(options.model, COLLABORATIVE))
    parts = {
        "input": [*plan.files, *(file for file in plan.skipped if file.code not in (NOT_PARQUET, HIDDEN))],
        "options": [
            options.log.columns,
            options.added,
            options.policy,
            options.log.on_bad_file,
            sharding,
            options.hold_out,
        ],
        "rules": [rules.fingerprint],
        "model": [model and model.fingerprint],
        "embeddings": [info for path in embeddings for info in find_files(path).files],
        "versions": [metadata.version(name) for name in ("iadsr", *VERSIONED)] + [platform.python_version()],
        "processor": [platform.machine()],  # another one may round differently
        # After a crash of the machine, files may be empty that had not reached the disk.
        MACHINE: [_boot() if storage.is_local(options.place) else ""],
    }
    return {name: hashlib.sha256(repr(part).encode(errors="replace")).hexdigest() for name, part in parts.items()}


def _trained_otherwise(options: CleanOptions, model: ModelFacts | None) -> list[str]:
    """Says if the model may have learned from what is held out, or from a log with other behaviours."""
    if model is None:
        return []
    columns, told = options.log.columns, []
    behaviours = None if columns.behaviour is None else columns.behaviours or ()
    if model.behaviours != behaviours:
        told.append(
            f"The model was trained {_with_behaviours(model.behaviours)}, and this run is "
            f"{_with_behaviours(behaviours)}. If it is the same log, give both the same: else the share of noise is "
            "estimated from other evidence than the model has learned from."
        )
    if model.hold_out < options.hold_out:
        told.append(
            f"The model was trained with --hold-out {model.hold_out}: if it was trained on this log, it has seen what "
            f"--hold-out {options.hold_out} sets aside. For a fair test, train it with --hold-out {options.hold_out} "
            "too."
        )
    return told


def _with_behaviours(order: tuple[str, ...] | None) -> str:
    if order is None:
        return "without --behaviour-column"
    return f"with --behaviours {','.join(order)}" if order else "with --behaviour-column, without --behaviours"


def _working_directory(plan: InputPlan) -> str | None:
    """Returns the working directory if a file of the input is named relative to it."""
    relative = any(storage.is_local(file.path) and not os.path.isabs(file.path) for file in plan.files)
    return os.getcwd() if relative else None


def _boot() -> str:
    """Returns an id that changes when the machine restarts; the machine's name if it has none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return platform.node()


def _describe(
    options: CleanOptions,
    beam_options: PipelineOptions,
    model: ModelFacts | None,
    embeddings: dict[str, Any] | None,
    started: datetime,
) -> RunDescription:
    return RunDescription(
        iadsr_version=metadata.version("iadsr"),
        started_at=started.isoformat(timespec="milliseconds"),
        model=None
        if model is None
        else ModelOrigin(
            model.path,
            model.fingerprint,
            model.backbone,
            model.metrics,
            _changed_at(storage.join(model.path, COLLABORATIVE)),
        ),
        embeddings=None
        if embeddings is None or options.embeddings is None
        else {"path": options.embeddings, **embeddings, "changed_at": _changed_at(options.embeddings)},
        options={
            **options.recorded(),
            "beam": {
                name: without_secrets(name, value)
                for name, value in beam_options.get_all_options(drop_default=True).items()
                if _is_plain(value)
            },
        },
        versions={"python": platform.python_version(), **{name: metadata.version(name) for name in VERSIONED}},
    )


def _changed_at(path: str) -> float:
    """Returns the time of the last change to the Parquet files of a directory; 0 if it is not known."""
    return max((file.updated for file in find_files(path).files), default=0.0)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, list))


def with_absolute_paths(options: CleanOptions) -> CleanOptions:
    """Returns the options with full paths: the workers of an engine start in other directories."""

    def full(path: str | None) -> str | None:
        return os.path.abspath(path) if path is not None and storage.is_local(path) else path

    return dataclasses.replace(
        options,
        log=dataclasses.replace(
            options.log,
            path=full(options.log.path),
            columns=dataclasses.replace(options.log.columns, forget=full(options.log.columns.forget)),
        ),
        output=full(options.output),
        dataset=full(options.dataset),
        embeddings=full(options.embeddings),
        model=full(options.model),
    )


def refuse_local_output(output: str, beam_options: PipelineOptions) -> None:
    """Checks that workers of another runner can write to a directory.

    Raises:
        InputError: It is a local path. In a container, what a worker writes there is lost with the container.
    """
    environment = beam_options.get_all_options().get("environment_type") or "DOCKER"
    if storage.is_local(output) and environment.upper() == "DOCKER":
        raise InputError(
            f"The output {output} is a path of this machine, but workers run in containers",
            code="OUTPUT-CONTAINER",
            found=f"--output={output} with --environment_type={environment}",
            expected="a path that all workers and this machine share, such as gs://, s3:// or hdfs://",
            fix="name a shared path; a portable runner on this machine can also take --environment_type=LOOPBACK",
        )
