"""Stage 2, second part: the context, which leaves the item out, learns to tell a user's items from others."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.sequences import Sequences
from ..core.windows import Windows, batches
from ..detector.batch_builder import BatchBuilder
from ..detector.dropout import seed_dropout
from ..detector.iadsr import IADSR
from ..detector.item_tensors import ItemTensors
from .checkpoints import Checkpoint
from .early_stopping import EarlyStopping
from .epochs import falling_rate, run_epoch, run_epochs
from .losses import sampled_softmax
from .training_config import TrainingConfig

MAX_BATCH = 1536
"""Most positions per batch. Small batches learn more from a log, and larger ones are no faster."""

MIN_RATE_SHARE = 0.1
"""The learning rate falls evenly from epoch to epoch, but not below this share of the first."""


@dataclass(frozen=True)
class ContextFit:
    """What came of the training, beside the trained model."""

    epochs: int
    """The best epoch."""
    held_out_loss: float
    """Loss of held-out users at the best epoch."""


def fit_context(
    model: IADSR,
    sequences: Sequences,
    item_tensors: ItemTensors,
    users: np.ndarray,
    held_out: np.ndarray,
    training: TrainingConfig,
    stream: np.random.SeedSequence,
    report: Callable[[int, float, dict[str, float]], None],
    checkpoint: Checkpoint,
) -> ContextFit:
    """Trains `model.context` to tell each item of a user from popular ones, until held-out users no longer gain.

    Args:
        model: The model whose context is trained.
        sequences: The log with the inserted noise, which must be as familiar as the log's own.
        item_tensors: The items of the log.
        users: Users to train on, bool [U].
        held_out: Users that decide when to stop, bool [U].
        training: How to train.
        stream: Seeds everything random.
        report: Called with the epoch (from 1), the fraction of it that is done, and measurements at its end.
        checkpoint: Keeps what was done.
    """
    batching, dropout = stream.spawn(2)
    generator, dropping = np.random.default_rng(batching), seed_dropout(model.context, dropout)
    builder = BatchBuilder(model, sequences, item_tensors)
    several = builder.windows.lengths > 1
    windows, measured = (builder.windows.select(several & part[builder.windows.users]) for part in (users, held_out))
    optimiser = torch.optim.Adam(model.context.parameters(), lr=training.context_learning_rate, fused=True)
    schedule = falling_rate(optimiser, training.context_epochs, MIN_RATE_SHARE)
    stopping = EarlyStopping(model.context, training.patience)
    size = min(training.batch_positions, MAX_BATCH)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        items = sequences.items[generator.integers(0, len(sequences.items), training.context_negatives)]
        return items.astype(np.int64), generator.integers(0, model.config.folds, len(items))

    same_negatives = draw()  # at every measurement, so that epochs compare

    def loss_of(part: Windows, chosen: np.ndarray, index: np.ndarray, mask: np.ndarray, drawn) -> Tensor:
        batch = builder.batch(part.users[chosen], index, mask)
        judged = torch.from_numpy(part.judged(chosen, mask)) & (batch.has_collaborative | batch.has_semantic)
        targets = torch.from_numpy(sequences.items[index].astype(np.int64))[judged]
        items, folds = drawn
        others = item_tensors.batch(items[:, None], np.ones((len(items), 1), bool), folds)
        negatives = model.context.items(others)[:, 0]  # [m, size]
        vectors, contexts = model.context(batch)
        return sampled_softmax(
            contexts[judged], vectors[judged], negatives, targets, torch.from_numpy(items), training.temperature
        )

    def learn(chosen: np.ndarray, index: np.ndarray, mask: np.ndarray) -> float:
        loss = loss_of(windows, chosen, index, mask, draw())
        loss.backward()
        return loss.item()

    def run(epoch: int) -> tuple[float, dict[str, float]]:
        model.context.train()
        training_loss = run_epoch(windows, size, generator, optimiser, learn, lambda done: report(epoch, done, {}))
        model.context.eval()
        with torch.inference_mode():
            parts = [
                (float(loss_of(measured, chosen, index, mask, same_negatives)), len(chosen))
                for chosen, index, mask in batches(measured, training.batch_positions)
            ]
        loss = sum(value * n for value, n in parts) / max(sum(n for _, n in parts), 1)
        return loss, {"training_loss": training_loss, "held_out_loss": loss}

    generators = [generator, *dropping]
    run_epochs(training.context_epochs, stopping, optimiser, run, report, checkpoint, generators, schedule)
    return ContextFit(stopping.best_epoch, stopping.best)
