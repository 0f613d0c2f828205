import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.peers.hsd import HSDConfig, Signals, fit_hsd
from benchmarks.peers.steam import SteamConfig, fit_steam
from iadsr.models.core.sequences import Sequences
from iadsr.models.noise.insertion import insert_noise

ITEMS = 60


@pytest.fixture(scope="module")
def noisy():
    """A log of users who each keep to one of four groups of 15 items, with noise in it."""
    generator = np.random.default_rng(0)
    rows = [generator.permutation(15)[:8] + 15 * (user % 4) for user in range(400)]
    log = Sequences.from_lengths(np.concatenate(rows), np.full(400, 8))
    return insert_noise(log, 0.15, uniform_share=0.0, seed=1)


@pytest.mark.parametrize(
    ("fit", "config", "reached"),
    [
        (fit_steam, SteamConfig(epochs=10, learning_rate=5e-3, negatives=32), 0.8),
        (fit_hsd, HSDConfig(epochs=5, learning_rate=1e-2, negatives=32), 0.9),
    ],
)
def test_a_trained_peer_finds_what_is_foreign_and_gives_the_same_again(noisy, fit, config, reached):
    before = torch.random.get_rng_state()
    first = fit(noisy.sequences, ITEMS, 0, config)()
    assert (torch.random.get_rng_state() == before).all()
    assert roc_auc_score(noisy.inserted, first) > reached
    assert (fit(noisy.sequences, ITEMS, 0, config)() == first).all()


def test_neither_signal_of_hsd_reads_the_item_that_it_judges():
    torch.manual_seed(0)
    model = Signals(10, HSDConfig(size=8)).eval()
    items, mask = torch.tensor([[1, 2, 3, 4, 0], [5, 6, 7, 8, 9]]), torch.ones(2, 5, dtype=torch.bool)
    mask[0, 4] = False
    with torch.inference_mode():
        original = model(items, mask)
        for row, place in ((0, 0), (0, 2), (0, 3), (1, 4)):
            other = items.clone()
            other[row, place] = 9 - other[row, place]
            for was, now in zip(original, model(other, mask), strict=True):
                torch.testing.assert_close(was[row, place], now[row, place])
                others = [t for t in range(5) if t != place and mask[row, t]]
                assert (was[row, others] - now[row, others]).abs().amax(-1).min() > 1e-6
        padded = items.clone()
        padded[0, 4] = 7
        for was, now in zip(original, model(padded, mask), strict=True):
            torch.testing.assert_close(was[0, :4], now[0, :4])
