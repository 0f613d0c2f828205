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
from ..detector.heads import LOGITS, STRAYS
from ..detector.iadsr import IADSR
from .checkpoints import Checkpoint
from .detection_metrics import area_under_roc, calibration_error
from .early_stopping import EarlyStopping
from .epochs import falling_rate, run_epochs
from .head_examples import HeadExamples
from .training_config import TrainingConfig

MAX_BATCH = 1024
"""Most examples per batch."""

ROWS_AT_ONCE = 1 << 16
"""Examples that are measured together."""


def fit_head(
    model: IADSR,
    examples: HeadExamples,
    held_out: HeadExamples,
    training: TrainingConfig,
    stream: np.random.SeedSequence,
    report: Callable[[int, float, dict[str, float]], None],
    checkpoint: Checkpoint,
) -> None:
    """Trains the noise head by cross-entropy, and keeps the best epoch for held-out users.

    What the network learns is to tell the kinds of noise and genuine interactions apart. How frequent each kind is in
    training is another question than how frequent it is expected to be, see `expected_kinds.py`.

    Args:
        model: The aligned model. Its head and standardisation are set.
        examples: Examples to train on.
        held_out: Examples of users that are not trained on.
        training: How to train.
        stream: Seeds the order of the examples.
        report: Called with the epoch (from 1), the fraction of it that is done, and measurements at its end.
        checkpoint: Keeps what was done.
    """
    generator = np.random.default_rng(stream)
    _standardise(model, examples)
    optimiser = torch.optim.AdamW(
        model.head.parameters(), lr=training.head_learning_rate, weight_decay=training.head_weight_decay, fused=True
    )
    schedule = falling_rate(optimiser, training.head_epochs)
    # The falling rate ends the training. Held-out users decide only which epoch is kept.
    stopping = EarlyStopping(model.head, training.head_epochs)

    def loss_of(rows: HeadExamples) -> Tensor:
        kinds = model.head_kinds(rows.features.float(), rows.defined, rows.length)
        of_genuine_first = F.pad(kinds, (1, 0))
        return (F.cross_entropy(of_genuine_first, rows.kind.long() + 1, reduction="none") * rows.weight).mean()

    def run(epoch: int) -> tuple[float, dict[str, float]]:
        order = torch.from_numpy(generator.permutation(len(examples.kind)))
        for rows in order.split(min(training.batch_positions, MAX_BATCH)):
            loss = loss_of(examples.select(rows))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            blocks = torch.arange(len(held_out.kind)).split(ROWS_AT_ONCE)
            parts = [loss_of(held_out.select(rows)).item() * len(rows) for rows in blocks]
        measured = sum(parts) / max(len(held_out.kind), 1)
        return measured, {"held_out_loss": measured}

    if model.head.trains:
        run_epochs(training.head_epochs, stopping, optimiser, run, report, checkpoint, [generator], schedule)
    else:
        report(training.head_epochs, 1.0, {})


def _standardise(model: IADSR, examples: HeadExamples) -> None:
    """Stores mean and deviation of each feature, and of the similarities among genuine interactions."""
    mean, deviation = _moments(examples.features, examples.defined)
    model.feature_mean[: len(mean)].copy_(mean)
    model.feature_deviation[: len(mean)].copy_(deviation)
    genuine, similarities = examples.label == 0, len(SIMILARITIES)
    mean, deviation = _moments(
        examples.features[:, :similarities][genuine], examples.defined[:, :similarities][genuine]
    )
    model.genuine_mean.copy_(mean)
    model.genuine_deviation.copy_(deviation)


def _moments(values: Tensor, defined: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and deviation of each column [n, F] where it is defined, adding up some rows at a time."""
    blocks = list(zip(values.split(ROWS_AT_ONCE), defined.split(ROWS_AT_ONCE), strict=True))
    count = torch.stack([d.sum(0) for _, d in blocks]).sum(0).clamp(min=1)
    mean = torch.stack([(v * d).sum(0, dtype=torch.float64) for v, d in blocks]).sum(0) / count
    square = torch.stack(
        [((v.float() - mean.float()).square() * d).sum(0, dtype=torch.float64) for v, d in blocks]
    ).sum(0)
    return mean.float(), (square / count).sqrt().float().clamp(min=1e-4)


def _weights_by_logit(model: IADSR, held_out: HeadExamples) -> np.ndarray:
    """Returns how much each row counts for each of the head's logits, float64 [n, LOGITS].

    Kinds of noise count as they are expected in a log. For the second logit, strays stand for all noise.
    """
    noise, kind = held_out.label > 0, held_out.kind.long()
    weight = held_out.weight.double() * torch.where(noise, model.head.kind_shift.double().exp()[kind], 1.0)
    stray = noise & torch.isin(kind, torch.tensor(STRAYS))
    one = weight[noise].sum() / weight[stray].sum().clamp(min=1e-9)
    return torch.stack([weight, torch.where(noise, weight * one * stray, weight)], dim=-1).numpy()


def calibrate_head(model: IADSR, held_out: HeadExamples) -> dict[str, float]:
    """Fits Platt's scale and shift of each logit, without a penalty, and measures the first calibrated probability.

    Both use the same users. Two numbers fitted on thousands of interactions flatter the measurements very little.

    Args:
        model: The model with a trained head. Its calibration is set.
        held_out: Examples of users that are not trained on.

    Returns:
        Detection measurements on held-out users. Their noise is weighted to be as frequent at every popularity and
        length.
    """
    with torch.no_grad():
        logits = (
            model.head_logit(held_out.features.float(), held_out.defined, held_out.length).numpy().astype(np.float64)
        )
    label, weights = held_out.label.numpy(), _weights_by_logit(model, held_out)
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
