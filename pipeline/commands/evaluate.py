"""The evaluate command: trains a recommender on a log as it is and as `train` and `clean` leave it, and compares."""

import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from ...models.core.errors import IadsrError
from ...models.core.sequences import Sequences
from ...models.evaluation.bootstrap import Estimate, Resampled, judge
from ...models.evaluation.comparison import Treatment, compare_treatments
from ...models.evaluation.downstream_recommender import DownstreamConfig
from ...models.evaluation.held_out import HELD_OUT, HeldOutLog
from ...models.evaluation.ranking import METRICS
from ...models.noise.insertion import insert_noise
from ...transforms.contract.columns import InteractionColumns
from ...transforms.contract.output_layout import INTERACTIONS
from ...transforms.files.tables import write_table
from ...transforms.read.behaviours import count_behaviours, describe_behaviours
from ...transforms.read.input_plan import plan_input
from ...transforms.read.log_source import LogSource
from ...transforms.read.read_log import read_log
from ...transforms.read.time_checks import describe_times
from ...transforms.rules.rule_set import check_rule_columns, make_rules
from ..engines.progress import Progress
from ..engines.runner import refuse_other_runners, usable_cores
from .clean import run_clean
from .command_options import CleanOptions, EvaluateOptions, TrainOptions
from .evaluation import DROPPED, MAIN_METRIC, ORACLE, RANDOM, RAW, WEIGHTED, Evaluation, TreatmentResult
from .output_file import check_output_file, write_figures
from .train import run_train, without_taken

_COLUMNS = InteractionColumns()

# Training derives its random streams from small seeds. This keeps the stream of inserted noise apart from all of them.
_STREAM = 0xE7A1


def run_evaluate(
    options: EvaluateOptions, beam_options: PipelineOptions, progress: Progress | None = None
) -> Evaluation:
    """Measures what cleaning a log gains a recommender.

    Rules come first, and what they drop is in no treatment. Of what they leave, the last two interactions of each user
    are kept back. The detector is trained on the rest, and the rest is cleaned with it, by the same code and with the
    same defaults as in the commands `train` and `clean`.

    Raises:
        IadsrError: Log, embeddings or options are unusable, the log is too small, or the figures cannot be written. In
            the last case the error carries the figures as a note.
    """
    refuse_other_runners("evaluate", beam_options)
    path = Path(options.output) if options.output is not None else None
    if path:
        check_output_file(path, "JSON")
    evaluation = measure(options, beam_options, progress or Progress(None))
    if path:
        try:
            write_json(evaluation, path)
        except IadsrError as error:
            error.add_note(f"The figures themselves are these:\n{evaluation}")  # hours of work
            raise
    return evaluation


def measure(
    options: EvaluateOptions,
    beam_options: PipelineOptions,
    progress: Progress,
    downstream: DownstreamConfig | None = None,
) -> Evaluation:
    """Does what `run_evaluate` says, and writes no file.

    Args:
        options: What to measure.
        beam_options: How to run the cleaning.
        progress: Where to show progress.
        downstream: How the recommender is trained, but for its `recommender`, which is that of the options.
    """
    with progress.task("Reading the log") as task:
        plan, columns = plan_input(options.log), options.log.columns
        check_rule_columns(options.rules, plan.schema, options.log.columns)
        rules = make_rules(options.rules, columns.item, plan.schema.field(columns.item).type)
        whole, rejected, clock = read_log(options.log, plan, options.rules.columns)
        ordered, found = without_taken(whole, rules, columns, clock)
        log = Sequences(ordered.items, ordered.offsets)
        HeldOutLog.split(log)  # a log that is too small is refused before anything is inserted
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
    config = dataclasses.replace(downstream or DownstreamConfig(), recommender=options.recommender)
    seeds = [options.seed + number for number in range(options.seeds)]
    with progress.task(f"Training {options.recommender}", total=1.0) as task:
        workers = options.workers or usable_cores()
        figures = compare_treatments(held_out, treatments, config, seeds, task.update, workers).test
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
        notes=(
            *plan.notes,
            *describe_times(clock, columns),
            *describe_behaviours(count_behaviours(whole.table, columns), columns, rules.takes_back(columns)),
        ),
        found=tuple(found),
    )


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Writes all figures as JSON. Figures that are not defined are null.

    Raises:
        InputError: The file cannot be written.
    """
    write_figures(path, evaluation.to_dict())


def _clean_training_part(
    held_out: HeldOutLog,
    item_ids: pa.Array,
    options: EvaluateOptions,
    beam_options: PipelineOptions,
    progress: Progress,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Trains a detector on the training part, and cleans that part with it.

    Returns:
        What it drops, bool [N], and the weight that it gives to each interaction, float32 [N].
    """
    rows = np.flatnonzero(held_out.training)
    with tempfile.TemporaryDirectory() as scratch:
        log, model, cleaned = (os.path.join(scratch, name) for name in ("log.parquet", "model", "cleaned"))
        columns = {
            _COLUMNS.user: held_out.log.users[rows],
            _COLUMNS.item: item_ids.take(pa.array(held_out.log.items[rows])),
            _COLUMNS.timestamp: rows,  # orders each user's interactions, and identifies them afterwards
        }
        write_table(log, pa.table(columns))
        source = LogSource(log, _COLUMNS)
        run_train(
            TrainOptions(
                source,
                options.embeddings,
                model,
                backbone=options.backbone,
                seed=options.seed,
                workers=options.workers,
            ),
            progress,
        )
        clean = CleanOptions(source, cleaned, embeddings=options.embeddings, model=model)
        manifest = run_clean(clean, beam_options, progress).manifest
        share = manifest.noise_share if manifest else None
        if share and (why := share.unknown_because):
            progress.say(f"The share of noise is not known ({why}): nothing is dropped, and all weights are 1.")
        judged = pq.read_table(os.path.join(cleaned, INTERACTIONS), columns=[_COLUMNS.timestamp, "keep", "weight"])
    row = judged[_COLUMNS.timestamp].to_numpy()
    dropped, weight = np.zeros(len(held_out.training), bool), np.ones(len(held_out.training), np.float32)
    dropped[row], weight[row] = ~judged["keep"].to_numpy(), judged["weight"].to_numpy()
    return dropped, weight


def _as_many_at_random(
    dropped: npt.NDArray[np.bool_], training: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.bool_]:
    """Drops as many interactions of the training part as `dropped` does, chosen at random."""
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
    """Estimates everything from figures [treatments, seeds, U, 6], with the same resamples throughout."""
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
    """Limits an interval to [0, 1], the range of HR and NDCG. With few trainings it may reach beyond."""
    return dataclasses.replace(estimate, low=max(estimate.low, 0.0), high=min(estimate.high, 1.0))
