"""Trains a model from a log and text embeddings: inserts noise, then runs stage 1, stage 2 and the noise head."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from ..core.errors import InputError
from ..core.item_vectors import LIFE_BINS, ItemVectors
from ..core.sequences import Sequences
from ..core.windows import cut_windows
from ..detector.iadsr import IADSR
from ..detector.item_tensors import ITEMS_AT_ONCE, ItemTensors, reduce_texts
from ..detector.model_config import IADSRConfig
from ..noise.insertion import NoiseMix, NoisyLog, insert_noise
from ..noise.share import MIN_REFERENCE
from ..vectors.co_occurrence import fit_co_occurrence, fit_company
from ..vectors.lives import fit_lives, make_clock, tell
from ..vectors.neighbours import find_lenders, mean_of, nearest_texts
from ..vectors.plda import agreeing_vectors, fit_text_components
from .augmentation import poorer_version
from .checkpoints import SECONDS_BETWEEN, Checkpoint, Files
from .expected_kinds import expect, reference_of, tell_lean
from .fit_alignment import AlignmentFit, fit_alignment
from .fit_context import fit_context
from .fit_head import calibrate_head, fit_head
from .fit_recommender import Recommender, RecommenderFit, fit_recommender
from .head_examples import HeadExamples, Version, collect_examples, measure_chance, shortest_history
from .heap import share_heap, trim_heap
from .noise_reference import measure_noise_reference
from .training_config import TrainingConfig
from .warm_start import Start, held_out_auroc, shortened, take_over, turn, users_left_out

Stage = Literal["collaborative", "alignment", "others", "context", "head"]

STAGE_SHARES: dict[Stage, float] = {
    "collaborative": 0.35,
    "alignment": 0.3,
    "others": 0.05,
    "context": 0.15,
    "head": 0.15,
}
"""Which share of the whole training each stage takes, roughly."""

MIN_USERS = 20
"""Users with two or more interactions that a log needs."""

STEPS_PER_EPOCH = 50
"""A small log gets smaller batches, so that an epoch has about this many."""

MIN_BATCH = 256
"""Positions that a batch can hold in any case."""

SINGULAR_VECTORS = 256
"""Singular vectors of the items' co-occurrence. The components that agree most within users are taken from them."""

MAX_INTERACTIONS = 600_000
"""The alignment and the head learn from users who have together about this many interactions, inserted ones included.
They have few weights. Without a bound, the head's examples would be the largest part of a training's memory, and the
alignment the longest part of its time."""

_HELD_OUT_1, _HELD_OUT_2, _TRAINED_ON, _LEFT_OUT = 0, 1, 2, 3
"""Parts of the users: held out from stage 1 and what follows; held out from stage 2 and the head only; the rest; and
those of the rest who are read by stage 1 alone, as the net starts from an earlier one."""


