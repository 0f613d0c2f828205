"""Trains a model from a log and text embeddings: inserts noise, then runs stage 1, stage 2 and the noise head."""

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
from ..noise.insertion import NoiseMix, NoisyLog, insert_noise
from ..noise.share import MIN_REFERENCE
from ..vectors.co_occurrence import fit_out_of_fold_vectors
from ..vectors.neighbours import nearest_texts
from ..vectors.plda import agreeing_vectors, fit_text_components
from .augmentation import collect_augmented_examples
from .fit_alignment import fit_alignment
from .fit_context import fit_context
from .fit_head import fit_head
from .fit_recommender import Recommender, fit_recommender
from .head_examples import collect_examples, measure_chance, shortest_history
from .noise_reference import measure_noise_reference
from .training_config import TrainingConfig

Stage = Literal["collaborative", "alignment", "context", "head"]

STAGE_SHARES: dict[Stage, tuple[float, float]] = {
    "collaborative": (0.0, 0.4),
    "alignment": (0.4, 0.2),
    "context": (0.6, 0.3),
    "head": (0.9, 0.1),
}
"""Where each stage starts in the whole training, and which share of it the stage takes."""

MIN_USERS = 20
"""Users with two or more interactions that a log needs."""

STEPS_PER_EPOCH = 50
"""A small log gets smaller batches, so that an epoch has about this many."""

MIN_BATCH = 256
"""Positions that a batch can hold in any case."""

SINGULAR_VECTORS = 256
"""Singular vectors of the items' co-occurrence. The components that agree most within users are taken from them."""

_HELD_OUT_1, _HELD_OUT_2, _TRAINED_ON = 0, 1, 2
"""Parts of the users: held out from stage 1 and what follows; held out from stage 2 and the head only; the rest."""


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
) -> TrainingResult:
    """Trains a model on a log.

    Training inserts noise into the log first of all. So the collaborative vectors have seen this noise, as they have
    seen the noise that was there already. Otherwise the head would only learn "was not in my training data".

    Args:
        sequences: The log; items are rows of `semantic`.
        semantic: Text embeddings, float [V, D].
        has_semantic: bool [V]; a row of `semantic` means nothing where it is false.
        config: The model's shape. Its `semantic_dimension` is replaced by D.
        training: How to train.
        progress: Called after every batch of stages 1 and 2, and after every epoch.

    Raises:
        InputError: The log has too few users to hold some out.
        ValueError: `training.noise_rate` is not in [0, 1).
    """
    # Threads of a BLAS spin while they wait for one another, which takes very long on a machine with other work. Also,
    # the last bits of a result would depend on the number of threads.
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
    counts = np.bincount(sequences.items, minlength=len(semantic))
    has_semantic = has_semantic.astype(bool)
    splitting, batching, augmenting = (np.random.default_rng(stream) for stream in streams[1:4])
    part_of_user = _split_users(sequences, training.held_out_share, splitting)
    log = insert_noise(
        sequences,
        training.noise_rate,
        uniform_share=training.uniform_share,
        seed=streams[0],
        mix=NoiseMix(
            run_share=training.run_share,
            text_share=training.text_share,
            nearest=nearest_texts(semantic, has_semantic & (counts > 0)),
            folds=config.folds,
            lenders=part_of_user != _HELD_OUT_1,  # stage 1 would see parts of these users
        ),
    )
    windows, unchanged = (cut_windows(of, config.max_length) for of in (log.sequences, sequences))
    part = part_of_user[windows.users]

    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would seed a GPU's generator too, which nothing here uses or puts back.
        torch.default_generator.manual_seed(int(streams[4].generate_state(1)[0]))
        # Stage 1 sees the users that stage 2 holds out: the collaborative vectors must know the held-out noise exactly
        # as they will know the noise of a log to be cleaned. To know when to stop, stage 1 holds out other users. Their
        # noise is left out: runs that were inserted into them are known from the users they come from.
        recommended = fit_recommender(
            log.sequences,
            windows.select(part != _HELD_OUT_1),
            sequences,
            unchanged.select(part_of_user[unchanged.users] == _HELD_OUT_1),
            len(semantic),
            config,
            training,
            batching,
            lambda *at: tell("collaborative", training.collaborative_epochs, *at),
        )
        model = _initial_model(config, recommended.recommender, log.sequences, semantic, has_semantic)
        collaborative = _item_table(recommended.recommender, counts)
        if model.head.reads_other_users:
            co_occurrence, company = _fit_out_of_fold(model, log, sequences, semantic, has_semantic, training.seed)
        else:
            co_occurrence = company = np.zeros((len(semantic), 0, config.collaborative_dimension), np.float32)
        vectors = ItemVectors(collaborative, co_occurrence, company, semantic, counts > 0, has_semantic)
        item_tensors = ItemTensors.select(model, vectors, np.arange(len(semantic)))
        aligned = fit_alignment(
            model,
            log,
            item_tensors,
            windows.select(part == _TRAINED_ON),
            windows.select(part == _HELD_OUT_2),
            training,
            batching,
            lambda *at: tell("alignment", training.alignment_epochs, *at),
        )
        if model.head.reads_other_users:
            measure_chance(model, item_tensors, counts)
            # As stage 1, and for the same reason, the context sees the users that stage 2 holds out.
            fit_context(
                model,
                log.sequences,
                item_tensors,
                part_of_user != _HELD_OUT_1,
                part_of_user == _HELD_OUT_1,
                training,
                batching,
                lambda *at: tell("context", training.context_epochs, *at),
            )
        model.shortest_history.fill_(shortest_history(log))
        detection = fit_head(
            model,
            collect_augmented_examples(
                model, log, vectors, item_tensors, part_of_user == _TRAINED_ON, training, augmenting
            ),
            collect_examples(model, log, item_tensors, part_of_user == _HELD_OUT_2, training.batch_positions),
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
        "collaborative_epochs": recommended.epochs,
        "collaborative_held_out_loss": recommended.held_out_loss,
        "alignment_epochs": aligned.epochs,
        "alignment_held_out_auroc": aligned.held_out_auroc,
        **detection,
    }
    model.metrics = metrics
    model.training_options = asdict(training)
    return TrainingResult(model.eval(), vectors, metrics, history)


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
    """Assigns users at random to _HELD_OUT_1, _HELD_OUT_2 or _TRAINED_ON, int8 [U].

    Users with a single interaction say nothing about next items or agreement, so they are never held out.
    """
    part = np.full(len(sequences), _TRAINED_ON, np.int8)
    order = generator.permutation(np.flatnonzero(sequences.lengths > 1))
    held_out = max(1, round(len(order) * held_out_share))
    part[order[:held_out]] = _HELD_OUT_1
    part[order[held_out : 2 * held_out]] = _HELD_OUT_2
    return part


