import numpy as np
import pytest
import torch

from iadsr.models.core.sequences import Sequences
from iadsr.models.core.windows import cut_windows
from iadsr.models.training.epochs import falling_rate, run_epoch


def test_an_epoch_steps_once_per_batch_and_tells_how_far_it_is():
    windows = cut_windows(Sequences.from_lengths(np.arange(12), np.full(6, 2)), 5)
    weight = torch.nn.Parameter(torch.tensor(1.0))
    optimiser = torch.optim.SGD([weight], lr=0.5)
    seen, done = [], []

    def learn(chosen, index, mask):
        seen.extend(index[mask].tolist())
        loss = weight * len(chosen)  # its gradient is the number of windows
        loss.backward()
        return loss.item()

    loss = run_epoch(windows, 8, np.random.default_rng(0), optimiser, learn, done.append)
    assert sorted(seen) == list(range(12))
    assert len(done) == 2  # batches of four windows and of two
    assert done[-1] == 1.0
    assert weight.item() == 1 - 0.5 * 6
    first = 6 * done[0]
    second = 6 - first
    np.testing.assert_allclose(loss, (first * first + (1 - 0.5 * first) * second * second) / 6, rtol=1e-6)


def test_the_rate_falls_evenly_and_not_below_what_is_least():
    def rates(least):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.tensor(1.0))], lr=0.8)
        schedule = falling_rate(optimiser, 4, least)
        for _ in range(4):
            yield optimiser.param_groups[0]["lr"]
            optimiser.step()
            schedule.step()

    assert list(rates(0.0)) == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert list(rates(0.6)) == pytest.approx([0.8, 0.6, 0.48, 0.48])
