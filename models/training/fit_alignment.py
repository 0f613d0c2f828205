"""Stage 2: aligns the interests of the two modalities, starting from stage 1's backbone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.windows import Windows, batches
from ..detector.batch import Batch
from ..detector.dropout import seed_dropout
from ..detector.iadsr import IADSR
from ..detector.interests import Interests
from ..detector.item_tensors import ItemTensors
from ..noise.insertion import NoisyLog
from .checkpoints import Checkpoint
from .detection_metrics import area_under_roc
from .early_stopping import EarlyStopping
from .epochs import run_epoch, run_epochs
from .losses import hard_gumbel_sigmoid, info_nce, sampled_softmax
from .training_config import TrainingConfig

MAX_ALIGNED = 1024
"""Most positions of a batch that InfoNCE tells apart. Its cost grows with their square."""


@dataclass(frozen=True)
class AlignmentFit:
    """What came of the training, beside the trained model."""

    epochs: int
    """The best epoch."""
    held_out_auroc: float
    """AUROC at which the paper's own score, minus the sum of the three similarities, finds the noise inserted into
    held-out users."""


def fit_alignment(
    model: IADSR,
    log: NoisyLog,
    item_tensors: ItemTensors,
    windows: Windows,
    held_out: Windows,
    training: TrainingConfig,
    stream: np.random.SeedSequence,
    report: Callable[[int, float, dict[str, float]], None],
    checkpoint: Checkpoint,
) -> AlignmentFit:
    """Trains everything but the noise head, until detection on held-out users no longer gets better.

    The loss is the paper's: next item, both InfoNCE terms and reconstruction, all weighted 1 (section 4.4).

    Args:
        model: The model. Its backbone and `predict` come from stage 1.
        log: The log. Which interactions were inserted is used for stopping only.
        item_tensors: The items of the log.
        windows: Windows to train on.
        held_out: Windows of users that are not trained on.
        training: How to train.
        stream: Seeds batches, negatives, dropout and the mask's noise.
        report: Called with the epoch (from 1), the fraction of it that is done, and measurements at its end.
        checkpoint: Keeps what was done.
    """
    optimiser = torch.optim.Adam(
        [p for name, p in model.named_parameters() if not name.startswith("head.")],
        lr=training.learning_rate,
        fused=True,
    )
    stopping = EarlyStopping(model, training.patience)
    batching, masking, dropout = stream.spawn(3)
    generator, noise = np.random.default_rng(batching), np.random.default_rng(masking)
    dropping = seed_dropout(model, dropout)

    def loss_of(chosen: np.ndarray, index: np.ndarray, mask: np.ndarray) -> Tensor:
        items = log.sequences.items[index]
        negatives = log.sequences.items[generator.integers(0, len(log.inserted), training.negatives)]
        sample = torch.from_numpy(generator.permutation(int(mask.sum()))[:MAX_ALIGNED])
        return _loss(model, item_tensors, items, mask, negatives, sample, noise, training.temperature)

    def run(epoch: int) -> tuple[float, dict[str, float]]:
        model.train()
        training_loss = run_epoch(
            windows, training.batch_positions, generator, optimiser, loss_of, lambda done: report(epoch, done, {})
        )
        measured = _paper_auroc(model, log, item_tensors, held_out, training.batch_positions)
        return -measured, {"training_loss": training_loss, "held_out_auroc": measured}

    run_epochs(training.alignment_epochs, stopping, optimiser, run, report, checkpoint, [generator, noise, *dropping])
    return AlignmentFit(stopping.best_epoch, -stopping.best)


def _loss(
    model: IADSR,
    item_tensors: ItemTensors,
    items: np.ndarray,
    mask: np.ndarray,
    negatives: np.ndarray,
    sample: Tensor,
    noise: np.random.Generator,
    temperature: float,
) -> Tensor:
    batch = item_tensors.batch(items, mask)
    ids, others = torch.from_numpy(items.astype(np.int64)), torch.from_numpy(negatives.astype(np.int64))
    interests = model.interests(batch)
    follows = batch.mask[:, 1:]
    next_item = sampled_softmax(
        model.predict(interests.collaborative[:, :-1][follows]),
        batch.collaborative.gathered()[:, 1:][follows],
        item_tensors.collaborative[others],
        ids[:, 1:][follows],
        others,
        temperature,
    )
    known = batch.has_semantic[batch.mask][sample]
    short = info_nce(
        interests.collaborative[batch.mask][sample][known],
        interests.semantic[batch.mask][sample][known],
        temperature,
        ids[batch.mask][sample][known],
    )
    has_text = batch.has_semantic.any(1)
    long = info_nce(interests.user_collaborative[has_text], interests.user_semantic[has_text], temperature)
    return next_item + short + long + _reconstruction(model, batch, interests, noise)


def _reconstruction(model: IADSR, batch: Batch, interests: Interests, noise: np.random.Generator) -> Tensor:
    """Returns the mean squared error of items reconstructed from the interests that are kept (paper section 4.3)."""
    logits = model.similarities(interests, batch)[0].sum(-1)  # [B, T]
    kept = hard_gumbel_sigmoid(logits, noise)[..., None] * interests.collaborative  # [B, T, h]
    return (model.decode(kept) - batch.collaborative.gathered())[batch.mask].square().mean()


def _paper_auroc(
    model: IADSR, log: NoisyLog, item_tensors: ItemTensors, windows: Windows, batch_positions: int
) -> float:
    model.eval()
    scores, labels = [], []
    with torch.inference_mode():
        for _, index, mask in batches(windows, batch_positions):
            batch = item_tensors.batch(log.sequences.items[index], mask)
            total = model.similarities(model.interests(batch), batch)[0].sum(-1)
            scores.append(-total.numpy()[mask])
            labels.append(log.inserted[index[mask]])
    return area_under_roc(np.concatenate(labels), np.concatenate(scores))
