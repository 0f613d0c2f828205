"""One pass of training over the windows of a log, and the rate it is done at, the same in every stage."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..core.windows import Windows, batches


def lower_rate(optimiser: torch.optim.Optimizer, first: float, epoch: int, epochs: int, least: float = 0.0) -> None:
    """Sets the learning rate of an epoch (from 1): from `first` it falls evenly, not below the share `least` of it."""
    for group in optimiser.param_groups:
        group["lr"] = first * max(1 - (epoch - 1) / epochs, least)


def run_epoch(
    windows: Windows,
    batch_positions: int,
    generator: np.random.Generator,
    optimiser: torch.optim.Optimizer,
    loss_of: Callable[[np.ndarray, np.ndarray, np.ndarray], Tensor],
    report: Callable[[float], None],
) -> float:
    """Takes one step of the optimiser for each batch of windows.

    Args:
        windows: What to train on.
        batch_positions: Most padded positions per batch.
        generator: Shuffles the batches.
        optimiser: Of what is trained.
        loss_of: Gives the mean loss of a batch, as `batches` yields it.
        report: Called with the fraction of the windows that is done.

    Returns:
        The mean loss over windows.
    """
    done, total = 0, 0.0
    for chosen, index, mask in batches(windows, batch_positions, generator):
        loss = loss_of(chosen, index, mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        done += len(chosen)
        total += loss.item() * len(chosen)
        report(done / len(windows))
    return total / max(done, 1)
