"""The train command: reads the log with the reader of the pipeline, joins the embeddings, trains, writes the model."""

import dataclasses
import re
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from ...models.core.errors import IadsrError, InputError
from ...models.detector.model_config import BackboneName, HeadName, IADSRConfig
from ...models.detector.model_files import CARD, CONFIG, WEIGHTS, fingerprint_of
from ...models.noise.share import MIN_REFERENCE
from ...models.training.train_model import TrainingProgress, TrainingResult, train_model
from ...models.training.training_config import TrainingConfig
from ...transforms.contract.columns import InteractionColumns
from ...transforms.contract.python_values import python_values
from ...transforms.files import storage
from ...transforms.items.embedding_files import PART_NAME, read_embeddings, read_kind, write_embeddings
from ...transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable, align, normalise_item_ids
from ...transforms.items.embedding_table import fingerprint as embedding_fingerprint
from ...transforms.judge.artifacts import COLLABORATIVE, check_item_types
from ...transforms.read.input_plan import InputPlan, OnBadFile, SkippedFile, plan_input
from ...transforms.read.ordering import OrderedShard, order_interactions
from ...transforms.read.read_splits import read_split
from ...transforms.read.rejected_rows import MAX_REJECTED, check_max_rejected, list_reasons, refuse_too_many
from ...transforms.run.output_directory import locked, refuse_foreign, refuse_inside
from ..engines.progress import Progress

_STAGES = {
    "collaborative": "next-item prediction",
    "alignment": "alignment",
    "context": "interests of the rest",
    "head": "noise head",
}


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """What `iadsr train` is asked to do."""

    interactions: str
    """Log to learn from: Parquet file, directory or glob."""
    embeddings: str
    """Item embeddings, as `iadsr embed` writes them."""
    output: str
    """Directory for the model; must be new or empty unless `overwrite`."""
    columns: InteractionColumns = dataclasses.field(default_factory=InteractionColumns)
    """Names of the log's columns."""
    backbone: BackboneName = "gru4rec"
    """The sequential recommender that the model is built on."""
    seed: int = 0
    """Same data and seed give the same model."""
    overwrite: bool = False
    """Replace a model in `output`."""
    head: HeadName = "agreement"
    """What turns agreement into a noise probability."""
    on_bad_file: OnBadFile = "fail"
    """What to do about files of the log that cannot be used."""
    max_rejected: float = MAX_REJECTED
    """Share of rejected rows above which the training does not begin."""

    def __post_init__(self):
        """Refuses values outside their range."""
        check_max_rejected(self.max_rejected)


@dataclasses.dataclass(frozen=True)
class TrainSummary:
    """What came out of a training."""

    metrics: dict[str, Any]
    """Counts and held-out measurements, as in the model card."""
    rejected: dict[str, int]
    """Rows that could not be used, by reason."""
    items_without_text: int
    """Items of the log that the embeddings have no vector for."""
    skipped: tuple[SkippedFile, ...] = ()
    """Files of the log that were left out."""
    knows_noise: bool = True
    """Whether enough noise was inserted to know what noise scores, without which no log's share of it is estimated."""


def train(options: TrainOptions, progress: Progress) -> TrainSummary:
    """Trains a model on a log and writes it with its collaborative item embeddings.

    Raises:
        IadsrError: Log, embeddings, options or the output directory are unusable.
    """
    with progress.task("Reading the log") as task:
        plan = plan_input(options.interactions, options.columns, options.on_bad_file)
        for source in (options.interactions, options.embeddings):
            refuse_inside(options.output, source, (WEIGHTS, CARD, CONFIG, f"{COLLABORATIVE}/part-00000.parquet"))
        check_output(options.output, options.overwrite)
        embeddings = read_embeddings(options.embeddings, kind="semantic")
        item_type = plan.schema.field(options.columns.item).type
        check_item_types(options.embeddings, embeddings.item_ids.type, item_type)
        log, rejected = read_log(
            plan, options.columns, on_bad_file=options.on_bad_file, max_rejected=options.max_rejected
        )
        item_ids = normalise_item_ids(log.item_ids, file=options.interactions, name=options.columns.item)
        semantic, has_semantic = _semantic_vectors(item_ids, embeddings, options.embeddings)
        task.note = f"{len(log.items):,} interactions, {len(log.offsets) - 1:,} users, {len(log.item_ids):,} items"

    with locked(options.output):
        # Another run may have ended since.
        check_output(options.output, options.overwrite)
        result = _train(options, log, semantic, has_semantic, progress)
        result.model.provenance = {
            "embeddings": embeddings.metadata.to_dict(),
            "embeddings_fingerprint": embedding_fingerprint(embeddings),
            "backbone": options.backbone,
            "head": options.head,
            "seed": options.seed,
        }
        write_model(options.output, result, item_ids)
    knows_noise = bool(result.model.noise_reference.sum() >= MIN_REFERENCE)
    return TrainSummary(result.metrics, dict(rejected), int((~has_semantic).sum()), plan.skipped, knows_noise)


