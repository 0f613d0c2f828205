"""The evaluate command: trains a recommender on a log as it is and as `train` and `clean` leave it, and compares."""

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from ...models.core.errors import UsageError
from ...models.core.sequences import Sequences
from ...models.detector.model_config import BackboneName
from ...models.evaluation.bootstrap import Estimate, Resampled, judge
from ...models.evaluation.comparison import Treatment, compare_treatments
from ...models.evaluation.downstream_recommender import DownstreamConfig
from ...models.evaluation.held_out import HELD_OUT, HeldOutLog
from ...models.evaluation.ranking import METRICS
from ...models.noise.insertion import insert_noise
from ...transforms.contract.columns import InteractionColumns
from ...transforms.contract.output_layout import INTERACTIONS
from ...transforms.contract.python_values import replace_non_finite
from ...transforms.files.storage import write_atomically
from ...transforms.files.tables import write_table
from ...transforms.read.input_plan import OnBadFile, SkippedFile, plan_input
from ...transforms.read.rejected_rows import MAX_REJECTED, check_max_rejected
from ..engines.progress import Progress
from ..engines.runner import refuse_other_runners
from .clean import CleanOptions, clean
from .train import TrainOptions, read_log, train

MAIN_METRIC = "NDCG@10"
"""What the verdict and the recovered share are about."""


RAW, DROPPED, WEIGHTED, ORACLE, RANDOM = "raw", "dropped", "weighted", "oracle", "random"


_COLUMNS = InteractionColumns()


# Training spawns its own streams from small seeds; this keeps what is inserted here clear of all of them.
_STREAM = 0xE7A1


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """What `iadsr evaluate` is asked to do."""

    interactions: str
    """Log to evaluate on: Parquet file, directory or glob."""
    embeddings: str
    """Item embeddings, as `iadsr embed` writes them."""
    columns: InteractionColumns = dataclasses.field(default_factory=InteractionColumns)
    """Names of the log's columns."""
    recommender: BackboneName = "sasrec"
    """The recommender whose gain is measured."""
    inject: float | None = None
    """Share of the interactions that are inserted as noise first; None: the log is taken as it is."""
    seeds: int = 3
    """Trainings of the recommender on each log; figures are means over them."""
    seed: int = 0
    """Seed of the detector, of inserted noise and of the first training of the recommender."""
    backbone: BackboneName = "gru4rec"
    """Backbone of the detector."""
    downstream: DownstreamConfig = dataclasses.field(default_factory=DownstreamConfig)
    """How the recommender is trained; its `recommender` is replaced by the one above."""
    on_bad_file: OnBadFile = "fail"
    """What to do about files of the log that cannot be used."""
    max_rejected: float = MAX_REJECTED
    """Share of rejected rows above which the evaluation does not begin."""

    def __post_init__(self):
        """Refuses values outside their range."""
        check_max_rejected(self.max_rejected)
        if self.inject is not None and not 0 < self.inject < 1:
            raise UsageError(
                "--inject is out of range",
                code="OPTION-INJECT",
                fix="give --inject a share such as 0.2",
                found=f"{self.inject:g}",
                expected="0 < rate < 1",
            )
        if self.seeds < 1:
            raise UsageError(
                "--seeds is out of range",
                code="OPTION-SEEDS",
                fix="give --seeds a whole number such as 3",
                found=str(self.seeds),
                expected="1 or more",
            )


