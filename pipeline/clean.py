"""The clean command: checks everything that can be checked beforehand, builds the Beam graph, runs it."""

import dataclasses
import json
import math
import os
import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsList, AsSingleton

from ..models.errors import InputError
from ..transforms import files
from ..transforms.deciding import Policy
from ..transforms.drop_plan import PlanDrops
from ..transforms.embeddings import vector_bytes
from ..transforms.grouping import Sharding, Shuffle, SliceByUserShard
from ..transforms.joining import BROADCAST_BYTES, ITEM_SHARD_BYTES, BuildCatalogue, Join
from ..transforms.manifest import MANIFEST, REPORT, FinishRun, RunFacts
from ..transforms.popularity import CountItems
from ..transforms.reading import ReadSplits
from ..transforms.schema import InteractionColumns
from ..transforms.scoring import ScoreShards, StageShards, unstage
from ..transforms.shuffle_join import FetchVectors
from ..transforms.splits import InputPlan, plan_input
from ..transforms.summary import MergeSummaries
from ..transforms.writing import INTERACTIONS, REJECTED, SEQUENCES, DecideAndWrite
from .artifacts import COLLABORATIVE, ModelFacts, check_embeddings, read_model_facts, refuse_foreign
from .execution import run_in_thread, translated_errors
from .options import is_local, is_template, make_runner
from .progress import FileStep, Progress, watch_files
from .report import render_report

STAGING = ".staging"
_OUTPUTS = (INTERACTIONS, SEQUENCES, REJECTED, MANIFEST, REPORT, STAGING)
_STARTED = f"{STAGING}/started"
_SECRET = re.compile("secret|password|token|credential|key|connection_string")
_VERSIONED = ("apache-beam", "pyarrow", "torch", "numpy", "faiss-cpu", "transformers")


@dataclasses.dataclass(frozen=True)
class CleanOptions:
    """What `iadsr clean` is asked to do."""

    interactions: str
    """Log to clean: Parquet file, directory or glob."""
    embeddings: str
    """Item embeddings, as `iadsr embed` writes them."""
    model: str
    """Model directory, as `iadsr train` writes it."""
    output: str
    """Directory for the result; must not hold a finished run unless `overwrite`."""
    columns: InteractionColumns = dataclasses.field(default_factory=InteractionColumns)
    """Names of the log's columns."""
    policy: Policy = dataclasses.field(default_factory=Policy)
    """What is dropped and what is protected."""
    shards: int | None = None
    """Number of user shards; None: from the size of the input."""
    shuffle: Shuffle | None = None
    """How slices travel; None: claim-check when the pipeline runs locally, else bytes."""
    overwrite: bool = False
    """Replace a finished run in `output`."""
    join: Join | None = None
    """How items meet their vectors; None: by a shuffle where these are too large to be copied to every machine."""


def clean(options: CleanOptions, beam_options: PipelineOptions, progress: Progress) -> dict[str, Any] | None:
    """Cleans a log and returns the manifest, or None where the job runs elsewhere without us waiting.

    Raises:
        IadsrError: Input, artifacts, options or the output directory are unusable, or rows do not add up.
    """
    started = datetime.now(UTC)
    local = is_local(beam_options)
    if not local:
        _refuse_local_output(options.output, beam_options)
    with progress.task("Checking input"):
        plan = plan_input(options.interactions, options.columns)
        model = read_model_facts(options.model)
        item_type = plan.schema.field(options.columns.item).type
        embeddings = check_embeddings(options.embeddings, model, item_type)
        _prepare_output(options, plan)

    description = _describe(options, beam_options, model, embeddings, started)
    facts = RunFacts(plan.rows_by_file, options.policy, model.noise_reference, description)
    pipeline = beam.Pipeline(make_runner(beam_options), options=beam_options)
    sharding = plan.sharding(options.shards)
    build_graph(pipeline, options, plan, facts, sharding, options.shuffle or ("claim-check" if local else "bytes"))
    if not local:
        result = pipeline.run()
        if is_template(beam_options):
            return None
        with progress.task("Running on " + type(pipeline.runner).__name__), translated_errors():
            result.wait_until_finish()
    else:
        staging = files.join(options.output, STAGING)
        steps = [
            FileStep(staging, "slices-", len(plan.splits), share=0.05),
            FileStep(staging, "scored-", sharding.shards, share=0.85),
            FileStep(files.join(options.output, INTERACTIONS), "part-", sharding.shards, share=0.1),
        ]
        with watch_files(progress, "Cleaning", steps, plan.rows):
            run_in_thread(pipeline)
    return json.loads(files.read_bytes(files.join(options.output, MANIFEST)))


