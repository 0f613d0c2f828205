"""The tune command: finds the policy of cleaning that helps a recommender most on a log."""

import dataclasses
import shlex
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

from ...models.core.errors import IadsrError
from ...models.core.option import options_of
from ...models.core.printable import printable
from ...models.detector.model_config import IADSRConfig
from ...models.detector.scoring import score_sequences
from ...models.evaluation.bootstrap import MIN_LIFT, Estimate, Resampled
from ...models.evaluation.comparison import Treatment, compare_treatments
from ...models.evaluation.downstream_recommender import DownstreamConfig
from ...models.evaluation.held_out import HELD_OUT, HeldOutLog
from ...models.evaluation.ranking import METRICS
from ...models.noise.share import NoiseShare, NoShare
from ...models.training.train_model import train_model
from ...models.training.training_config import TrainingConfig
from ...transforms.contract.columns import InteractionColumns
from ...transforms.contract.hashing import hash_values
from ...transforms.files.found_files import SkippedFile
from ...transforms.files.storage import write_atomically
from ...transforms.items.embedding_files import read_embeddings
from ...transforms.items.item_counts import ItemCounts, sort_counts
from ...transforms.items.item_ids import normalise_item_ids
from ...transforms.judge.artifacts import check_item_types
from ...transforms.judge.drop_plan import plan_drops
from ...transforms.judge.judge_shard import judge_by_rules, judge_shard
from ...transforms.judge.policy import Policy
from ...transforms.judge.scored_shard import ScoredShard
from ...transforms.judge.tally import tally_shard
from ...transforms.read.behaviours import count_behaviours, describe_behaviours
from ...transforms.read.input_plan import plan_input
from ...transforms.read.ordering import OrderedShard
from ...transforms.read.read_log import read_log
from ...transforms.read.time_checks import describe_times
from ...transforms.rules.rule_log import count_open_items, rule_whole_log
from ...transforms.rules.rule_options import RuleOptions
from ...transforms.rules.rule_set import RuleSet, check_rule_columns, make_rules
from ...transforms.rules.ruled_shard import RuledShard
from ..engines.progress import Progress
from ..engines.runner import usable_cores
from .command_options import TuneOptions
from .evaluation import MAIN_METRIC
from .output_file import check_output_file
from .train import semantic_vectors
from .tuning import RAW, RULES, Candidate, Tuning

DEFAULT = "default"

CANDIDATES: dict[str, Policy] = {
    RULES: Policy(drop_rate=0.0, weight_strength=0.0),
    DEFAULT: Policy(),
    "weights 1 - p": Policy(drop_rate=0.0, weight_strength=1.0),
    "weights 1 - 2p": Policy(drop_rate="weightless", weight_strength=2.0),
    "weights 1 - 8p": Policy(drop_rate="weightless", weight_strength=8.0),
    "weights 1 - 4p, at least 0.1": Policy(drop_rate=0.0, min_weight=0.1),
    "drop 5%": Policy(drop_rate=0.05, weight_strength=0.0),
    "drop 10%": Policy(drop_rate=0.1, weight_strength=0.0),
    "drop 20%": Policy(drop_rate=0.2, weight_strength=0.0),
    "drop 30%": Policy(drop_rate=0.3, weight_strength=0.0),
}
"""Policies that are tried, by the name that the result shows. The rules come before each of them."""

FINALISTS = 3
"""All candidates are trained on once. So many of them, the best by that, are trained on with the other seeds too."""

_METRIC = METRICS.index(MAIN_METRIC)


