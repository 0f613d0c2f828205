"""The clean command: checks everything that can be checked in advance, builds the Beam graph, and runs it."""

import dataclasses
import hashlib
import math
import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Literal

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsList, AsSingleton

from ...models.core.errors import InputError
from ...transforms.contract.output_layout import INTERACTIONS, REJECTED, STAGING
from ...transforms.contract.sharding import Sharding
from ...transforms.files import storage
from ...transforms.files.listing import match_files
from ...transforms.items.embedding_files import vector_bytes
from ...transforms.items.item_counts import CountItems
from ...transforms.items.joined_items import BROADCAST_BYTES, ITEM_SHARD_BYTES, JoinItems
from ...transforms.items.shuffle_join import FetchVectors
from ...transforms.judge.drop_plan import PlanDrops
from ...transforms.judge.score_shards import ScoreShards, StageShards, unstage
from ...transforms.read.input_plan import InputPlan, plan_input
from ...transforms.read.read_splits import ReadSplits, SplitCounts
from ...transforms.run.conservation import check_rejected
from ...transforms.run.finish_run import FinishRun
from ...transforms.run.manifest import read_manifest
from ...transforms.run.output_directory import check_place, locked
from ...transforms.run.resuming import discard_work_on_other_rows
from ...transforms.run.run_facts import RunFacts
from ...transforms.run.run_store import prepare_output
from ...transforms.shuffle.slices import Shuffle, SliceByUserShard
from ...transforms.write.shards import DecideAndWrite
from ...transforms.write.summary import MergeSummaries
from ..engines.engine_errors import run_in_thread, translated_errors, translated_submission
from ..engines.progress import Progress
from ..engines.runner import is_template, make_runner, runs_here
from ..engines.watch_files import FileStep, watch_files
from ..report.render import render_report
from .artifacts import COLLABORATIVE, ModelFacts, check_embeddings, read_model_facts
from .command_options import CleanOptions
from .messages import describe_cleaning
from .results import Result, Table

_SECRET = re.compile("secret|password|token|credential|key|connection_string")

_VERSIONED = ("apache-beam", "pyarrow", "torch", "numpy", "numba", "faiss-cpu", "transformers")


@dataclasses.dataclass(frozen=True, repr=False)
class CleanResult(Result):
    """What `iadsr clean` did."""

    manifest: dict[str, Any] | None
    """All counts and origins, as in manifest.json; None if a job template was written and nothing has run yet."""
    output: str
    """Directory of the result."""

    def __str__(self) -> str:
        """Says what was dropped, why, and where the result is."""
        return describe_cleaning(self.manifest, self.output)

    def tables(self) -> Iterator[Table]:
        """Returns the numbers of interactions, in all and by reason."""
        if self.manifest is not None:
            rows, reasons = self.manifest["rows"], self.manifest["reasons"]
            yield [["interactions", ""], *((name, rows[name]) for name in ("read", "kept", "dropped", "rejected"))]
            yield [
                ["", "reason", "interactions"],
                *((kind, reason, count) for kind in reasons for reason, count in reasons[kind].items() if count),
            ]


def run_clean(options: CleanOptions, beam_options: PipelineOptions, progress: Progress | None = None) -> CleanResult:
    """Cleans a log.

    Raises:
        IadsrError: Input, artifacts, options or the output directory are unusable, or rows do not add up.
    """
    started, progress = datetime.now(UTC), progress or Progress(None)
    options = dataclasses.replace(options, output=storage.without_trailing_slashes(options.output))
    if not runs_here(beam_options):
        refuse_local_output(options.output, beam_options)
    with progress.task("Checking input"):
        plan = plan_input(options.log)
        model = read_model_facts(options.model)
        item_type = plan.schema.field(options.log.columns.item).type
        embeddings = check_embeddings(options.embeddings, model, item_type)
    sharding = plan.sharding(options.shards)
    reads = (*plan.rows_by_file, *(file.path for file in plan.skipped), options.embeddings, options.model)
    check_place(options.output, options.log.path, reads)
    identity = _identity(options, plan, model, sharding)
    with locked(options.output):
        marker = prepare_output(options.output, identity, overwrite=options.overwrite, say=progress.say)
        if marker is None:
            return CleanResult(read_manifest(options.output), options.output)
        facts = RunFacts(
            plan.rows_by_file,
            options.policy,
            model.noise_reference,
            _describe(options, beam_options, model, embeddings, started),
            inputs=plan.files,
            skipped=plan.skipped,
            max_rejected=options.log.max_rejected,
            report_users=options.report_users,
            token=marker.token,
        )
        staging = storage.join(options.output, *marker.staging.split("/"))
        manifest = _run(options, beam_options, progress, plan, facts, sharding, staging)
        return CleanResult(manifest, options.output)


def _run(
    options: CleanOptions,
    beam_options: PipelineOptions,
    progress: Progress,
    plan: InputPlan,
    facts: RunFacts,
    sharding: Sharding,
    staging: str,
) -> dict[str, Any] | None:
    local = runs_here(beam_options)
    with translated_submission():
        pipeline = beam.Pipeline(make_runner(beam_options), options=beam_options)
    shuffle = options.shuffle
    if shuffle == "auto":
        shuffle = "claim-check" if local else "bytes"
    build_graph(pipeline, options, plan, facts, sharding, shuffle, staging)
    if not local:
        with translated_submission():
            result = pipeline.run()
        if is_template(beam_options):
            return None
        with progress.task("Running on " + type(pipeline.runner).__name__), translated_errors():
            result.wait_until_finish()
    else:
        steps = [
            FileStep(staging, "slices-", len(plan.splits), share=0.05),
            FileStep(staging, "scored-", sharding.shards, share=0.85),
            FileStep(storage.join(options.output, INTERACTIONS), "part-", sharding.shards, share=0.1),
        ]
        with watch_files(progress, "Cleaning", steps, plan.rows):
            run_in_thread(pipeline)
    return read_manifest(options.output)


