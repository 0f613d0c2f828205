"""Trains a model from a log and text embeddings: inserts noise, then stage 1, stage 2 and the noise head."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from ..core.errors import InputError
from ..core.item_vectors import ItemVectors
from ..core.sequences import Sequences
from ..core.windows import cut_windows
from ..detector.iadsr import IADSR
from ..detector.item_tensors import ItemTensors
from ..detector.model_config import IADSRConfig
from ..noise.insertion import NoisyLog, insert_noise
from ..noise.share import MIN_REFERENCE
from ..vectors.co_occurrence import fit_other_users
from ..vectors.plda import agreeing_vectors, fit_text_components
from .augmentation import _two_views
from .examples import collect_examples, measure_chance, shortest_history
from .fit_alignment import fit_alignment
from .fit_context import fit_context
from .fit_head import fit_decision
from .fit_recommender import Recommender, fit_recommender
from .noise_reference import measure_noise_reference
from .training_config import TrainingConfig

Stage = Literal["collaborative", "alignment", "context", "head"]


_SHARES: dict[Stage, tuple[float, float]] = {
    "collaborative": (0.0, 0.4),
    "alignment": (0.4, 0.2),
    "context": (0.6, 0.3),
    "head": (0.9, 0.1),
}
"""Where each stage starts in the whole training, and how much of it it takes."""


MIN_USERS = 20


STEPS_PER_EPOCH, MIN_BATCH = 50, 256


SINGULAR_VECTORS = 256
"""Of the items' co-occurrence, from which the components are taken that count."""