def run_tune(
    options: TuneOptions, progress: Progress | None = None, downstream: DownstreamConfig | None = None
) -> Tuning:
    """Finds the policy that helps a recommender most, and writes it to a file.

    The last two interactions of each user are held out: neither rules, nor the detector, nor policies see them. A
    policy is chosen by the validation items. What it is worth is measured on the test items.

    If the log has behaviours, each journey counts once, and the last two of each user are held out. Rules then come
    before, and see the whole log, as they decide what a journey is.

    Args:
        options: What to tune for.
        progress: Where to show progress.
        downstream: How the recommender is trained, but for its `recommender`, which is that of the options.

    Raises:
        IadsrError: Log, embeddings or options are unusable, the log is too small, or the policy cannot be written. In
            the last case the error carries the result as a note.
    """
    progress = progress or Progress(None)
    check_output_file(Path(options.output), "YAML")
    log = _read(options, progress)
    scored, reference = _score(log, options, progress)
    treatments, share = _treatments(scored, reference, options.log.columns, log.rules.codes)
    trained = _train(log.held_out, treatments, options, downstream or DownstreamConfig(), progress)
    chosen, lift = _choose(trained.validation, trained.test, options.seed)
    unknown = []
    if isinstance(share, NoShare):
        effect = "all weights are 1, and the default drops nothing"
        unknown = [f"The share of noise is not known ({share.reason}): {effect}."]
    tuning = Tuning(
        output=options.output,
        recommender=options.recommender,
        users=len(log.held_out.tested),
        users_of_log=log.users,
        users_sampled=log.users_sampled,
        seeds=options.seeds,
        candidates=tuple(
            Candidate(
                treatment.name,
                float((log.held_out.training & treatment.keep).sum() / log.held_out.training.sum()),
                float(trained.screened[index]),
                float(trained.validation[trained.finalists.index(index)].mean())
                if index in trained.finalists
                else None,
            )
            for index, treatment in enumerate(treatments)
        ),
        chosen=treatments[trained.finalists[chosen]].name,
        lift=lift,
        rejected=log.rejected,
        skipped=log.skipped,
        notes=(*log.notes, *unknown),
    )
    try:
        _write_policy(options, tuning)
    except IadsrError as error:
        error.add_note(f"The result itself is this:\n{tuning}")  # hours of work
        raise
    return tuning


class _Log(NamedTuple):
    """The log to tune on, with the last two interactions of each user held out."""

    held_out: HeldOutLog
    ruled: RuledShard
    """What the rules make of the part to train on."""
    evidence: OrderedShard
    """What the rules leave of it, each piece of evidence once."""
    semantic: np.ndarray
    """Text embeddings of the items of `evidence`, [V, D]."""
    has_semantic: np.ndarray
    """bool [V]."""
    rules: RuleSet
    users: int
    """Users of the whole log."""
    users_sampled: int
    """Users that are looked at."""
    rejected: dict[str, int]
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]


def _read(options: TuneOptions, progress: Progress) -> _Log:
    with progress.task("Reading the log") as task:
        plan, columns = plan_input(options.log), options.log.columns
        check_rule_columns(options.rules, plan.schema, options.log.columns)
        item_type = plan.schema.field(columns.item).type
        rules = make_rules(options.rules, columns.item, item_type)
        embeddings = read_embeddings(options.embeddings, kind="semantic")
        check_item_types(options.embeddings, embeddings.item_ids.type, item_type)
        whole, rejected, clock = read_log(options.log, plan, options.rules.columns)
        ordered = _sample(whole, columns, options.max_users)
        users_sampled = len(ordered.offsets) - 1
        if ordered.behaviours is not None:
            # Another step with the item just viewed would be no test of a recommender.
            ordered = rule_whole_log(ordered, rules, columns, clock).journeys_alone()
            ruled = RuledShard.untouched(ordered, HELD_OUT)
        else:
            ruled = rule_whole_log(ordered, rules, columns, clock, HELD_OUT)
        held_out = HeldOutLog.split(ordered.sequences(columns))
        evidence = ruled.evidence_alone()
        item_ids = normalise_item_ids(evidence.item_ids, file=options.log.path, name=columns.item)
        semantic, has_semantic = semantic_vectors(item_ids, embeddings, options.embeddings)
        task.note = f"{len(held_out.tested):,} users to test, {int(held_out.training.sum()):,} interactions to train on"
    notes = (
        *plan.notes,
        *describe_times(clock, columns),
        *describe_behaviours(count_behaviours(whole.table, columns), columns, rules.takes_back(columns)),
    )
    return _Log(
        held_out,
        ruled,
        evidence,
        semantic,
        has_semantic,
        rules,
        len(whole.offsets) - 1,
        users_sampled,
        dict(rejected),
        plan.skipped,
        notes,
    )