@dataclass(frozen=True)
class TrainingProgress:
    """Where a running training stands."""

    stage: Stage
    """What is being trained."""
    epoch: int
    """The present epoch, from 1."""
    epochs: int
    """The most epochs that this stage can take. It usually stops earlier."""
    fraction: float
    """Share of the whole training that is done, in [0, 1]; never falls."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Measurements, at the end of an epoch only."""


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and the vectors that it was trained with."""

    model: IADSR
    """Ready to score; `model.metrics` holds `metrics`."""
    vectors: ItemVectors
    """The items of the log. What was learned from interactions is zero for items that do not occur in it; the text
    embeddings are those given."""
    metrics: dict[str, Any]
    """JSON-able: counts, and measurements on held-out users."""
    history: list[dict[str, Any]]
    """One entry per epoch: stage, epoch and its measurements."""


def train_model(
    sequences: Sequences,
    semantic: np.ndarray,
    has_semantic: np.ndarray,
    config: IADSRConfig,
    training: TrainingConfig,
    progress: Callable[[TrainingProgress], None] | None = None,
    *,
    workers: int = 1,
    files: Files | None = None,
    seconds_between: float = SECONDS_BETWEEN,
    start: Start | None = None,
) -> TrainingResult:
    """Trains a model on a log.

    Training inserts noise into the log first of all. So the collaborative vectors have seen this noise, as they have
    seen the noise that was there already. Otherwise the head would only learn "was not in my training data".

    The result does not depend on `workers`, nor on how often the training was killed and started again.

    Args:
        sequences: The log; items are rows of `semantic`.
        semantic: Text embeddings, float [V, D].
        has_semantic: bool [V]; a row of `semantic` means nothing where it is false.
        config: The model's shape. Its `semantic_dimension` is replaced by D.
        training: How to train.
        progress: Called after every batch of stages 1 and 2, and after every epoch, by the thread that trains.
        workers: Threads.
        files: Where to keep what is done, and to go on from. They must be those of the same training (`identity_of`).
        seconds_between: See `checkpoints.SECONDS_BETWEEN`.
        start: A model of the same shape and options to start from; None: from nothing.

    Raises:
        InputError: The log has too few users to hold some out.
        ValueError: `training.noise_rate` is not in [0, 1).
    """
    # Threads of a BLAS spin while they wait for one another, which takes very long on a machine with other work. Also,
    # the last bits of a result would depend on the number of threads. So do they with torch's.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    share_heap()
    try:
        with threadpool_limits(1, user_api="blas"):
            keep = Checkpoints(files, seconds_between)
            return _train(sequences, semantic, has_semantic, config, training, progress, workers, keep, start)
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Checkpoints:
    """Gives each stage what it keeps its work with."""

    files: Files | None
    seconds_between: float

    def of(self, stage: Stage) -> Checkpoint:
        """Returns that of one stage."""
        return Checkpoint(self.files, stage, self.seconds_between)


def _train(
    everybody: Sequences,
    semantic: np.ndarray,
    has_semantic: np.ndarray,
    config: IADSRConfig,
    training: TrainingConfig,
    progress: Callable[[TrainingProgress], None] | None,
    workers: int,
    keep: Checkpoints,
    start: Start | None,
) -> TrainingResult:
    sequences = _sample(everybody, training)
    _check_size(sequences, sampled=len(sequences) < len(everybody))
    config = replace(config, semantic_dimension=semantic.shape[1])
    batch_positions = max(MIN_BATCH, min(training.batch_positions, len(sequences.items) // STEPS_PER_EPOCH))
    training = replace(training, batch_positions=batch_positions)
    reporter = _Reporter(progress)
    streams = np.random.SeedSequence(training.seed).spawn(11)
    counts = np.bincount(everybody.items, minlength=len(semantic))
    has_semantic = has_semantic.astype(bool)
    asked = training
    if start:
        training = shortened(training, float(has_semantic[everybody.items].mean()))
    part_of_user = _split_users(sequences, training.held_out_share, streams[1])
    if start:
        left = users_left_out(start, sequences, part_of_user == _TRAINED_ON)
        part_of_user[left] = _LEFT_OUT
    nearest = nearest_texts(semantic, has_semantic & (counts > 0))
    log = insert_noise(
        sequences,
        training.noise_rate,
        uniform_share=training.uniform_share,
        seed=streams[0],
        mix=NoiseMix(
            run_share=training.run_share,
            text_share=training.text_share,
            block_share=training.block_share,
            current_share=training.current_share,
            nearest=nearest,
            folds=config.folds,
            lenders=part_of_user != _HELD_OUT_1,  # stage 1 would see parts of these users
        ),
    )
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would seed a GPU's generator too, which nothing here uses or puts back.
        torch.default_generator.manual_seed(int(streams[4].generate_state(1)[0]))
        recommender = Recommender(config, len(semantic))
        model = IADSR(config)
    earlier, before = None, {}
    if start:
        earlier = start.vectors(semantic, has_semantic)
        take_over(start, earlier, nearest, model, recommender)
        measured = part_of_user == _HELD_OUT_2
        before["start_items"] = int(((counts > 0) & start.known).sum())
        before["start_held_out_auroc"] = held_out_auroc(start, earlier, log, measured, batch_positions, workers)
    else:
        _set_text_components(model, log.sequences, semantic, has_semantic)
    taught = some_users(log.sequences, part_of_user == _TRAINED_ON, MAX_INTERACTIONS, streams[2])
    task = _Task(
        everybody, log, part_of_user, taught, semantic, has_semantic, counts, training, reporter, keep, earlier
    )
    recommended, aligned, vectors = _learn_vectors(task, model, recommender, sequences, streams, workers)
    del recommender  # the table of all items, among other things
    lean, detection = _learn_noise(task, model, vectors, sequences, streams, workers)
    metrics = {
        "users": len(everybody),
        **({"sampled_users": len(sequences)} if len(sequences) < len(everybody) else {}),
        "items": int((counts > 0).sum()),
        "items_without_text": int(((counts > 0) & ~vectors.has_semantic).sum()),
        "interactions": len(everybody.items),
        "inserted_interactions": int(log.inserted.sum()),
        "inserted_share": float(log.inserted.mean()),
        "collaborative_epochs": recommended.epochs,
        "collaborative_held_out_loss": recommended.held_out_loss,
        "alignment_epochs": aligned.epochs,
        "alignment_held_out_auroc": aligned.held_out_auroc,
        "noise_lean": lean,
        **before,
        **detection,
    }
    model.metrics = metrics
    model.training_options = asdict(asked)
    return TrainingResult(model.eval(), vectors, metrics, reporter.history)


@dataclass(frozen=True)
class _Task:
    """What all parts of a training read."""

    everybody: Sequences
    """The whole log, without inserted noise."""
    log: NoisyLog
    """The users that the net is trained on, with inserted noise."""
    part_of_user: np.ndarray
    """Which users are held out from what, int8 [U]."""
    taught: np.ndarray
    """The users whom the alignment and the head learn from, bool [U]."""
    semantic: np.ndarray
    """Text embeddings, [V, D]."""
    has_semantic: np.ndarray
    """bool [V]."""
    counts: np.ndarray
    """How often each item occurs in the whole log, int64 [V]."""
    training: TrainingConfig
    """How to train."""
    reporter: "_Reporter"
    """Tells how far it is."""
    keep: Checkpoints
    """Keep what is done."""
    earlier: ItemVectors | None
    """Vectors of the items by the model that the training starts from; None if it starts from nothing."""


def _learn_vectors(
    task: _Task,
    model: IADSR,
    recommender: Recommender,
    sequences: Sequences,
    streams: list[np.random.SeedSequence],
    workers: int,
) -> tuple[RecommenderFit, AlignmentFit, ItemVectors]:
    """Trains all of a model but its head. Returns what came of stage 1 and of the alignment, and the items' vectors."""
    # Interests and the vectors of other users know nothing of one another until the head reads both.
    with ThreadPoolExecutor(1) as pool:
        other = copy.deepcopy(model)
        side = pool.submit(_learn_of_others, task, other, streams[7], max(workers - 1, 1)) if workers > 1 else None
        task.reporter.beside = side
        try:
            recommended, collaborative, aligned = _learn_interests(
                task, model, recommender, sequences, streams[5:7], workers
            )
            co_occurrence, company = side.result() if side else _learn_of_others(task, other, streams[7], workers)
        except BaseException:
            task.reporter.stopped = True  # or the other thread would go on to its end
            raise
    model.context, model.chance = other.context, other.chance
    everybody, counts = task.everybody, task.counts
    clock = make_clock(everybody.times)
    model.clock.copy_(torch.from_numpy(clock))
    moments = tell(clock, everybody.times, len(everybody.items))
    lives = fit_lives(everybody, moments, len(counts), co_occurrence.shape[1])
    vectors = ItemVectors(collaborative, co_occurrence, company, lives, task.semantic, counts > 0, task.has_semantic)
    return recommended, aligned, vectors


