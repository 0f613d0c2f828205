"""Shared by the peers that train a network: windows, held-out users, batches and early stopping."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from iadsr.models.core.sequences import Sequences
from iadsr.models.core.windows import batches, cut_windows
from iadsr.models.training.early_stopping import EarlyStopping

BATCH_POSITIONS = 1024
STEPS_PER_EPOCH, MIN_BATCH = 50, 256
"""A small log gets smaller batches."""
MAX_LENGTH = 50
HELD_OUT = 0.1
PATIENCE = 2

LossOf = Callable[[Tensor, Tensor, np.ndarray], Tensor]
"""Takes items int64 [B, T], the mask of real positions [B, T] and their index in the log [B, T]. Returns the loss."""


def fit(
    module: nn.Module,
    log: Sequences,
    loss_of: LossOf,
    epochs: int,
    learning_rate: float,
    generator: np.random.Generator,
) -> None:
    """Trains by Adam until the loss of held-out users no longer falls. Restores the best epoch, in eval mode.

    Args:
        module: The module to train.
        log: The log to train on.
        loss_of: Computes the loss of a batch.
        epochs: Most epochs.
        learning_rate: Learning rate of Adam.
        generator: Source of the split and of the batches.
    """
    held_out = generator.random(len(log)) < HELD_OUT
    optimiser = torch.optim.Adam(module.parameters(), learning_rate)
    stopping = EarlyStopping(module, PATIENCE)
    for epoch in range(1, epochs + 1):
        module.train()
        for items, mask, index in padded(log, ~held_out, generator):
            loss = loss_of(items, mask, index)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimiser.step()
        module.eval()
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # the same negatives at every measurement
            parts = [
                (float(loss_of(items, mask, index)), int(mask.sum())) for items, mask, index in padded(log, held_out)
            ]
        if stopping.stop_after(epoch, sum(loss * n for loss, n in parts) / max(sum(n for _, n in parts), 1)):
            break
    stopping.restore_best()
    module.eval()


def padded(log: Sequences, users: np.ndarray | None = None, generator: np.random.Generator | None = None):
    """Yields items int64 [B, T], mask [B, T] and index in the log [B, T] of the windows of some users, or of all."""
    windows = cut_windows(log, MAX_LENGTH)
    positions = max(MIN_BATCH, min(BATCH_POSITIONS, len(log.items) // STEPS_PER_EPOCH))
    if users is not None:
        windows = windows.select(users[windows.users])
    for _, index, mask in batches(windows, positions, generator):
        yield torch.from_numpy(log.items[index].astype(np.int64)), torch.from_numpy(mask), index


def score_windows(log: Sequences, score_of: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
    """Scores every interaction of a log, float64 [N], by a function of items [B, T] and mask [B, T]."""
    scores = np.zeros(len(log.items))
    with torch.inference_mode():
        for items, mask, index in padded(log):
            scores[index[mask.numpy()]] = score_of(items, mask)[mask].numpy()
    return scores


def popular_negatives(log: Sequences, count: int) -> Tensor:
    """Draws items in proportion to popularity, by drawing random interactions, int64 [count]."""
    return torch.from_numpy(log.items.astype(np.int64))[torch.randint(len(log.items), (count,))]
