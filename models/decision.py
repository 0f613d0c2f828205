"""Stage 2, second part: the noise head, trained on the noise that we inserted and calibrated on held-out users."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from torch import Tensor
from torch.nn import functional as F

from .alignment import area_under_roc
from .batch import Batch
from .catalogue import CatalogueTensors
from .config import TrainingConfig
from .epochs import lower_rate
from .iadsr import IADSR, SIMILARITIES
from .noise import NoisyLog
from .scoring import BatchReader
from .sequences import batches
from .stopping import EarlyStopping

CALIBRATION_BINS = 15
MOST_WEIGHT = 10.0
"""Of an inserted interaction; a level of popularity with hardly any noise must not hang on one example."""
LARGEST_BATCH = 1024
"""Examples per batch of the noise head."""
ENOUGH = 0.5
"""Of the overall share of noise, for a length of histories to say something."""
SHORT = 16
"""Lengths of histories below this are levels of their own; from here on a level spans a doubling."""


@dataclass(frozen=True)
class Examples:
    """Interactions as the noise head sees them, one row each.

    Attributes:
        features: [n, F].
        defined: bool [n, F].
        length: Interactions in the whole history, [n].
        label: 1 on inserted noise, [n].
        weight: What a row counts in training and measuring, [n].
    """

    features: Tensor
    defined: Tensor
    length: Tensor
    label: Tensor
    weight: Tensor

    def __add__(self, other: "Examples") -> "Examples":
        """Appends the rows of another."""
        return Examples(*(torch.cat([a, b]) for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def select(self, rows: Tensor) -> "Examples":
        """Returns some rows, by index or bool mask."""
        return Examples(*(tensor[rows] for tensor in vars(self).values()))


def measure_chance(model: IADSR, catalogue: CatalogueTensors, counts: np.ndarray) -> None:
    """Stores in the model the similarity that chance gives, from the catalogue and its items' counts [V] in the log."""
    items, pairs = (torch.from_numpy(counted).float() for counted in (counts, counts[catalogue.items]))  # [V], [P]
    text = F.normalize(catalogue.semantic, dim=-1)
    views = [*catalogue.others.unbind(1), text]  # each [P + 1, d], and [V + 1, k]
    known = [*catalogue.has_others.unbind(1), catalogue.has_semantic]
    for vectors, present, counted, chance in zip(views, known, (pairs, pairs, items), model.chances, strict=True):
        chance.measure(vectors, F.pad(counted, (0, 1)) * present)


def balance(log: NoisyLog) -> np.ndarray:
    """Weighs inserted interactions so that noise is as frequent among rare items as among popular ones.

    Without it uniform noise, and popular items that a user has already and so cannot be given, make rarity evidence of
    noise. On MovieLens-100K the head then dropped 17% of genuine interactions on the rarest sixth and 2% on the
    most popular; with it 8% and 7%, and it found more noise. Likewise for lengths: insertion only lengthens, so that
    short histories hold less inserted noise than long ones, which says nothing of the noise that was there.

    Returns:
        The weight of each interaction, float32 [N]: 1 on genuine ones; on inserted ones what their item's level of
        popularity (doubling from one to the next) and their user's length need to come to the overall share of noise.
    """
    items, inserted = log.sequences.items, log.inserted
    counts = np.bincount(items[~inserted], minlength=items.max() + 1)
    popularity = np.log2(np.maximum(counts, 1)).astype(int)[items]
    lengths = np.maximum(log.sequences.lengths[log.sequences.users], shortest_history(log))
    length = np.where(lengths < SHORT, lengths, SHORT + np.log2(np.maximum(lengths / SHORT, 1)).astype(int))
    weight = np.ones(len(items))
    odds = inserted.sum() / max((~inserted).sum(), 1)
    for level in (length, popularity):
        genuine, noise = (np.bincount(level[side], weight[side], level.max() + 1) for side in (~inserted, inserted))
        needed = np.minimum(odds * genuine / np.maximum(noise, 1), MOST_WEIGHT)
        weight[inserted] *= needed[level[inserted]]
    return np.minimum(weight, MOST_WEIGHT).astype(np.float32)


def shortest_history(log: NoisyLog) -> int:
    """Returns the length for which all shorter histories count, too, as far as the noise head can see.

    Up to this length histories hold half as much inserted noise as the log does, and less up to any shorter one. Where
    a log was cut to users of at least k interactions, those of exactly k hold none, as insertion only lengthens. No
    weight can mend that, and a head that saw their length took all that they did for genuine: where noise replaced 20%
    of Amazon Beauty, it found 2.7% in the shortest histories, and 14% since it cannot tell them from longer ones
    (AUROC of all 0.873 and 0.886).
    """
    lengths = log.sequences.lengths[log.sequences.users]
    interactions, noise = np.bincount(lengths).cumsum(), np.bincount(lengths, log.inserted).cumsum()
    return int((noise >= ENOUGH * log.inserted.mean() * np.maximum(interactions, 1)).argmax())