@dataclasses.dataclass(frozen=True)
class TreatmentResult:
    """What one way of cleaning is worth."""

    name: str
    """raw, dropped, weighted, oracle or random."""
    interactions: int
    """Interactions that are left to train on."""
    metrics: dict[str, Estimate]
    """HR and NDCG at each cutoff, mean over users and seeds."""
    lifts: dict[str, Estimate]
    """Relative difference of each metric to the raw log."""
    verdict: str | None
    """What the lift in the main metric means; None for the raw log itself."""
    recovered: Estimate | None
    """Share of the oracle's gain in the main metric; None where there is no oracle to compare with."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What came out of an evaluation."""

    recommender: str
    """The recommender that was trained."""
    users: int
    """Users who were tested."""
    items: int
    """Items of the log."""
    training_interactions: int
    """Interactions to train on, inserted ones included."""
    inserted: int
    """Interactions inserted as noise."""
    recommends_seen: bool
    """Whether items that a user already has could be recommended."""
    seeds: int
    """Trainings on each log."""
    treatments: list[TreatmentResult]
    """The raw log first."""
    rejected: dict[str, int]
    """Rows of the log that could not be used, by reason."""
    skipped: tuple[SkippedFile, ...]
    """Files of the log that were left out."""

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON-able values."""
        return dataclasses.asdict(self)


def evaluate(options: EvaluateOptions, beam_options: PipelineOptions, progress: Progress) -> Evaluation:
    """Measures what cleaning a log gains a recommender.

    The last two interactions of each user are kept back; the detector is trained on the rest, and cleans the rest, with
    the same code and the same defaults as the commands `train` and `clean`.

    Raises:
        IadsrError: Log, embeddings or options are unusable, or the log is too small.
    """
    refuse_other_runners("evaluate", beam_options)
    with progress.task("Reading the log") as task:
        plan = plan_input(options.interactions, options.columns, options.on_bad_file)
        ordered, rejected = read_log(
            plan, options.columns, on_bad_file=options.on_bad_file, max_rejected=options.max_rejected
        )
        log = Sequences(ordered.items, ordered.offsets)
        HeldOutLog.split(log)  # too small a log is refused before anything is inserted
        noisy = insert_noise(
            log,
            options.inject or 0.0,
            uniform_share=0.0,
            seed=np.random.SeedSequence([_STREAM, options.seed]),
            protect_last=HELD_OUT,
        )
        held_out = HeldOutLog.split(noisy.sequences)
        task.note = f"{len(held_out.tested):,} users to test, {int(held_out.training.sum()):,} interactions to train on"
    dropped, weight = _clean_training_part(held_out, ordered.item_ids, options, beam_options, progress)

    treatments = [
        Treatment.dropping(RAW, np.zeros(len(dropped), bool)),
        Treatment.dropping(DROPPED, dropped),
        Treatment(WEIGHTED, weight > 0, weight),
    ]
    if options.inject:
        treatments += [
            Treatment.dropping(ORACLE, noisy.inserted),
            Treatment.dropping(RANDOM, _as_many_at_random(weight == 0, held_out.training, options.seed)),
        ]
    config = dataclasses.replace(options.downstream, recommender=options.recommender)
    seeds = [options.seed + number for number in range(options.seeds)]
    with progress.task(f"Training {options.recommender}", total=1.0) as task:
        figures = compare_treatments(held_out, treatments, config, seeds, task.update)
        task.note = f"{len(treatments)} logs, {options.seeds} time{'s' * (options.seeds > 1)} each"
    return Evaluation(
        recommender=options.recommender,
        users=len(held_out.tested),
        items=len(ordered.item_ids),
        training_interactions=int(held_out.training.sum()),
        inserted=int(noisy.inserted.sum()),
        recommends_seen=held_out.recommends_seen,
        seeds=options.seeds,
        treatments=_results(treatments, figures, held_out.training, options.seed),
        rejected=dict(rejected),
        skipped=plan.skipped,
    )


def check_json_output(path: Path) -> None:
    """Checks before the work begins that figures can be written to a file after it.

    Raises:
        UsageError: It is a directory, a link or a device, or in no directory that may be written to.
    """
    try:
        found = _what_forbids(path)
    except (OSError, ValueError) as error:
        found = str(error)
    if found:
        raise UsageError(
            "--output cannot be written",
            code="OPTION-OUTPUT",
            fix="name a JSON file in a directory that exists and may be written to",
            found=found,
            expected="a JSON file in an existing directory",
        )


def _what_forbids(path: Path) -> str | None:
    """What stands in the way of a file; it is replaced as a whole, which does away with links and devices."""
    if path.is_dir():
        return f"{path} is a directory"
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return f"{path} is a link or a device"
    if not path.parent.is_dir():
        return f"{path.parent} is no directory"
    with tempfile.TemporaryFile(dir=path.parent):
        return None


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Writes all figures; what is not defined is null.

    Raises:
        InputError: The file cannot be written.
    """
    figures = replace_non_finite(evaluation.to_dict(), lambda _: None)
    text = json.dumps(figures, indent=2, allow_nan=False) + "\n"
    write_atomically(str(path.absolute()), lambda file: file.write(text.encode()), durable=True)