@dataclass(frozen=True)
class TrainingProgress:
    """Where a running training stands.

    Attributes:
        stage: What is being trained.
        epoch: The epoch at work, from 1.
        epochs: The most epochs this stage can take; it usually stops earlier.
        fraction: Share of the whole training that is done, in [0, 1]; never falls.
        metrics: Measurements, at the end of an epoch only.
    """

    stage: Stage
    epoch: int
    epochs: int
    fraction: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and what it was trained with.

    Attributes:
        model: Ready to score; `model.metrics` holds `metrics`.
        collaborative: float32 [V, IADSRConfig.collaborative_width]: E_c, and what other users say of the items; zeros
            where `has_collaborative` is false.
        has_collaborative: bool [V], true for items that occur in the log.
        metrics: JSON-able: counts, and measurements on held-out users.
        history: One entry per epoch: stage, epoch and its measurements.
    """

    model: IADSR
    collaborative: np.ndarray
    has_collaborative: np.ndarray
    metrics: dict[str, Any]
    history: list[dict[str, Any]]


def train(
    sequences: Sequences,
    semantic: np.ndarray,
    has_semantic: np.ndarray,
    config: IADSRConfig,
    training: TrainingConfig,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> TrainingResult:
    """Trains a model on a log.

    Noise of our own goes into the log before anything is trained, so that the collaborative vectors have seen it just
    as they have seen the noise that was there already; else the head would only learn "was not in my training data".

    Args:
        sequences: The log, items being rows of `semantic`.
        semantic: Text embeddings, float [V, D].
        has_semantic: bool [V]; rows of `semantic` are meaningless where false.
        config: The model's shape; its `semantic_dimension` is replaced by D.
        training: How to train.
        progress: Called after every batch of stages 1 and 2, and after every epoch.

    Raises:
        InputError: The log has too few users to hold some out.
        ValueError: `training.noise_rate` is not in [0, 1).
    """
    # Threads of a BLAS spin while they wait for one another. On a machine with other work that took a hundred times as
    # long, and the last bits of a result would depend on how many there are.
    with threadpool_limits(1, user_api="blas"):
        return _train(sequences, semantic, has_semantic, config, training, progress)


def _train(
    sequences: Sequences,
    semantic: np.ndarray,
    has_semantic: np.ndarray,
    config: IADSRConfig,
    training: TrainingConfig,
    progress: Callable[[TrainingProgress], None] | None,
) -> TrainingResult:
    _check_size(sequences)
    config = replace(config, semantic_dimension=semantic.shape[1])
    batch_positions = max(MIN_BATCH, min(training.batch_positions, len(sequences.items) // STEPS_PER_EPOCH))
    training = replace(training, batch_positions=batch_positions)
    tell, history = _reporter(training, progress)
    streams = np.random.SeedSequence(training.seed).spawn(6)
    log = insert_noise(sequences, training.noise_rate, uniform_share=training.uniform_share, seed=streams[0])
    splitting, batching, viewing = (np.random.default_rng(stream) for stream in streams[1:4])
    windows = cut_windows(log.sequences, config.max_length)
    part_of_user = _split_users(sequences, training.held_out_share, splitting)
    part = part_of_user[windows.users]
    counts = np.bincount(sequences.items, minlength=len(semantic))
    has_semantic = has_semantic.astype(bool)

    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would seed a GPU's generator too, which nothing here uses or puts back.
        torch.default_generator.manual_seed(int(streams[4].generate_state(1)[0]))
        # Stage 1 sees the users that stage 2 holds out: the collaborative vectors must know the held-out noise exactly
        # as they will know the noise of a log to be cleaned. Its own stopping uses users of its own.
        learned = fit_recommender(
            log.sequences,
            windows.select(part != 0),
            windows.select(part == 0),
            len(semantic),
            config,
            training,
            batching,
            lambda *at: tell("collaborative", training.collaborative_epochs, *at),
        )
        model = _start_model(config, learned.recommender, log.sequences, semantic, has_semantic)
        collaborative = _read_table(learned.recommender, counts)
        if config.head == "agreement":
            others = _learn_from_others(model, log, sequences, semantic, has_semantic, training.seed)
            collaborative = np.concatenate([collaborative, others], axis=1)
        vectors = ItemVectors(collaborative, semantic, counts > 0, has_semantic)
        catalogue = ItemTensors.select(model, vectors, np.arange(len(semantic)))
        aligned = fit_alignment(
            model,
            log,
            catalogue,
            windows.select(part == 2),
            windows.select(part == 1),
            training,
            batching,
            lambda *at: tell("alignment", training.alignment_epochs, *at),
        )
        if config.head == "agreement":
            measure_chance(model, catalogue, counts)
            # Like stage 1, for the same reason, it sees all users but those that stage 1 stopped on.
            fit_context(
                model,
                log.sequences,
                catalogue,
                part_of_user != 0,
                part_of_user == 0,
                training,
                batching,
                lambda *at: tell("context", training.context_epochs, *at),
            )
        model.shortest_history.fill_(shortest_history(log))
        detection = fit_decision(
            model,
            _two_views(model, log, vectors, catalogue, part_of_user == 2, training, viewing),
            collect_examples(model, log, catalogue, part_of_user == 1, training.batch_positions),
            training,
            batching,
            lambda *at: tell("head", training.head_epochs, *at),
        )
        reference = _measure_reference(model, log, vectors, part_of_user, streams[5])
        model.noise_reference.copy_(torch.from_numpy(reference))
    metrics = {
        "users": len(sequences),
        "items": int((counts > 0).sum()),
        "items_without_text": int(((counts > 0) & ~vectors.has_semantic).sum()),
        "interactions": len(sequences.items),
        "inserted_interactions": int(log.inserted.sum()),
        "inserted_share": float(log.inserted.mean()),
        "collaborative_epochs": learned.epochs,
        "collaborative_held_out_loss": learned.held_out_loss,
        "alignment_epochs": aligned.epochs,
        "alignment_held_out_auroc": aligned.held_out_auroc,
        **detection,
    }
    model.metrics = metrics
    model.training_options = asdict(training)
    return TrainingResult(model.eval(), vectors.collaborative, vectors.has_collaborative, metrics, history)


def _check_size(sequences: Sequences) -> None:
    active = int((sequences.lengths > 1).sum())
    if active < MIN_USERS:
        raise InputError(
            "the log is too small to train on",
            code="TRAIN-SMALL",
            found=f"{active} users with two or more interactions",
            expected=f"{MIN_USERS} at least: some are held out, to know when to stop",
            fix="give a larger log, or use a model trained on another log of the same catalogue",
        )


def _split_users(sequences: Sequences, held_out_share: float, generator: np.random.Generator) -> np.ndarray:
    """Assigns users at random: 0 stops stage 1, 1 stops and calibrates stage 2, 2 is trained on. int8 [U].

    Users of a single interaction tell nothing about next items or agreement, so they are never held out.
    """
    part = np.full(len(sequences), 2, np.int8)
    order = generator.permutation(np.flatnonzero(sequences.lengths > 1))
    held_out = max(1, round(len(order) * held_out_share))
    part[order[:held_out]] = 0
    part[order[held_out : 2 * held_out]] = 1
    return part


def _measure_reference(
    model: IADSR, log: NoisyLog, vectors: ItemVectors, part_of_user: np.ndarray, stream: np.random.SeedSequence
) -> np.ndarray:
    """Returns what noise scores, see `probing`.

    Where users that stage 1 has seen hold too little of it, as in a small log, those that it has not seen help out.
    """
    reference = measure_noise_reference(model, log, vectors, part_of_user == 1, np.random.default_rng(stream))
    if reference.sum() < MIN_REFERENCE:
        reference += measure_noise_reference(model, log, vectors, part_of_user == 0, np.random.default_rng(stream))
    return reference


def _read_table(recommender: Recommender, counts: np.ndarray) -> np.ndarray:
    """Returns the item table as unit vectors, zeros for items that the log does not hold, float32 [V, d]."""
    unit = F.normalize(recommender.table.weight.detach(), dim=-1).numpy()
    return unit * (counts > 0)[:, None]


def _learn_from_others(
    model: IADSR, log: NoisyLog, sequences: Sequences, semantic: np.ndarray, has_semantic: np.ndarray, seed: int
) -> np.ndarray:
    """Returns by item, fold and kind the vectors learned from other folds' users, float32 [V, folds * 2 * d].

    They come of the log without our insertions. A user's own interactions are new to vectors of other folds, and so are
    the inserted ones; but what makes an item known to others is missing from the first alone, which tells them apart
    where an item occurs once or twice in the log. Vectors that have seen the insertions measured no better. Which of
    their components count is decided by the log with them.
    """
    size = model.config.collaborative_dimension
    texts = np.zeros((len(semantic), size), np.float32)
    with torch.no_grad():
        reduced = model.reduce_semantic(torch.from_numpy(np.asarray(semantic[has_semantic], np.float32)))[:, :size]
    texts[has_semantic, : reduced.shape[1]] = reduced.numpy()  # the strongest components come first
    vectors = fit_other_users(
        sequences, texts, has_semantic, folds=model.config.folds, dimension=max(SINGULAR_VECTORS, size), seed=seed
    )
    kinds = [agreeing_vectors(kind, log.sequences, size) for kind in (vectors.co_occurrence, vectors.company)]
    return np.stack(kinds, axis=2).swapaxes(0, 1).reshape(len(semantic), -1)  # of [folds, V, 2, d]


def _start_model(
    config: IADSRConfig,
    recommender: Recommender,
    sequences: Sequences,
    semantic: np.ndarray,
    has_semantic: np.ndarray,
) -> IADSR:
    """Builds the model that stage 2 begins with: stage 1's encoder, and the components of the text embeddings."""
    model = IADSR(config)
    model.backbone.load_state_dict(recommender.backbone.state_dict())
    model.predict.load_state_dict(recommender.predict.state_dict())
    if has_semantic.any():
        mean, basis = fit_text_components(sequences, semantic, has_semantic, model.semantic_basis.shape[1])
        model.semantic_mean.copy_(torch.from_numpy(mean))
        model.semantic_basis.copy_(torch.from_numpy(basis))
    return model


def _reporter(training: TrainingConfig, progress: Callable[[TrainingProgress], None] | None):
    history: list[dict[str, Any]] = []

    def tell(stage: Stage, epochs: int, epoch: int, done: float, metrics: dict[str, float]) -> None:
        start, share = _SHARES[stage]
        if metrics:
            history.append({"stage": stage, "epoch": epoch, **metrics})
        if progress:
            progress(TrainingProgress(stage, epoch, epochs, start + share * (epoch - 1 + done) / epochs, metrics))

    return tell, history