def _learn_noise(
    task: _Task,
    model: IADSR,
    vectors: ItemVectors,
    sequences: Sequences,
    streams: list[np.random.SeedSequence],
    workers: int,
) -> tuple[float, dict[str, float]]:
    """Trains the head, and lets it expect the noise that the log shows. Returns its lean, and how well it detects."""
    log, training, part_of_user, taught = task.log, task.training, task.part_of_user, task.taught
    model.shortest_history.fill_(shortest_history(log))

    def examples_of(users: np.ndarray, *versions: Callable[[], AbstractContextManager[Version]]) -> HeadExamples:
        return collect_examples(model, log, [*versions], users, training.batch_positions, workers)

    def plain() -> AbstractContextManager[Version]:
        return nullcontext(Version(vectors))

    def poorer() -> AbstractContextManager[Version]:
        read = np.bincount(log.sequences.items[taught[log.sequences.users]], minlength=len(task.semantic)) > 0
        return poorer_version(vectors, read, training, np.random.default_rng(streams[3]))

    measured = some_users(log.sequences, part_of_user == _HELD_OUT_2, MAX_INTERACTIONS, streams[2])
    held_out = examples_of(measured, plain)
    fit_head(
        model,
        examples_of(taught, plain, poorer),
        held_out,
        training,
        streams[8],
        task.reporter.of("head", training.head_epochs),
        task.keep.of("head"),
    )

    def measure(lean: float) -> tuple[dict[str, float], np.ndarray]:
        expect(model, log, lean)
        measured = calibrate_head(model, held_out)
        return measured, _measure_reference(model, log, vectors, part_of_user, streams[9], workers)

    lean = 0.0
    detection, references = measure(lean)
    if model.head.trains and (lean := tell_lean(model, sequences, vectors, references, workers)):
        detection, references = measure(lean)
    model.noise_reference.copy_(torch.from_numpy(reference_of(references, lean)))
    return lean, detection


