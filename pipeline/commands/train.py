"""The train command: reads the log as `clean` does, joins the embeddings, trains, and writes the model."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from ...models.core.errors import IadsrError, InputError
from ...models.core.sequences import Sequences
from ...models.detector.model_config import IADSRConfig
from ...models.detector.model_files import CARD, CONFIG, WEIGHTS, fingerprint_of
from ...models.noise.share import MIN_REFERENCE
from ...models.training.checkpoints import SUFFIX, identity_of
from ...models.training.train_model import Stage, TrainingProgress, TrainingResult, train_model
from ...models.training.training_config import TrainingConfig
from ...models.training.warm_start import Start
from ...transforms.contract.columns import InteractionColumns
from ...transforms.contract.output_layout import STAGING
from ...transforms.contract.python_values import python_values
from ...transforms.files import storage
from ...transforms.items.embedding_files import PART_NAME, read_embeddings, read_kind, write_embeddings
from ...transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable, align
from ...transforms.items.embedding_table import fingerprint as embedding_fingerprint
from ...transforms.items.item_ids import normalise_item_ids
from ...transforms.items.vector_sample import VectorSample
from ...transforms.judge.artifacts import BEHAVIOURS, COLLABORATIVE, HOLD_OUT, SAMPLE, check_item_types
from ...transforms.read.behaviours import count_behaviours, describe_behaviours
from ...transforms.read.clock import Clock
from ...transforms.read.input_plan import SkippedFile, plan_input
from ...transforms.read.ordering import OrderedShard
from ...transforms.read.read_log import read_log
from ...transforms.read.time_checks import describe_times
from ...transforms.rules.rule_log import rule_whole_log
from ...transforms.rules.rule_set import RuleSet, check_rule_columns, make_rules
from ...transforms.run.manifest import RuleFindings
from ...transforms.run.output_directory import locked, refuse_foreign, refuse_inside
from ..engines.progress import Progress
from ..engines.runner import usable_cores
from .command_options import TrainOptions
from .messages import describe_training, describe_vector_files
from .results import Result, Table
from .training_start import START, read_earlier_model

_MARK = f"{STAGING}/training.json"
"""Says which training has written the folder that it stands in."""

_STAGES: dict[Stage, str] = {
    "collaborative": "next-item prediction",
    "alignment": "alignment",
    "others": "vectors of other users",
    "context": "interests of the rest",
    "head": "noise head",
}


@dataclasses.dataclass(frozen=True, repr=False)
class TrainSummary(Result):
    """What came out of a training."""

    output: str
    """Directory of the model."""

    metrics: dict[str, Any]
    """Counts and measurements on held-out users, as in the model card."""
    rejected: dict[str, int]
    """Rows that could not be used, by reason."""
    items_without_text: int
    """Items of the log that the embeddings have no vector for."""
    skipped: tuple[SkippedFile, ...] = ()
    """Files of the log that were skipped."""
    notes: tuple[str, ...] = ()
    """What looks wrong or may surprise in how the log was read."""
    knows_noise: bool = True
    """Whether enough noise was inserted to know how noise scores. Without that, the share of noise of no log can be
    estimated."""
    found: tuple[RuleFindings, ...] = ()
    """What the rules have found. What they drop, the model has not seen."""
    start: str | None = None
    """Directory of the model that the training started from."""

    def __str__(self) -> str:
        """Says what the model was trained on, how well it detects noise, and where it is."""
        return describe_training(self, self.output)

    def tables(self) -> Iterator[Table]:
        """Returns the counts and measurements."""
        yield [
            ["measured in training", ""],
            *((name, f"{v:.4g}" if isinstance(v, float) else v) for name, v in self.metrics.items()),
        ]


def run_train(options: TrainOptions, progress: Progress | None = None) -> TrainSummary:
    """Trains a model on a log and writes it with its collaborative item embeddings.

    Raises:
        IadsrError: Log, embeddings, options or the output directory are unusable.
    """
    progress, columns = progress or Progress(None), options.log.columns
    with progress.task("Reading the log") as task:
        plan = plan_input(options.log)
        check_rule_columns(options.rules, plan.schema, options.log.columns)
        for source in (options.log.path, options.embeddings):
            refuse_inside(options.output, source, (WEIGHTS, CARD, CONFIG, f"{COLLABORATIVE}/part-00000.parquet"))
        check_output(options.output, options.overwrite)
        embeddings = read_embeddings(options.embeddings, kind="semantic")
        item_type = plan.schema.field(columns.item).type
        check_item_types(options.embeddings, embeddings.item_ids.type, item_type)
        config = IADSRConfig(backbone=options.backbone, head=options.head)
        training = TrainingConfig(seed=options.seed, users=options.users)
        earlier = read_earlier_model(options, config, training, item_type)
        whole, rejected, clock = read_log(options.log, plan, options.rules.columns)
        rules = make_rules(options.rules, columns.item, item_type)
        log, found = without_taken(whole, rules, columns, clock, options.hold_out)
        item_ids = normalise_item_ids(log.item_ids, file=options.log.path, name=columns.item)
        semantic, has_semantic = semantic_vectors(item_ids, embeddings, options.embeddings)
        start = earlier and earlier.start(item_ids)
        task.note = f"{len(log.items):,} interactions, {len(log.offsets) - 1:,} users, {len(log.item_ids):,} items"

    with locked(options.output):
        # Another run may have finished since the first check.
        check_output(options.output, options.overwrite)
        result = _train(options, config, training, log.sequences(columns), semantic, has_semantic, start, progress)
        result.model.provenance = {
            "embeddings": embeddings.metadata.to_dict(),
            "embeddings_fingerprint": embedding_fingerprint(embeddings),
            "backbone": options.backbone,
            "head": options.head,
            "seed": options.seed,
            HOLD_OUT: options.hold_out,
            BEHAVIOURS: None if columns.behaviour is None else list(columns.behaviours or ()),
            **({START: earlier.recorded()} if earlier else {}),
            SAMPLE: VectorSample.of(item_ids, semantic, has_semantic).to_list(),
        }
        write_model(options.output, result, item_ids)
        storage.delete(storage.join(options.output, STAGING))
    knows_noise = bool(result.model.noise_reference.sum() >= MIN_REFERENCE)
    without_text = int((~has_semantic).sum())
    return TrainSummary(
        options.output,
        result.metrics,
        dict(rejected),
        without_text,
        plan.skipped,
        (
            *plan.notes,
            *(earlier.notes if earlier else ()),
            *describe_vector_files(options.embeddings),
            *describe_times(clock, columns),
            *describe_behaviours(count_behaviours(whole.table, columns), columns, rules.takes_back(columns)),
        ),
        knows_noise,
        tuple(found),
        options.from_,
    )


def without_taken(
    log: OrderedShard, rules: RuleSet, columns: InteractionColumns, clock: Clock, hold_out: int = 0
) -> tuple[OrderedShard, list[RuleFindings]]:
    """Returns the log without what is held out, what rules take and copies of an event, and what the rules have found.

    Raises:
        InputError: The rules leave nothing, or name times where the log's are only an order.
    """
    ruled = rule_whole_log(log, rules, columns, clock, hold_out)
    found = [
        RuleFindings(
            rule.code,
            rule.parameters,
            rule.takes(clock),
            int(ruled.found_by(number).sum()),
            len(np.unique(log.users[ruled.found_by(number)])),
        )
        for number, rule in enumerate(rules.rules)
    ]
    if not ruled.open.any():
        raise InputError(
            "The rules leave nothing of the log",
            code="TRAIN-RULES",
            found=", ".join(f"{each.rule} {each.interactions:,}" for each in found if each.drops and each.interactions),
            expected="interactions to train on",
            fix="change the rules' options",
        )
    return ruled.evidence_alone(), found


def _train(
    options: TrainOptions,
    config: IADSRConfig,
    training: TrainingConfig,
    log: Sequences,
    semantic: np.ndarray,
    has_semantic: np.ndarray,
    start: Start | None,
    progress: Progress,
) -> TrainingResult:
    identity = identity_of(log, semantic, has_semantic, config, training, start.fingerprint if start else "")
    files = KeptFiles.open(options.output, identity, progress.say)
    with progress.task("Training", total=1.0) as task:
        result = train_model(
            log,
            semantic,
            has_semantic,
            config,
            training,
            lambda at: task.update(at.fraction, _note(at)),
            workers=options.workers or usable_cores(),
            files=files,
            start=start,
        )
        auroc = result.metrics.get("held_out_auroc")
        task.note = f"held-out AUROC {auroc:.3f}" if auroc is not None else ""
    return result


@dataclasses.dataclass(frozen=True)
class KeptFiles:
    """The folder in the output directory with what an unfinished training has done. Implements `checkpoints.Files`."""

    folder: str
    """The folder."""

    @classmethod
    def open(cls, output: str, identity: dict[str, str], say: Callable[[str], None]) -> "KeptFiles":
        """Opens the folder, and empties it unless an unfinished training of the same identity has written it.

        Args:
            output: The output directory.
            identity: Fingerprints of all that the model depends on, see `checkpoints.identity_of`.
            say: Called with a sentence about what becomes of an unfinished training.
        """
        folder = storage.join(output, STAGING)
        own = json.dumps(identity).encode()
        files, mark = cls(folder), storage.join(output, *_MARK.split("/"))
        names = [name for name in storage.list_names(folder) if not storage.is_temporary(name)]
        earlier = files.read(_MARK.rpartition("/")[2])
        if earlier == own:
            stages = [label for stage, label in _STAGES.items() if f"{stage}{SUFFIX}" in names]
            begun = f"begun or done are {', '.join(stages)}" if stages else "it had hardly begun"
            say(f"Resuming the unfinished training in {output}: {begun}.")
            return files
        if earlier is not None:
            changed = [name for name, value in _identity_in(earlier).items() if identity.get(name) != value]
            why = f"differs in {', '.join(changed)}" if changed else "left a damaged mark"
            say(f"Starting from the beginning: the unfinished training in {output} {why}.")
        storage.delete(folder)
        storage.write_atomically(mark, lambda file: file.write(own), durable=True)
        return files

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file; None if there is none."""
        path = storage.join(self.folder, name)
        return storage.read_bytes(path) if storage.exists(path) else None

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Writes a file that is whole or not there at all, also after a power cut."""
        storage.write_atomically(storage.join(self.folder, name), write, durable=True)


def _identity_in(mark: bytes) -> dict[str, str]:
    try:
        identity = json.loads(mark)
    except ValueError:
        return {}
    return identity if isinstance(identity, dict) else {}


def check_output(output: str, overwrite: bool) -> None:
    """Checks that a model may be written to a directory: a new one, or one with an earlier model or a part of one.

    A training that was interrupted leaves no configuration, so it leaves no model, and its files may be replaced. It
    writes the vectors first, and these say what they are. A weights file or a README.md without them is not ours. What
    it keeps to go on from lies in a folder with a mark of its own.

    Raises:
        InputError: It holds other files, or a model although `overwrite` is false.
    """
    names = [name for name in storage.list_names(output) if not storage.is_temporary(name)]
    vectors = [name for name in names if re.fullmatch(f"{COLLABORATIVE}/{PART_NAME}", name)]
    is_model = CONFIG in names
    is_part_of_one = bool(vectors) and all(_holds_our_vectors(output, name) for name in vectors)
    ours = (WEIGHTS, CONFIG, CARD, *vectors) if is_model or is_part_of_one else ()
    kept = f"{STAGING}/" if _MARK in names else None
    refuse_foreign(output, [name for name in names if name not in ours and not (kept and name.startswith(kept))])
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

    The configuration is written last, when everything else is on the disk: a directory without it is not a model.

    Args:
        output: The directory.
        result: The model, and the collaborative vectors of the items.
        item_ids: Ids of those items, as `normalise_item_ids` returns them.
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


def semantic_vectors(item_ids: pa.Array, embeddings: EmbeddingTable, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors of the log's items, float32 [V, D], and which items have one, bool [V]."""
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