def _measure_reference(
    model: IADSR, log: NoisyLog, vectors: ItemVectors, part_of_user: np.ndarray, stream: np.random.SeedSequence
) -> np.ndarray:
    """Counts the scores of inserted noise, see `measure_noise_reference`.

    If users that stage 1 has seen hold too little noise, as in a small log, users that it has not seen are added.
    """
    seen, unseen = part_of_user == _HELD_OUT_2, part_of_user == _HELD_OUT_1
    reference = measure_noise_reference(model, log, vectors, seen, np.random.default_rng(stream))
    if reference.sum() < MIN_REFERENCE:
        reference += measure_noise_reference(model, log, vectors, unseen, np.random.default_rng(stream))
    return reference


def _item_table(recommender: Recommender, counts: np.ndarray) -> np.ndarray:
    """Returns E_c: the item table as unit vectors, float32 [V, d]; zeros for items that the log does not hold."""
    unit = F.normalize(recommender.table.weight.detach(), dim=-1).numpy()
    return unit * (counts > 0)[:, None]


def _fit_out_of_fold(
    model: IADSR, log: NoisyLog, sequences: Sequences, semantic: np.ndarray, has_semantic: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `co_occurrence` and `company` of `ItemVectors`, each float32 [V, folds, d].

    They are learned from the log without the inserted noise. To the vectors of other folds, a user's genuine
    interactions are as new as the inserted ones. One difference remains for an item that occurs once or twice in the
    log: leaving out a genuine interaction makes the item less known, leaving out an inserted one does not. Vectors that
    have seen the inserted noise were no better. The log with the inserted noise decides which components are kept.
    """
    size = model.config.collaborative_dimension
    texts = np.zeros((len(semantic), size), np.float32)
    with torch.no_grad():
        reduced = model.reduce_semantic(torch.from_numpy(np.asarray(semantic[has_semantic], np.float32)))[:, :size]
    texts[has_semantic, : reduced.shape[1]] = reduced.numpy()  # the strongest components come first
    vectors = fit_out_of_fold_vectors(
        sequences, texts, has_semantic, folds=model.config.folds, dimension=max(SINGULAR_VECTORS, size), seed=seed
    )
    co_occurrence, company = (
        agreeing_vectors(by_fold, log.sequences, size) for by_fold in (vectors.co_occurrence, vectors.company)
    )  # each [folds, V, d]
    return co_occurrence.swapaxes(0, 1), company.swapaxes(0, 1)


def _initial_model(
    config: IADSRConfig,
    recommender: Recommender,
    sequences: Sequences,
    semantic: np.ndarray,
    has_semantic: np.ndarray,
) -> IADSR:
    """Builds the model that stage 2 starts from: stage 1's encoder, and the components of the text embeddings."""
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
        start, share = STAGE_SHARES[stage]
        if metrics:
            history.append({"stage": stage, "epoch": epoch, **metrics})
        if progress:
            progress(TrainingProgress(stage, epoch, epochs, start + share * (epoch - 1 + done) / epochs, metrics))

    return tell, history