def _sample(ordered: OrderedShard, columns: InteractionColumns, max_users: int) -> OrderedShard:
    """Returns the interactions of at most `max_users` users, those with the lowest hashes of their ids."""
    users = len(ordered.offsets) - 1
    if users <= max_users:
        return ordered
    chosen = np.zeros(users, bool)
    chosen[np.argsort(hash_values(ordered.user_ids(columns)), kind="stable")[:max_users]] = True
    return ordered.only(chosen[ordered.users])


class _Scored(NamedTuple):
    scored: ScoredShard
    """The log with the model's own probabilities."""
    noise_reference: npt.NDArray[np.float32]
    """What inserted noise scores."""


def _score(log: _Log, options: TuneOptions, progress: Progress) -> _Scored:
    """Trains a detector on what rules leave of the training part, and scores that part with it."""
    ruled, sequences = log.ruled, log.evidence.sequences(options.log.columns)
    with progress.task("Training the detector", total=1.0) as task:
        result = train_model(
            sequences,
            log.semantic,
            log.has_semantic,
            IADSRConfig(backbone=options.backbone),
            TrainingConfig(seed=options.seed),
            lambda at: task.update(at.fraction, at.stage),
            workers=options.workers or usable_cores(),
        )
    scores = score_sequences(result.model, sequences, result.vectors).spread(ruled.evidence).at(ruled.witnesses)
    everything = np.ones(len(scores.scored), bool)  # these two decide which reason is given, and nothing else
    return _Scored(ScoredShard(0, ruled, scores, everything, everything, {}), result.model.noise_reference.numpy())


def _treatments(
    scored: ScoredShard, noise_reference: np.ndarray, columns: InteractionColumns, codes: tuple[str, ...]
) -> tuple[list[Treatment], NoiseShare | NoShare]:
    """Returns the log as it is, and as each of CANDIDATES leaves it, and its share of noise.

    Who trains leaves out what weighs 0.
    """
    ruled = scored.ruled
    tally = tally_shard(scored, columns, ItemCounts.of(sort_counts(count_open_items(ruled))))
    plans = {name: plan_drops(tally, policy, noise_reference) for name, policy in CANDIDATES.items() if name != RULES}
    treatments = [Treatment.dropping(RAW, np.zeros(len(ruled.taken), bool))]
    held_out_or_open = ruled.held_out | ruled.open
    for name, policy in CANDIDATES.items():
        if name == RULES and held_out_or_open.all():
            continue
        judged = judge_by_rules(0, ruled, codes) if name == RULES else judge_shard(scored, plans[name], policy, codes)
        treatments.append(Treatment(name, judged.weight > 0, judged.weight))
    return treatments, plans[DEFAULT].share


class _Trained(NamedTuple):
    """What recommenders reached that were trained on a log as each policy leaves it. All figures are NDCG@10."""

    screened: npt.NDArray[np.float64]
    """On the validation items after one training, float64 [treatments]."""
    finalists: list[int]
    """Treatments that were trained on with all seeds. The first one is the raw log."""
    validation: npt.NDArray[np.float64]
    """Theirs on the validation items, float64 [finalists, seeds, U]."""
    test: npt.NDArray[np.float64]
    """As `validation`, on the test items."""


