"""The last stage: trains the noise head on the noise that training inserted, and calibrates it on held-out users."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from torch import Tensor
from torch.nn import functional as F

from ..detector.features import SIMILARITIES
from ..detector.heads import LOGITS
from ..detector.iadsr import IADSR
from .checkpoints import Checkpoint
from .detection_metrics import area_under_roc, calibration_error
from .early_stopping import EarlyStopping
from .epochs import falling_rate, run_epochs
from .head_examples import HeadExamples
from .training_config import TrainingConfig

MAX_BATCH = 1024
"""Most examples per batch."""


def fit_head(
    model: IADSR,
    examples: HeadExamples,
    held_out: HeadExamples,
    training: TrainingConfig,
    stream: np.random.SeedSequence,
    report: Callable[[int, float, dict[str, float]], None],
    checkpoint: Checkpoint,
) -> dict[str, float]:
    """Trains the noise head by binary cross-entropy, keeps the best epoch for held-out users, and calibrates on them.

    Args:
        model: The aligned model. Its head, standardisation and calibration are set.
        examples: Examples to train on.
        held_out: Examples of users that are not trained on.
        training: How to train.
        stream: Seeds the order of the examples.
        report: Called with the epoch (from 1), the fraction of it that is done, and measurements at its end.
        checkpoint: Keeps what was done.

    Returns:
        Detection measurements on held-out users. Their noise is weighted to be as frequent at every popularity and
        length.
    """
    generator = np.random.default_rng(stream)
    _standardise(model, examples)
    optimiser = torch.optim.AdamW(
        model.head.parameters(), lr=training.head_learning_rate, weight_decay=training.head_weight_decay, fused=True
    )
    schedule = falling_rate(optimiser, training.head_epochs)
    # The falling rate ends the training. Held-out users decide only which epoch is kept.
    stopping = EarlyStopping(model.head, training.head_epochs)

    def logits(rows: HeadExamples) -> Tensor:
        return model.head_logit(rows.features, rows.defined, rows.length)

    def loss_of(rows: HeadExamples) -> Tensor:
        labels = rows.label[:, None].expand(-1, LOGITS)
        return LOGITS * F.binary_cross_entropy_with_logits(logits(rows), labels, rows.weights)

    def run(epoch: int) -> tuple[float, dict[str, float]]:
        order = torch.from_numpy(generator.permutation(len(examples.label)))
        for rows in order.split(min(training.batch_positions, MAX_BATCH)):
            loss = loss_of(examples.select(rows))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            measured = loss_of(held_out).item()
        return measured, {"held_out_loss": measured}

    if model.head.trains:
        run_epochs(training.head_epochs, stopping, optimiser, run, report, checkpoint, [generator], schedule)
    else:
        report(training.head_epochs, 1.0, {})
    with torch.no_grad():
        return _calibrate(model, held_out, logits(held_out).numpy().astype(np.float64))


def _standardise(model: IADSR, examples: HeadExamples) -> None:
    """Stores mean and deviation of each feature, and of the similarities among genuine interactions."""
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


def _calibrate(model: IADSR, held_out: HeadExamples, logits: np.ndarray) -> dict[str, float]:
    """Fits Platt's scale and shift of each logit, without a penalty, and measures the first calibrated probability.

    Both use the same users. Two numbers fitted on thousands of interactions flatter the measurements very little.
    """
    label, weights = held_out.label.numpy(), held_out.weights.numpy().astype(np.float64)
    for number in range(LOGITS):
        told = weights[:, number] > 0
        if label[told].any() and not label[told].all():
            platt = LogisticRegression(C=np.inf).fit(logits[told, number, None], label[told], weights[told, number])
            # A negative scale would reverse the order. It can only come from a head that learned nothing.
            scale, shift = max(float(platt.coef_[0, 0]), 1e-3), float(platt.intercept_[0])
            model.calibration[:, number] = torch.tensor([scale, shift])
    scale, shift = model.calibration[:, 0].tolist()
    probability, weight = expit(logits[:, 0] * scale + shift), weights[:, 0]
    return {
        "held_out_auroc": area_under_roc(label, probability, weight),
        "held_out_average_precision": float(average_precision_score(label, probability, sample_weight=weight))
        if label.any()
        else 0.0,
        "held_out_log_loss": float(log_loss(label, probability, labels=[0, 1], sample_weight=weight)),
        "held_out_calibration_error": calibration_error(label, probability, weight),
    }