def _learn_interests(
    task: _Task,
    model: IADSR,
    recommender: Recommender,
    sequences: Sequences,
    streams: list[np.random.SeedSequence],
    workers: int,
) -> tuple[RecommenderFit, np.ndarray, AlignmentFit]:
    """Runs stage 1 and the alignment. Returns what came of both, and between them E_c, float32 [V, d]."""
    log, training, reporter = task.log, task.training, task.reporter
    windows, unchanged = (cut_windows(of, model.config.max_length) for of in (log.sequences, sequences))
    part = task.part_of_user[windows.users]
    # Stage 1 sees the users that stage 2 holds out: the collaborative vectors must know the held-out noise exactly
    # as they will know the noise of a log to be cleaned. To know when to stop, stage 1 holds out other users. Their
    # noise is left out: runs that were inserted into them are known from the users they come from.
    recommended = fit_recommender(
        recommender,
        log.sequences,
        windows.select(part != _HELD_OUT_1),
        sequences,
        unchanged.select(task.part_of_user[unchanged.users] == _HELD_OUT_1),
        training,
        streams[0],
        reporter.of("collaborative", training.collaborative_epochs),
        task.keep.of("collaborative"),
        workers,
    )
    model.backbone.load_state_dict(recommender.backbone.state_dict())
    model.predict.load_state_dict(recommender.predict.state_dict())
    collaborative = _item_table(recommender, task, np.bincount(sequences.items, minlength=len(task.counts)))
    nothing = np.zeros((len(task.counts), 0, collaborative.shape[1]), np.float32)
    timeless = np.zeros((len(task.counts), 0, LIFE_BINS), np.float32)
    vectors = ItemVectors(collaborative, nothing, nothing, timeless, task.semantic, task.counts > 0, task.has_semantic)
    aligned = fit_alignment(
        model,
        log,
        ItemTensors.select(model, vectors, np.arange(len(task.counts))),
        windows.select(task.taught[windows.users]),
        windows.select(part == _HELD_OUT_2),
        training,
        streams[1],
        reporter.of("alignment", training.alignment_epochs),
        task.keep.of("alignment"),
        workers,
    )
    return recommended, collaborative, aligned


