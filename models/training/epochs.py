"""One pass of training over the windows of a log, and a learning rate that falls from pass to pass."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ..core.windows import Windows, batches


def falling_rate(optimiser: torch.optim.Optimizer, epochs: int, least: float = 0.0) -> LambdaLR:
    """Returns a schedule, to be stepped after each of `epochs` epochs, by which the learning rate falls evenly.

    It falls towards 0, but not below the share `least` of the first rate.
    """
    return LambdaLR(optimiser, lambda done: max(1 - done / epochs, least))


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
        optimiser: Holds the parameters that are trained.
        loss_of: Computes the mean loss of a batch, as `batches` yields it.
        report: Called after each batch with the fraction of the windows that is done.

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