def _train(
    held_out: HeldOutLog,
    treatments: list[Treatment],
    options: TuneOptions,
    downstream: DownstreamConfig,
    progress: Progress,
) -> _Trained:
    """Trains a recommender on each treatment once, and on the best ones again with the other seeds."""
    workers = options.workers or usable_cores()
    config = dataclasses.replace(downstream, recommender=options.recommender)
    with progress.task(f"Training {options.recommender}", total=1.0) as task:
        # The finalists' further trainings cost this share of all.
        rest = (options.seeds - 1) * (FINALISTS + 1)
        first = len(treatments) / (len(treatments) + rest)
        screened = compare_treatments(
            held_out, treatments, config, [options.seed], lambda done, note: task.update(first * done, note), workers
        )
        by_validation = screened.validation[:, 0, :, _METRIC].mean(1)
        best = 1 + np.argsort(-by_validation[1:], kind="stable")[:FINALISTS]
        finalists = [0, *best.tolist()]
        seeds = [options.seed + number for number in range(1, options.seeds)]
        further = compare_treatments(
            held_out,
            [treatments[index] for index in finalists],
            config,
            seeds,
            lambda done, note: task.update(first + (1 - first) * done, note),
            workers,
        )
        times = f", the best {FINALISTS} of them {options.seeds} times" if options.seeds > 1 else ""
        task.note = f"{len(treatments)} policies{times}"
    validation, test = (
        np.concatenate([one[finalists], more], axis=1)[..., _METRIC]
        for one, more in zip(screened, further, strict=True)
    )
    return _Trained(by_validation, finalists, validation, test)


def _choose(validation: npt.NDArray[np.float64], test: npt.NDArray[np.float64], seed: int) -> tuple[int, Estimate]:
    """Chooses a finalist by the validation items, and measures on the test items what it is worth.

    The best one is chosen if it is better than the raw log with some certainty; otherwise the raw log is.

    Args:
        validation: float64 [finalists, seeds, U], the raw log first.
        test: As `validation`.
        seed: Of the resamples.

    Returns:
        The number of the finalist, and its lift over the raw log.
    """
    resampled = Resampled.draw(validation.transpose(1, 2, 0), seed)
    lifts = [resampled.lift(number, over=0) for number in range(len(validation))]
    better = [number for number, lift in enumerate(lifts) if lift.low > MIN_LIFT]
    chosen = max(better, key=lambda number: lifts[number].value, default=0)
    return chosen, Resampled.draw(test.transpose(1, 2, 0), seed).lift(chosen, over=0)


def _write_policy(options: TuneOptions, tuning: Tuning) -> None:
    """Writes the chosen policy, and in comments what it was chosen by.

    Raises:
        InputError: The file cannot be written.
    """
    policy = CANDIDATES.get(tuning.chosen, CANDIDATES[RULES])
    values: dict[str, Any] = {
        field.name: value
        for field in dataclasses.fields(policy)
        if (value := getattr(policy, field.name)) != field.default
    }
    heading = [
        f"Written by iadsr tune {metadata.version('iadsr')} at {datetime.now(UTC).isoformat(timespec='seconds')}.",
        f"Apply it with: iadsr clean --policy {options.output}",
        *_rules_beside(options.rules),
        *str(tuning).splitlines(),
    ]
    text = "".join(f"# {line}".rstrip() + "\n" for line in heading) + (yaml.safe_dump(values) if values else "{}\n")
    write_atomically(str(Path(options.output).absolute()), lambda file: file.write(text.encode()), durable=True)


def _rules_beside(rules: RuleOptions) -> list[str]:
    """Says which rules a policy was tuned under, if they are not the default ones."""
    flags = []
    for name, each in options_of(RuleOptions).items():
        value = getattr(rules, "file" if name == "rules" else name)
        if value != each.default:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            flags.append(each.flag if value is True else f"{each.flag} {shlex.quote(text)}")
    said = "The rules that it was tuned under are not part of it. Give clean the same:"
    return [printable(f"{said} {' '.join(flags)}")] if flags else []