def build_graph(
    pipeline: beam.Pipeline,
    options: CleanOptions,
    plan: InputPlan,
    facts: RunFacts,
    sharding: Sharding,
    shuffle: Shuffle,
) -> None:
    """Builds the whole graph: read, validate, group, join, score, decide, write, close.

    Scored shards wait on disk until all of them are scored: what a score means, and from where on rows are dropped, is
    decided by the whole log.
    """
    columns, policy = options.columns, options.policy
    staging = files.join(options.output, STAGING)
    collaborative = files.join(options.model, COLLABORATIVE)

    item_shards = _item_shards(options.join, vector_bytes(options.embeddings) + vector_bytes(collaborative))
    catalogue = pipeline | "Catalogue" >> BuildCatalogue(
        options.embeddings, collaborative, files.join(staging, "catalogue"), item_shards
    )
    read = (
        pipeline
        | "Splits" >> beam.Create(plan.splits)
        | "Spread splits" >> beam.Reshuffle()
        | "Read" >> ReadSplits(columns, plan.schema, files.join(options.output, REJECTED))
    )
    catalogue_directory = AsSingleton(catalogue)
    item_counts = AsSingleton(read.valid | "Popularity" >> CountItems(columns.item, staging))
    grouped = {"rows": read.valid | "Slice" >> SliceByUserShard(columns.user, sharding, shuffle, staging)}
    if item_shards is not None:
        fetch = FetchVectors(columns, sharding, item_shards, shuffle, staging, catalogue_directory)
        grouped["vectors"] = read.valid | "Fetch vectors" >> fetch
    scored = grouped | "Score" >> ScoreShards(columns, options.model, catalogue_directory, sharding.cells)
    drop_plan = AsSingleton(scored | "Plan drops" >> PlanDrops(columns, policy, facts.noise_reference, item_counts))
    summaries = (
        scored
        | "Stage" >> StageShards(staging)
        | "Wait for the plan" >> beam.Reshuffle()
        | "Unstage" >> beam.Map(unstage)
        | "Write"
        >> DecideAndWrite(columns, policy, options.output, sharding.shards, drop_plan, item_counts, catalogue_directory)
    )
    summary = summaries | "Merge summaries" >> beam.CombineGlobally(MergeSummaries())
    _ = pipeline | "Finish" >> FinishRun(
        facts,
        options.output,
        staging,
        render_report,
        counts=AsList(read.counts),
        summary=AsSingleton(summary),
        plan=drop_plan,
        item_counts=item_counts,
        catalogue_directory=catalogue_directory,
    )


def _item_shards(join: Join | None, catalogue_bytes: int) -> int | None:
    """How many parts the catalogue is cut into, by its size alone; None where every machine gets it whole."""
    if join == "broadcast" or (join is None and catalogue_bytes <= BROADCAST_BYTES):
        return None
    return math.ceil(catalogue_bytes / ITEM_SHARD_BYTES)


def _prepare_output(options: CleanOptions, plan: InputPlan) -> None:
    output = options.output
    for path in (*plan.rows_by_file, options.embeddings, options.model):
        if _absolute(path).startswith(_absolute(output) + "/"):
            raise InputError(
                f"{path} lies inside the output directory {output}",
                expected="an output directory apart from everything that is read",
                fix="choose another --output",
            )
    names = [name for name in files.list_names(output) if not name.startswith(files.TEMPORARY_PREFIX)]
    if MANIFEST in names and not options.overwrite:
        raise InputError(
            f"{output} already holds a finished run",
            found=MANIFEST,
            fix="choose another --output, or pass --overwrite to replace it",
        )
    # Only a run of ours is replaced: folders named as ours may well be somebody's data.
    ours = _OUTPUTS if MANIFEST in names or _STARTED in names else ()
    foreign = sorted({name.split("/")[0] for name in names} - set(ours))
    refuse_foreign(output, foreign)
    # The mark comes first and the manifest goes next: what is left is known to be ours, and to be unfinished.
    files.write_atomically(files.join(output, _STARTED), lambda file: None)
    files.delete(files.join(output, MANIFEST))
    stale = [name for name in names if name.startswith(f"{STAGING}/") and name != _STARTED]
    files.delete(*(files.join(output, name) for name in (INTERACTIONS, SEQUENCES, REJECTED, REPORT, *stale)))


def _absolute(path: str) -> str:
    return os.path.realpath(path) if files.is_local(path) else path.rstrip("/")


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
            **dataclasses.asdict(options),
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


def _refuse_local_output(output: str, beam_options: PipelineOptions) -> None:
    """What a worker writes to a local path in its container is gone with the container."""
    environment = beam_options.get_all_options().get("environment_type") or "DOCKER"
    if files.is_local(output) and environment.upper() == "DOCKER":
        raise InputError(
            f"The output {output} is a path of this machine, but workers run in containers",
            found=f"--output={output} with --environment_type={environment}",
            expected="a path that all workers and this machine share, such as gs://, s3:// or hdfs://",
            fix="name a shared path, or run workers on this machine with --environment_type=LOOPBACK",
        )