def collect_examples(
    model: IADSR,
    log: NoisyLog,
    catalogue: CatalogueTensors,
    users: np.ndarray,
    batch_positions: int,
    change: Callable[[Batch], Batch] | None = None,
) -> Examples:
    """Computes the agreement features of some users' interactions, those of users with a single one left out.

    Args:
        model: The aligned model.
        log: The log.
        catalogue: The item vectors.
        users: Whom to read, bool [U].
        batch_positions: Padded positions per batch.
        change: Applied to each batch first, such as hiding a modality.
    """
    model.eval()
    weight = balance(log)
    reader = BatchReader(model, log.sequences, catalogue)
    windows = reader.windows.select(users[reader.windows.users] & (reader.windows.lengths > 1))
    parts = []
    with torch.no_grad():
        for chosen, index, mask in batches(windows, batch_positions):
            batch = reader.batch(windows.users[chosen], index, mask)
            if change:
                batch = change(batch)
            features, defined = model.features(batch, model.interests(batch))
            label, count = (torch.from_numpy(column[index]).to(features) for column in (log.inserted, weight))
            judged = torch.from_numpy(windows.judged(chosen, mask)) & (batch.has_collaborative | batch.has_semantic)
            parts.append(Examples(*(part[judged] for part in (features, defined, batch.length, label, count))))
    return Examples(*(torch.cat(column) for column in zip(*(vars(part).values() for part in parts), strict=True)))


def fit_decision(
    model: IADSR,
    examples: Examples,
    held_out: Examples,
    training: TrainingConfig,
    generator: np.random.Generator,
    report: Callable[[int, float, dict[str, float]], None],
) -> dict[str, float]:
    """Trains the noise head by binary cross-entropy, keeps the best epoch for held-out users, and calibrates on them.

    Args:
        model: The aligned model; its head, standardisation and calibration are set.
        examples: To train on.
        held_out: Of users not trained on.
        training: How to train.
        generator: Source of the batches.
        report: Called with the epoch (from 1), the fraction of it that is done, and measurements at its end.

    Returns:
        Detection measurements on held-out users, noise being as frequent at every popularity and length.
    """
    _standardise(model, examples)
    optimiser = torch.optim.AdamW(model.head.parameters(), weight_decay=training.head_weight_decay)
    # The falling rate ends the training; what held-out users decide is which epoch is kept.
    stopping = EarlyStopping(model.head, training.head_epochs)

    def logits(rows: Examples) -> Tensor:
        return model.head_logit(rows.features, rows.defined, rows.length)

    def loss_of(rows: Examples) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits(rows), rows.label, rows.weight)

    trains = model.config.head == "agreement"  # the paper's, the sum of the similarities, has nothing to train
    for epoch in range(1, training.head_epochs + 1 if trains else 1):
        lower_rate(optimiser, training.head_learning_rate, epoch, training.head_epochs)
        order = torch.from_numpy(generator.permutation(len(examples.label)))
        for rows in order.split(min(training.batch_positions, LARGEST_BATCH)):
            chosen = examples.select(rows)
            loss = loss_of(chosen)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            measured = loss_of(held_out).item()
        report(epoch, 1.0, {"held_out_loss": measured})
        if stopping.stop_after(epoch, measured):
            break
    stopping.restore_best()
    if not trains:
        report(training.head_epochs, 1.0, {})
    with torch.no_grad():
        return _calibrate(model, held_out, logits(held_out).numpy().astype(np.float64))


def _standardise(model: IADSR, examples: Examples) -> None:
    """Stores what is usual: of each feature in training, and of the similarities among genuine interactions."""
    mean, deviation = _moments(examples.features, examples.defined)
    model.feature_mean[: len(mean)].copy_(mean)
    model.feature_deviation[: len(mean)].copy_(deviation)
    genuine = examples.select(examples.label == 0)
    mean, deviation = _moments(genuine.features, genuine.defined)
    model.genuine_mean.copy_(mean[: len(SIMILARITIES)])
    model.genuine_deviation.copy_(deviation[: len(SIMILARITIES)])


def _moments(values: Tensor, defined: Tensor) -> tuple[Tensor, Tensor]:
    count = defined.sum(0).clamp(min=1)
    mean = (values * defined).sum(0) / count
    variance = ((values - mean).square() * defined).sum(0) / count
    return mean, variance.sqrt().clamp(min=1e-4)


def _calibrate(model: IADSR, held_out: Examples, logits: np.ndarray) -> dict[str, float]:
    """Fits Platt's scale and shift of the logit (without a penalty) and measures what comes of it.

    Both happen on the same users: two numbers fitted on thousands of interactions flatter the measurements very little.
    """
    label, weight = held_out.label.numpy(), held_out.weight.numpy().astype(np.float64)
    if label.any() and not label.all():
        platt = LogisticRegression(C=np.inf).fit(logits[:, None], label, weight)
        # A negative scale would turn the order round; it can only come of a head that learned nothing.
        scale, shift = max(float(platt.coef_[0, 0]), 1e-3), float(platt.intercept_[0])
        model.calibration.copy_(torch.tensor([scale, shift]))
    scale, shift = model.calibration.tolist()
    probability = expit(logits * scale + shift)
    return {
        "held_out_auroc": area_under_roc(label, probability, weight),
        "held_out_average_precision": float(average_precision_score(label, probability, sample_weight=weight))
        if label.any()
        else 0.0,
        "held_out_log_loss": float(log_loss(label, probability, labels=[0, 1], sample_weight=weight)),
        "held_out_calibration_error": calibration_error(label, probability, weight),
    }


def calibration_error(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> float:
    """Returns the expected calibration error: mean gap of probability and true share over bins of equal width."""
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=weight * (probability - label), minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / weight.sum())
