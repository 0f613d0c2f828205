from functools import partial

import numpy as np

from benchmarks import stale_model
from benchmarks.datasets import Dataset, Trial
from iadsr.models.core.sequences import Sequences
from iadsr.models.training.training_config import TrainingConfig


def trial_of(lengths, noise) -> Trial:
    count = sum(lengths)
    log = Sequences.from_lengths(np.arange(count), np.array(lengths))
    dataset = Dataset("toy", log, np.zeros((count, 4), np.float32), np.ones(count, bool))
    return Trial(dataset, np.array(noise, bool), np.ones(count, bool))


def test_noise_has_the_time_of_the_interaction_before_it_or_else_after_it():
    # Two users: genuine at 10 and 12, and at 3 and 4; noise before, between and after.
    trial = trial_of([4, 4], [1, 0, 1, 0, 1, 0, 0, 1])
    assert stale_model.times_of(trial, np.array([10, 12, 3, 4])).tolist() == [10, 10, 10, 12, 3, 3, 4, 4]


def test_the_auroc_of_some_interactions_is_theirs_alone():
    trial = trial_of([4], [0, 1, 0, 1])
    probability = np.array([0.1, 0.2, 0.3, 0.4])
    assert stale_model.auroc(trial, probability, np.ones(4, bool)) == "0.7500"
    assert stale_model.auroc(trial, probability, np.array([False, True, True, False])) == "0.0000"
    assert stale_model.auroc(trial, probability, np.array([True, False, True, False])) == "-"


def test_a_model_of_the_first_part_judges_users_and_items_that_it_does_not_know(monkeypatch):
    quick = {"collaborative_epochs": 1, "alignment_epochs": 1, "context_epochs": 3, "context_negatives": 64}
    monkeypatch.setattr(stale_model, "TrainingConfig", partial(TrainingConfig, **quick))
    generator, users = np.random.default_rng(0), 200
    cluster = generator.integers(0, 3, users)
    items = np.concatenate([10 * c + generator.permutation(10)[:6] for c in cluster])
    noise = generator.random(len(items)) < 0.15
    items[noise] = generator.integers(0, 30, noise.sum())
    time = np.repeat(np.arange(users), 6)  # the last fifth of the users is new
    late = time > np.quantile(time, 0.8)
    items[late & (generator.random(len(items)) < 0.2)] = 30  # and one item
    semantic = np.concatenate([np.repeat(np.eye(8)[:3], 10, axis=0), np.eye(8)[3:4]])
    semantic = (semantic + 0.1 * generator.normal(size=(31, 8))).astype(np.float32)
    log = Sequences.from_lengths(items, np.full(users, 6))
    trial = Trial(Dataset("toy", log, semantic, np.ones(31, bool)), noise, np.ones(len(items), bool))
    counts, fresh, stale = (row.strip("| ").split(" | ") for row in stale_model.measure(trial, time, 0.8, 0))
    assert counts == [
        "interactions",
        f"{late.sum():,}",
        "0",
        f"{late.sum():,}",
        f"{(late & (items < 30)).sum():,}",
        f"{(items == 30).sum():,}",
        f"{noise.mean():.1%}",
    ]
    assert (fresh[0], stale[0]) == ("all of the log", "the first 80%")
    assert fresh[2] == stale[2] == "-"  # nobody who was known has come back
    assert fresh[1] == fresh[3] != stale[1] == stale[3]
    assert float(stale[4]) > 0.6
