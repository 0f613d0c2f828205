import re
from functools import partial

import numpy as np

from benchmarks import noise_share
from benchmarks.datasets import Dataset
from iadsr.models.core.sequences import Sequences
from iadsr.models.training.training_config import TrainingConfig


def clustered(users=200):
    generator = np.random.default_rng(0)
    cluster = generator.integers(0, 3, users)
    items = np.concatenate([10 * c + generator.permutation(10)[:6] for c in cluster])
    semantic = np.repeat(np.eye(8)[:3], 10, axis=0) + 0.1 * generator.normal(size=(30, 8))
    log = Sequences.from_lengths(items, np.full(users, 6))
    return Dataset("toy", log, semantic.astype(np.float32), np.ones(30, bool), None)


def test_simulated_users_choose_by_taste_and_no_item_twice():
    dataset = clustered()
    simulated = noise_share.simulate_clean(dataset, seed=0)
    assert simulated.lengths.tolist() == dataset.sequences.lengths.tolist()
    rows = simulated.items.reshape(-1, 6)
    assert all(len(set(row.tolist())) == 6 for row in rows)
    assert np.mean([len(set((row // 10).tolist())) == 1 for row in rows]) > 0.95
    again = noise_share.simulate_clean(dataset, seed=0)
    assert simulated.items.tolist() == again.items.tolist()


def test_a_row_holds_the_share_inserted_and_the_share_found(monkeypatch):
    quick = {"collaborative_epochs": 1, "alignment_epochs": 1, "context_epochs": 3, "context_negatives": 64}
    monkeypatch.setattr(noise_share, "TrainingConfig", partial(TrainingConfig, **quick))
    row = noise_share.measure_share(clustered(), 0.1, seed=0)
    assert re.match(r"\| 10\.0% \| (not known: .*|\d+\.\d% \(\d+\.\d% to \d+\.\d%\)) \| \d+\.\d% \|", row)
