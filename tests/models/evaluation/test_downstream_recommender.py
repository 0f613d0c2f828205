import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from iadsr.models.core.sequences import Sequences
from iadsr.models.evaluation.downstream_recommender import (
    DownstreamConfig,
    NextItemModel,
    NextItemTask,
    _cut_windows,
    _losses,
    train_recommender,
)
from iadsr.models.evaluation.ranking import METRICS

CONFIG = DownstreamConfig(dimension=16, max_length=25, negatives=32, epochs=6, dropout=0.1, learning_rate=1e-2)
ITEMS = 30


def walks(users: int, seed: int, length: int = 9) -> Sequences:
    """Users who walk around the circle of items, one step at a time."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, length, users)
    starts = generator.integers(0, ITEMS, users)
    items = np.concatenate([(start + np.arange(n)) % ITEMS for start, n in zip(starts, lengths, strict=True)])
    return Sequences.from_lengths(items, lengths)


def next_step(log: Sequences, **changes) -> NextItemTask:
    return NextItemTask(
        **{"histories": log, "targets": (log.items[log.offsets[1:] - 1] + 1) % ITEMS, "seen": log} | changes
    )


@pytest.mark.parametrize("recommender", ["sasrec", "gru4rec", "caser"])
def test_a_recommender_learns_to_predict_the_next_item(recommender):
    config = dataclasses.replace(CONFIG, recommender=recommender, epochs=12)
    log = walks(400, seed=0)
    trained = train_recommender(log, np.ones(len(log.items)), ITEMS, next_step(walks(50, seed=1)), config, seed=0)
    hits = trained.measure(next_step(walks(200, seed=2)))[:, METRICS.index("HR@5")].mean()
    assert hits > 0.9  # by chance, it would be 5 of about 24 candidates


def test_the_same_seed_gives_the_same_recommender():
    log, task = walks(100, seed=0), next_step(walks(20, seed=1))
    first, again, other = (
        train_recommender(log, np.ones(len(log.items)), ITEMS, task, CONFIG, seed=seed).model.table.weight
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_learning_rate_falls_from_epoch_to_epoch(monkeypatch):
    rates, step = [], torch.optim.Adam.step

    def watched(self, *arguments, **keywords):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    config, log = dataclasses.replace(CONFIG, epochs=4), walks(30, seed=0)
    train_recommender(log, np.ones(len(log.items)), ITEMS, next_step(log), config, seed=0)
    assert list(dict.fromkeys(rates)) == pytest.approx([0.01, 0.0075, 0.005, 0.0025])


def test_interactions_with_weight_0_are_not_learned_as_next_items():
    forwards, generator = walks(300, seed=0), np.random.default_rng(9)
    stray = generator.random(len(forwards.items)) < 0.4
    # Many next items are replaced by the same wrong one. If they have no weight, the right steps are learned.
    noisy = Sequences(np.where(stray, 7, forwards.items).astype(np.int32), forwards.offsets)
    task = next_step(walks(200, seed=2), seen=None)
    place = METRICS.index("NDCG@5")
    plain = train_recommender(noisy, np.ones(len(stray)), ITEMS, task, CONFIG, seed=0).measure(task)[:, place].mean()
    weighted = train_recommender(noisy, 1.0 - stray, ITEMS, task, CONFIG, seed=0).measure(task)[:, place].mean()
    assert weighted > plain + 0.05


def test_the_loss_against_all_items_is_cross_entropy():
    torch.manual_seed(0)
    model = NextItemModel(ITEMS, CONFIG)
    predicted, targets = F.normalize(torch.randn(5, 16), dim=-1), torch.tensor([0, 3, 29, 3, 12])
    losses = _losses(model, predicted, targets, np.arange(ITEMS), ITEMS, 0.1)
    logits = predicted @ model.item_vectors(torch.arange(ITEMS)).T / 0.1
    assert torch.allclose(losses, F.cross_entropy(logits, targets, reduction="none"), atol=1e-5)


def test_the_sampled_loss_estimates_the_full_one():
    torch.manual_seed(0)
    model = NextItemModel(2000, CONFIG)
    predicted, targets = F.normalize(torch.randn(64, 16), dim=-1), torch.randint(0, 2000, (64,))
    full = _losses(model, predicted, targets, np.arange(2000), 2000, 0.2)
    drawn = np.sort(np.random.default_rng(0).choice(2000, 500, replace=False))
    estimated = _losses(model, predicted, targets, drawn, 2000, 0.2)
    assert estimated.mean().item() == pytest.approx(full.mean().item(), abs=0.05)


@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=8), max_length=st.integers(3, 12))
def test_every_next_item_is_in_one_window(lengths, max_length):
    log = Sequences.from_lengths(np.zeros(sum(lengths), np.int32), np.array(lengths))
    windows = _cut_windows(log, max_length)
    asked = [i for start, n in zip(windows.starts, windows.lengths, strict=True) for i in range(start + 1, start + n)]
    firsts = {int(start) for start, n in zip(log.offsets, log.lengths, strict=False) if n}
    assert sorted(asked) == [i for i in range(len(log.items)) if i not in firsts]
    assert windows.lengths.max(initial=0) <= max_length + 1
    assert (log.users[windows.starts] == windows.users).all()


def test_a_user_without_history_gets_a_ranking_too():
    log = walks(60, seed=0)
    trained = train_recommender(log, np.ones(len(log.items)), ITEMS, next_step(log), CONFIG, seed=0)
    nobody = Sequences.from_lengths(np.array([4]), np.array([0, 1]))
    figures = trained.measure(NextItemTask(nobody, np.array([1, 5]), seen=None))
    assert figures.shape == (2, 6)
    assert figures[1, METRICS.index("HR@5")] == 1