def _learn_of_others(
    task: _Task, model: IADSR, stream: np.random.SeedSequence, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Learns the vectors of other users, and trains the context and measures chance by them.

    Returns:
        `co_occurrence` and `company` of `ItemVectors`, each float16 [V, folds, d].
    """
    items, size = len(task.counts), model.config.collaborative_dimension
    if not model.head.reads_other_users:
        for stage in ("others", "context"):
            task.reporter.of(stage, 1)(1, 1.0, {})
        nothing = np.zeros((items, 0, size), np.float32)
        return nothing, nothing
    co_occurrence, company = _fit_out_of_fold(task, model, workers)
    # The context reads neither E_c nor lives.
    unused, timeless = np.zeros((items, 0), np.float32), np.zeros((*co_occurrence.shape[:2], 0), np.float32)
    vectors = ItemVectors(unused, co_occurrence, company, timeless, task.semantic, task.counts > 0, task.has_semantic)
    item_tensors = ItemTensors.select(model, vectors, np.arange(items))
    measure_chance(model, item_tensors, task.counts)
    # As stage 1, and for the same reason, the context sees the users that stage 2 holds out.
    fit_context(
        model,
        task.log.sequences,
        item_tensors,
        (task.part_of_user == _HELD_OUT_2) | (task.part_of_user == _TRAINED_ON),
        task.part_of_user == _HELD_OUT_1,
        task.training,
        stream,
        task.reporter.of("context", task.training.context_epochs),
        task.keep.of("context"),
    )
    return co_occurrence, company


def _sample(sequences: Sequences, training: TrainingConfig) -> Sequences:
    """Returns at most `training.users` users, chosen by a hash of their keys and the seed."""
    if len(sequences) <= training.users:
        return sequences
    # Not the hash that folds are dealt by.
    order = sequences.shuffled(np.arange(len(sequences)), np.random.SeedSequence(training.seed))
    return sequences.take(np.sort(order[: training.users]))[0]


def some_users(
    sequences: Sequences, users: np.ndarray, interactions: int, stream: np.random.SeedSequence
) -> np.ndarray:
    """Returns as many of some users, bool [U], as have together at most so many interactions, chosen by a hash."""
    if sequences.lengths[users].sum() <= interactions:
        return users
    order = sequences.shuffled(np.flatnonzero(users), stream)
    chosen = np.zeros(len(users), bool)
    chosen[order[np.cumsum(sequences.lengths[order]) <= interactions]] = True
    return chosen


def _check_size(sequences: Sequences, *, sampled: bool) -> None:
    active = int((sequences.lengths > 1).sum())
    if active < MIN_USERS:
        raise InputError(
            "the sample of users is too small to train on" if sampled else "the log is too small to train on",
            code="TRAIN-SMALL",
            found=f"{active} users with two or more interactions",
            expected=f"{MIN_USERS} at least: some are held out, to know when to stop",
            fix="raise --users"
            if sampled
            else "give a larger log, or use a model trained on another log of the same catalogue",
        )


def _split_users(sequences: Sequences, held_out_share: float, stream: np.random.SeedSequence) -> np.ndarray:
    """Assigns users to _HELD_OUT_1, _HELD_OUT_2 or _TRAINED_ON by a hash of their keys, int8 [U].

    So nearly all of them are held out again when the log has grown: a model that a training starts from has not seen
    them either. Users with a single interaction say nothing about next items or agreement, so they are never held out.
    """
    part = np.full(len(sequences), _TRAINED_ON, np.int8)
    order = sequences.shuffled(np.flatnonzero(sequences.lengths > 1), stream)
    held_out = max(1, round(len(order) * held_out_share))
    part[order[:held_out]] = _HELD_OUT_1
    part[order[held_out : 2 * held_out]] = _HELD_OUT_2
    return part


def _measure_reference(
    model: IADSR,
    log: NoisyLog,
    vectors: ItemVectors,
    part_of_user: np.ndarray,
    stream: np.random.SeedSequence,
    workers: int,
) -> np.ndarray:
    """Counts the scores of inserted noise, see `measure_noise_reference`.

    If users that stage 1 has seen hold too little noise, as in a small log, users that it has not seen are added.
    """
    seen, unseen = part_of_user == _HELD_OUT_2, part_of_user == _HELD_OUT_1
    reference = measure_noise_reference(model, log, vectors, seen, np.random.default_rng(stream), workers)
    if reference[0].sum() < MIN_REFERENCE:
        reference += measure_noise_reference(model, log, vectors, unseen, np.random.default_rng(stream), workers)
    return reference


def _item_table(recommender: Recommender, task: _Task, counts: np.ndarray) -> np.ndarray:
    """Returns E_c: the item table as unit vectors, float32 [V, d]; zeros for items that the log does not hold.

    An item that none of the users has whom the recommender was trained on borrows its vector from items of similar
    text, as `clean` does for items that are new to a model. `counts` are those of these users.
    """
    unit = F.normalize(recommender.table.weight.detach(), dim=-1).numpy() * (counts > 0)[:, None]
    new, known = ((there & task.has_semantic) for there in ((counts == 0) & (task.counts > 0), counts > 0))
    if new.any() and known.any():
        for borrowers, lenders, weights in find_lenders(task.semantic, known, new):
            unit[borrowers] = mean_of(unit, lenders, weights)
    return unit


def _fit_out_of_fold(task: _Task, model: IADSR, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns `co_occurrence` and `company` of `ItemVectors`, each float16 [V, folds, d].

    They are learned from the log without the inserted noise. To the vectors of other folds, a user's genuine
    interactions are as new as the inserted ones. One difference remains for an item that occurs once or twice in the
    log: leaving out a genuine interaction makes the item less known, leaving out an inserted one does not. Vectors that
    have seen the inserted noise were no better. The log with the inserted noise decides which components are kept.
    """
    report, checkpoint = task.reporter.of("others", 1), task.keep.of("others")
    state = checkpoint.load()
    if state is None:
        size, known = model.config.collaborative_dimension, task.has_semantic
        co_occurrence = agreeing_vectors(
            fit_co_occurrence(
                task.everybody,
                len(known),
                folds=model.config.folds,
                dimension=max(SINGULAR_VECTORS, size),
                seed=task.training.seed,
                workers=workers,
            ),
            task.log.sequences,
            size,
        )  # [folds, V, d]
        texts = np.zeros((len(known), size), np.float32)
        for first in range(0, len(texts), ITEMS_AT_ONCE):
            rows = np.arange(first, min(first + ITEMS_AT_ONCE, len(texts)))
            reduced = reduce_texts(model, task.semantic, known, rows)[:-1, :size]
            texts[rows, : reduced.shape[1]] = reduced  # the strongest components come first
        company = fit_company(task.everybody, texts, known, folds=model.config.folds)
        company = agreeing_vectors(company, task.log.sequences, size)
        if task.earlier:
            known = task.counts * task.earlier.has_collaborative
            co_occurrence = turn(co_occurrence, task.earlier.co_occurrence.swapaxes(0, 1), known)
            company = turn(company, task.earlier.company.swapaxes(0, 1), known)
        state = {"co_occurrence": torch.from_numpy(co_occurrence), "company": torch.from_numpy(company)}
        checkpoint.save(state)
    report(1, 1.0, {})
    trim_heap()
    return state["co_occurrence"].numpy().swapaxes(0, 1), state["company"].numpy().swapaxes(0, 1)


def _set_text_components(model: IADSR, sequences: Sequences, semantic: np.ndarray, has_semantic: np.ndarray) -> None:
    """Stores in a new model the components of the text embeddings that it works with."""
    if has_semantic.any():
        mean, basis = fit_text_components(sequences, semantic, has_semantic, model.semantic_basis.shape[1])
        model.semantic_mean.copy_(torch.from_numpy(mean))
        model.semantic_basis.copy_(torch.from_numpy(basis))


class _Reporter:
    """Tells how far the whole training is, from all its threads.

    Attributes:
        history: One entry per epoch: stage, epoch and its measurements.
        beside: What runs in another thread. If it fails, the next report raises its error.
        stopped: Set to true, it ends whatever still reports.
    """

    def __init__(self, progress: Callable[[TrainingProgress], None] | None):
        self.history: list[dict[str, Any]] = []
        self.beside: Future[Any] | None = None
        self.stopped = False
        self._progress, self._lock = progress, threading.Lock()
        self._done: dict[Stage, float] = {}

    def of(self, stage: Stage, epochs: int) -> Callable[[int, float, dict[str, float]], None]:
        """Returns what a stage reports with: the epoch, the fraction of it, and measurements at its end."""

        def report(epoch: int, done: float, metrics: dict[str, float]) -> None:
            if self.stopped:
                raise InterruptedError("the training was stopped")
            if self.beside is not None and self.beside.done():
                self.beside.result()
            with self._lock:
                if metrics:
                    self.history.append({"stage": stage, "epoch": epoch, **metrics})
                self._done[stage] = (epoch - 1 + done) / epochs
                fraction = sum(share * self._done.get(each, 0.0) for each, share in STAGE_SHARES.items())
                if self._progress:
                    self._progress(TrainingProgress(stage, epoch, epochs, fraction, metrics))

        return report
