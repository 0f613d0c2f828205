from functools import partial

import numpy as np

from benchmarks import grown_log
from benchmarks.datasets import Dataset, Trial
from iadsr.models.core.sequences import Sequences
from iadsr.models.training.training_config import TrainingConfig


def test_the_earlier_model_one_from_nothing_and_one_from_the_earlier_are_compared(monkeypatch):
    quick = {"collaborative_epochs": 2, "alignment_epochs": 1, "context_epochs": 3, "context_negatives": 64}
    monkeypatch.setattr(grown_log, "TrainingConfig", partial(TrainingConfig, **quick))
    generator, users = np.random.default_rng(0), 200
    cluster = generator.integers(0, 3, users)
    items = np.concatenate([10 * c + generator.permutation(10)[:6] for c in cluster])
    noise = generator.random(len(items)) < 0.15
    items[noise] = generator.integers(0, 30, noise.sum())
    semantic = np.repeat(np.eye(8)[:3], 10, axis=0) + 0.1 * generator.normal(size=(30, 8))
    log = Sequences.from_lengths(items, np.full(users, 6))
    dataset = Dataset("toy", log, semantic.astype(np.float32), np.ones(30, bool))
    trial = Trial(dataset, noise, np.ones(len(items), bool))
    rows = [row.strip("| ").split(" | ") for row in grown_log.measure(trial, np.repeat(np.arange(users), 6), 0.8, 0)]
    assert [row[0] for row in rows] == ["the first 80%", "all, from nothing", "all, from that of the first 80%"]
    assert all(0.6 < float(figure) < 1 for row in rows for figure in row[1:3])
    assert len({row[1] for row in rows}) == 3
    assert all(float(row[4]) > 0 for row in rows)
