import numpy as np
import pytest

from iadsr.models.decision import MOST_WEIGHT, balance_popularity, calibration_error
from iadsr.models.noise import NoisyLog
from iadsr.models.sequences import Sequences


def make_log(items, inserted):
    return NoisyLog(Sequences.from_lengths(np.array(items), np.array([len(items)])), np.array(inserted))


def test_weighted_noise_is_as_frequent_at_every_popularity():
    generator = np.random.default_rng(0)
    genuine = generator.choice(64, 4000, p=np.arange(64) / np.arange(64).sum())
    noise = generator.integers(0, 64, 1000)
    log = make_log(np.concatenate([genuine, noise]), [False] * 4000 + [True] * 1000)
    weight = balance_popularity(log)
    assert (weight[:4000] == 1).all()
    level = np.log2(np.maximum(np.bincount(genuine, minlength=64), 1)).astype(int)[log.sequences.items]
    for one in np.unique(level):
        here = level == one
        share = weight[here & log.inserted].sum() / max((here & ~log.inserted).sum(), 1)
        if (weight[here & log.inserted] < MOST_WEIGHT).all() and (here & ~log.inserted).any():
            assert share == pytest.approx(0.25, rel=1e-4)


def test_no_single_interaction_gets_a_boundless_weight():
    # One of 50 insertions fell on the item of all genuine interactions: it would have to stand for all 50.
    log = make_log([0] * 500 + [1] * 49 + [0], [False] * 500 + [True] * 49 + [True])
    assert balance_popularity(log)[-1] == MOST_WEIGHT


def test_a_log_without_noise_weighs_one_everywhere():
    assert (balance_popularity(make_log([0, 0, 5], [False] * 3)) == 1).all()


def test_calibration_error_is_the_gap_of_probability_and_share():
    probability, label = np.full(1000, 0.3), np.arange(1000) < 300
    assert calibration_error(label, probability, np.ones(1000)) == pytest.approx(0, abs=1e-9)
    assert calibration_error(label, probability + 0.2, np.ones(1000)) == pytest.approx(0.2)
    # Weights count: without the genuine ones everything is noise.
    assert calibration_error(label, probability, label.astype(float)) == pytest.approx(0.7)
    # Gaps of different bins do not make up for one another.
    two = np.repeat([0.1, 0.9], 500)
    assert calibration_error(np.repeat([1, 0], 500), two, np.ones(1000)) == pytest.approx(0.9)
