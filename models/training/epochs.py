"""The epochs of a stage, which can go on after a kill; one pass over a log; and a learning rate that falls."""

from collections.abc import Callable

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from ..core.windows import Windows, batches
from .checkpoints import Checkpoint, Pace, generator_states, restore_generators
from .early_stopping import EarlyStopping
from .heap import trim_heap


def falling_rate(optimiser: torch.optim.Optimizer, epochs: int, least: float = 0.0) -> LambdaLR:
    """Returns a schedule, to be stepped after each of `epochs` epochs, by which the learning rate falls evenly.

    It falls towards 0, but not below the share `least` of the first rate.
    """
    return LambdaLR(optimiser, lambda done: max(1 - done / epochs, least))


def run_epochs(
    epochs: int,
    stopping: EarlyStopping,
    optimiser: torch.optim.Optimizer,
    run: Callable[[int], tuple[float, dict[str, float]]],
    report: Callable[[int, float, dict[str, float]], None],
    checkpoint: Checkpoint,
    generators: list[np.random.Generator],
    schedule: LambdaLR | None = None,
) -> None:
    """Trains until held-out users no longer gain, and restores the best epoch.

    Args:
        epochs: Most epochs.
        stopping: Of the module that is trained.
        optimiser: Holds its parameters.
        run: Trains for an epoch (from 1), and returns what should be low on held-out users, and all measurements.
        report: Called with the epoch (from 1), 1, and the measurements, after each epoch. Called again for epochs that
            were done before a kill.
        checkpoint: Keeps what was done.
        generators: All that decide anything random in training.
        schedule: Stepped after each epoch.
    """
    module = stopping.module
    history: list[dict[str, float]] = []
    pace = Pace(checkpoint.seconds_between)
    state = checkpoint.load()
    if state is not None:
        history = state["history"]
        for epoch, metrics in enumerate(history, start=1):
            report(epoch, 1.0, metrics)
        module.load_state_dict(state["module"])
        stopping.restore(state["stopping"])
        if "optimiser" not in state:
            _report_end(report, len(history), epochs)
            return
        optimiser.load_state_dict(state["optimiser"])
        restore_generators(generators, state["generators"])
        if schedule:
            schedule.load_state_dict(state["schedule"])
    for epoch in range(len(history) + 1, epochs + 1):
        measured, metrics = run(epoch)
        if schedule:
            schedule.step()
        report(epoch, 1.0, metrics)
        history.append(metrics)
        if stopping.stop_after(epoch, measured) or epoch == epochs:
            break
        if checkpoint.files and pace.is_due():
            checkpoint.save(
                {
                    "history": history,
                    "module": module.state_dict(),
                    "stopping": stopping.state(),
                    "optimiser": optimiser.state_dict(),
                    "generators": generator_states(generators),
                    "schedule": schedule and schedule.state_dict(),
                }
            )
    _report_end(report, len(history), epochs)
    optimiser.zero_grad()  # gradients are as large as the module
    stopping.restore_best()
    trim_heap()
    checkpoint.save({"history": history, "module": module.state_dict(), "stopping": stopping.state(best=False)})


def _report_end(report: Callable[[int, float, dict[str, float]], None], done: int, epochs: int) -> None:
    if done < epochs:  # stopped early: the others need no time
        report(epochs, 1.0, {})


def run_epoch(
    windows: Windows,
    batch_positions: int,
    generator: np.random.Generator,
    optimiser: torch.optim.Optimizer,
    learn: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
    report: Callable[[float], None],
) -> float:
    """Takes one step of the optimiser for each batch of windows.

    Args:
        windows: What to train on.
        batch_positions: Most padded positions per batch.
        generator: Shuffles the batches.
        optimiser: Holds the parameters that are trained.
        learn: Computes the gradients of a batch, as `batches` yields it, and returns its mean loss.
        report: Called after each batch with the fraction of the windows that is done.

    Returns:
        The mean loss over windows.
    """
    done, total = 0, 0.0
    for chosen, index, mask in batches(windows, batch_positions, generator):
        optimiser.zero_grad()
        loss = learn(chosen, index, mask)
        optimiser.step()
        done += len(chosen)
        total += loss * len(chosen)
        report(done / len(windows))
    return total / max(done, 1)