def build_graph(
    pipeline: beam.Pipeline,
    options: CleanOptions,
    plan: InputPlan,
    facts: RunFacts,
    sharding: Sharding,
    shuffle: Shuffle,
    staging: str,
) -> None:
    """Builds the whole graph: read, validate, group, join, score, decide, write, close.

    Scored shards wait on disk until all of them are scored: what a score means, and from where on rows are dropped, is
    decided by the whole log.
    """
    columns, policy = options.log.columns, options.policy
    collaborative = storage.join(options.model, COLLABORATIVE)

    item_shards = _item_shards(options.join, vector_bytes(options.embeddings) + vector_bytes(collaborative))
    # Under names of their own, so that a run may be gone on with by the other join.
    catalogue_place = storage.join(staging, "catalogue" if item_shards is None else "item_shards")
    catalogue = pipeline | "Catalogue" >> JoinItems(options.embeddings, collaborative, catalogue_place, item_shards)
    read = (
        pipeline
        | "Splits" >> beam.Create(plan.splits)  # which spreads them over the workers
        | "Read" >> ReadSplits(columns, plan.schema, storage.join(options.output, REJECTED), options.log.on_bad_file)
    )
    # Scoring needs the catalogue, and so waits until it is known which rows are valid, and that enough of them are.
    check = beam.Map(_pass_on, facts, options.output, staging, AsList(read.counts))
    catalogue_directory = AsSingleton(catalogue | "Check rejected" >> check)
    # What is None where no row is usable has no reader then but the last step, which refuses such a log first.
    item_counts = AsSingleton(read.valid | "Popularity" >> CountItems(columns.item, staging), None)
    grouped = {"rows": read.valid | "Slice" >> SliceByUserShard(columns.user, sharding, shuffle, staging)}
    if item_shards is not None:
        fetch = FetchVectors(columns, sharding, item_shards, shuffle, staging, catalogue_directory)
        grouped["vectors"] = read.valid | "Fetch vectors" >> fetch
    scored = grouped | "Score" >> ScoreShards(columns, options.model, catalogue_directory, sharding.cells, staging)
    plan_drops = PlanDrops(columns, policy, facts.noise_reference, item_counts)
    drop_plan = AsSingleton(scored | "Plan drops" >> plan_drops, None)
    summaries = (
        scored
        | "Stage" >> StageShards(staging)
        | "Wait for the plan" >> beam.GroupByKey()
        | "Unstage" >> beam.Map(unstage)
        | "Write"
        >> DecideAndWrite(
            columns,
            policy,
            options.output,
            sharding.shards,
            facts.first_rows,
            drop_plan,
            item_counts,
            catalogue_directory,
        )
    )
    summary = summaries | "Merge summaries" >> beam.CombineGlobally(MergeSummaries()).without_defaults()
    _ = pipeline | "Finish" >> FinishRun(
        facts,
        options.output,
        storage.join(options.output, STAGING),
        render_report,
        counts=AsList(read.counts),
        summary=AsSingleton(summary, None),
        plan=drop_plan,
        item_counts=item_counts,
        catalogue_directory=catalogue_directory,
    )


def _item_shards(join: Literal["auto", "broadcast", "shuffle"], catalogue_bytes: int) -> int | None:
    """How many parts the catalogue is cut into, by its size alone; None where every machine gets it whole."""
    if join == "broadcast" or (join == "auto" and catalogue_bytes <= BROADCAST_BYTES):
        return None
    return max(math.ceil(catalogue_bytes / ITEM_SHARD_BYTES), 1)


def _pass_on(directory: str, facts: RunFacts, output: str, staging: str, counts: list[SplitCounts]) -> str:
    check_rejected(facts, counts)
    discard_work_on_other_rows(output, staging, counts)
    return directory


def _identity(options: CleanOptions, plan: InputPlan, model: ModelFacts, sharding: Sharding) -> dict[str, str]:
    """Fingerprints everything that the bytes of a result depend on. An interrupted run resumes if none has changed."""
    embeddings = (options.embeddings, storage.join(options.model, COLLABORATIVE))
    parts = {
        "input": [*plan.files, *plan.skipped],
        "options": [options.log.columns, options.policy, options.log.on_bad_file, sharding],
        "model": [model.fingerprint],
        "embeddings": [info for path in embeddings for info in match_files(path)],
        "versions": [metadata.version(name) for name in ("iadsr", *_VERSIONED)] + [platform.python_version()],
        # After a crash of the machine, files may be empty that had not reached the disk. Another processor may round
        # differently.
        "machine": [_boot() if storage.is_local(options.output) else "", platform.machine()],
    }
    return {name: hashlib.sha256(repr(part).encode(errors="replace")).hexdigest() for name, part in parts.items()}


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
    model: ModelFacts,
    embeddings: dict[str, Any],
    started: datetime,
) -> dict[str, Any]:
    return {
        "iadsr_version": metadata.version("iadsr"),
        "started_at": started.isoformat(timespec="seconds"),
        "model": {
            "path": options.model,
            "fingerprint": model.fingerprint,
            "backbone": model.backbone,
            "metrics": model.metrics,
        },
        "embeddings": {"path": options.embeddings, **embeddings},
        "options": {
            **options.recorded(),
            "beam": {
                name: "(hidden)" if _SECRET.search(name) else value
                for name, value in beam_options.get_all_options(drop_default=True).items()
                if _is_plain(value)
            },
        },
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _VERSIONED}},
    }


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, list))


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