def _clean_training_part(
    held_out: HeldOutLog,
    item_ids: pa.Array,
    options: EvaluateOptions,
    beam_options: PipelineOptions,
    progress: Progress,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Trains a detector on what may be trained on, and cleans that with it.

    Returns:
        What it drops, bool [N], and the weight that it gives to each interaction, float32 [N].
    """
    rows = np.flatnonzero(held_out.training)
    with tempfile.TemporaryDirectory() as scratch:
        log, model, cleaned = (os.path.join(scratch, name) for name in ("log.parquet", "model", "cleaned"))
        columns = {
            _COLUMNS.user: held_out.log.users[rows],
            _COLUMNS.item: item_ids.take(pa.array(held_out.log.items[rows])),
            _COLUMNS.timestamp: rows,  # orders a user's interactions, and says afterwards which is which
        }
        write_table(log, pa.table(columns))
        train(
            TrainOptions(log, options.embeddings, model, _COLUMNS, backbone=options.backbone, seed=options.seed),
            progress,
        )
        manifest = clean(CleanOptions(log, options.embeddings, model, cleaned, _COLUMNS), beam_options, progress)
        if manifest and (why := manifest.noise_share.unknown_because):
            progress.say(f"The share of noise is not known ({why}): nothing is dropped, and all weights are 1.")
        judged = pq.read_table(os.path.join(cleaned, INTERACTIONS), columns=[_COLUMNS.timestamp, "keep", "weight"])
    row = judged[_COLUMNS.timestamp].to_numpy()
    dropped, weight = np.zeros(len(held_out.training), bool), np.ones(len(held_out.training), np.float32)
    dropped[row], weight[row] = ~judged["keep"].to_numpy(), judged["weight"].to_numpy()
    return dropped, weight


def _as_many_at_random(
    dropped: npt.NDArray[np.bool_], training: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.bool_]:
    """Drops as many interactions of the training part as `dropped` does, whichever."""
    generator = np.random.default_rng([_STREAM, seed, 1])
    random = np.zeros(len(dropped), bool)
    random[generator.choice(np.flatnonzero(training), int(dropped.sum()), replace=False)] = True
    return random


def _results(
    treatments: list[Treatment],
    figures: npt.NDArray[np.float64],
    training: npt.NDArray[np.bool_],
    seed: int,
) -> list[TreatmentResult]:
    """Estimates everything from figures [treatments, seeds, U, 6], all by the same resamples."""
    count, seeds, users, metrics = figures.shape
    resampled = Resampled.draw(figures.transpose(1, 2, 0, 3).reshape(seeds, users, count * metrics), seed)
    names = [treatment.name for treatment in treatments]

    def column(name: str, metric: str) -> int:
        return names.index(name) * metrics + METRICS.index(metric)

    def result(treatment: Treatment) -> TreatmentResult:
        name = treatment.name
        lifts = {metric: resampled.lift(column(name, metric), over=column(RAW, metric)) for metric in METRICS}
        compared = ORACLE in names and name not in (RAW, ORACLE)
        main = (column(which, MAIN_METRIC) for which in (name, RAW, ORACLE)) if compared else None
        return TreatmentResult(
            name=name,
            interactions=int((training & treatment.keep).sum()),
            metrics={metric: _within_range(resampled.mean(column(name, metric))) for metric in METRICS},
            lifts=lifts,
            verdict=None if name == RAW else judge(lifts[MAIN_METRIC]),
            recovered=resampled.recovered(*main) if main else None,
        )

    return [result(treatment) for treatment in treatments]


def _within_range(estimate: Estimate) -> Estimate:
    """Cuts an interval of HR or NDCG where few trainings stretch it beyond what either can be."""
    return dataclasses.replace(estimate, low=max(estimate.low, 0.0), high=min(estimate.high, 1.0))