def _train(
    options: TrainOptions, log: OrderedShard, semantic: np.ndarray, has_semantic: np.ndarray, progress: Progress
) -> TrainingResult:
    with progress.task("Training", total=1.0) as task:
        result = train_model(
            log.sequences(options.columns),
            semantic,
            has_semantic,
            IADSRConfig(backbone=options.backbone, head=options.head),
            TrainingConfig(seed=options.seed),
            lambda at: task.update(at.fraction, _note(at)),
        )
        auroc = result.metrics.get("held_out_auroc")
        task.note = f"held-out AUROC {auroc:.3f}" if auroc is not None else ""
    return result


def read_log(
    plan: InputPlan,
    columns: InteractionColumns,
    also: tuple[str, ...] = (),
    on_bad_file: OnBadFile = "fail",
    max_rejected: float = MAX_REJECTED,
) -> tuple[OrderedShard, Counter[str]]:
    """Reads a whole log into memory, the required columns and those in `also`, and orders it.

    Returns:
        The ordered log, and the number of rejected rows by reason.

    Raises:
        InputError: A file cannot be read, more rows are rejected than the share `max_rejected`, or no row can be used.
    """
    fields = [plan.schema.field(name) for name in dict.fromkeys((*columns.required, *also))]
    # The ids of a whole log may be more than 2 GiB, which Arrow's plain strings cannot hold as one.
    schema = pa.schema([field.with_type(pa.large_string()) if field.type == pa.string() else field for field in fields])
    tables: list[pa.Table] = []
    rejected: Counter[str] = Counter()
    for split in plan.splits:
        valid, refused = read_split(split, columns, schema, on_bad_file)
        tables.append(valid)
        rejected.update(refused["reason"].to_pylist())
    refuse_too_many(rejected, plan.rows, max_rejected)
    table = pa.concat_tables(tables)
    if not len(table):
        raise InputError(
            "No row of the log can be used",
            code="TRAIN-EMPTY",
            found=list_reasons(rejected),
            fix="are the right columns named?",
        )
    return order_interactions(table, columns), rejected


def check_output(output: str, overwrite: bool) -> None:
    """Checks that a model may be written to a directory: a new one, or one with an earlier model or a part of one.

    A training that was cut off leaves no configuration, and so no model: what it leaves is replaced. It wrote the
    vectors first, which say what they are; a weights file or a README.md without them is somebody's own.

    Raises:
        InputError: It holds something else, or a model that is not to be replaced.
    """
    names = [name for name in storage.list_names(output) if not storage.is_temporary(name)]
    vectors = [name for name in names if re.fullmatch(f"{COLLABORATIVE}/{PART_NAME}", name)]
    is_model = CONFIG in names
    is_part_of_one = bool(vectors) and all(_holds_our_vectors(output, name) for name in vectors)
    ours = (WEIGHTS, CONFIG, CARD, *vectors) if is_model or is_part_of_one else ()
    refuse_foreign(output, [name for name in names if name not in ours])
    if is_model and not overwrite:
        raise InputError(
            f"{output} already holds a model",
            code="OUTPUT-MODEL",
            found=CONFIG,
            fix="choose another --output, or pass --overwrite to replace it",
        )


def _holds_our_vectors(output: str, name: str) -> bool:
    try:
        return read_kind(storage.join(output, *name.split("/"))) == "collaborative"
    except IadsrError:
        return False


def write_model(output: str, result: TrainingResult, item_ids: pa.Array) -> None:
    """Writes the model directory: weights, configuration, model card, and the collaborative item embeddings.

    The item ids are those of the result's items, as `normalise_item_ids` gives them.
    The configuration comes last, when all else has reached the disk: a directory without it is no model.
    """
    config = result.model.config
    contents = result.model.to_files()
    own = fingerprint_of(contents)
    left = [storage.join(output, *name.split("/")) for name in storage.list_names(output) if storage.is_temporary(name)]
    storage.delete(storage.join(output, CONFIG), *left)
    packed = result.vectors.pack()
    metadata = EmbeddingMetadata("collaborative", config.backbone, own, "none", packed.collaborative.shape[1])
    table = EmbeddingTable(item_ids, packed.collaborative, packed.has_collaborative, texts=None, metadata=metadata)
    write_embeddings(table, storage.join(output, COLLABORATIVE))
    for name, content in contents.items():
        storage.write_atomically(
            storage.join(output, name), lambda file, content=content: file.write(content), durable=True
        )


def _semantic_vectors(item_ids: pa.Array, embeddings: EmbeddingTable, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors of the log's items, float32 [V, D], and which have one, bool [V]."""
    vectors, present = align(embeddings, item_ids)
    if not present.any():
        raise InputError(
            f"The embeddings {path} know none of the log's items",
            code="IDS-NONE",
            found=f"such as {python_values(item_ids[:1])[0]!r} in the log, "
            f"{embeddings.item_ids[0].as_py()!r} in the embeddings",
            expected="the same item ids in both",
            fix="embed the catalogue that belongs to this log",
        )
    return vectors, present


def _note(at: TrainingProgress) -> str:
    shown = ", ".join(f"{name} {value:.3f}" for name, value in at.metrics.items())
    return f"{_STAGES[at.stage]}, epoch {at.epoch}" + (f": {shown}" if shown else "")
