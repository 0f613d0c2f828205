import dataclasses
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from iadsr.models.core.item_vectors import PackedItemVectors
from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.features import FEATURES
from iadsr.models.detector.heads import STRAYS
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.item_tensors import ItemTensors
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.noise.insertion import NOISE_KINDS, NoisyLog
from iadsr.models.training.checkpoints import Checkpoint
from iadsr.models.training.detection_metrics import calibration_error
from iadsr.models.training.fit_head import _weights_by_logit, calibrate_head, fit_head
from iadsr.models.training.head_examples import (
    MAX_WEIGHT,
    HeadExamples,
    Version,
    balanced_weights,
    collect_examples,
    measure_chance,
    shortest_history,
)
from iadsr.models.training.training_config import TrainingConfig

ITEMS = 20
CONFIG = IADSRConfig(
    collaborative_dimension=6, hidden_dimension=8, semantic_dimension=10, head_dimension=8, max_length=12, folds=3
)


def make_log(items, inserted, lengths=None):
    lengths = np.array([len(items)] if lengths is None else lengths)
    return NoisyLog(Sequences.from_lengths(np.array(items), lengths), np.array(inserted))


def make_model(config=CONFIG):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return IADSR(config).eval()


def make_vectors(model, has_collaborative=None):
    generator, everything = np.random.default_rng(1), np.ones(ITEMS, bool)
    packed = PackedItemVectors(
        generator.normal(size=(ITEMS, model.packed_width)).astype(np.float32),
        generator.normal(size=(ITEMS, 10)).astype(np.float32),
        everything if has_collaborative is None else has_collaborative,
        everything,
    )
    return packed.unpack(model.config.collaborative_dimension)


def test_weighted_noise_is_as_frequent_at_every_popularity():
    generator = np.random.default_rng(0)
    genuine = generator.choice(64, 4000, p=np.arange(64) / np.arange(64).sum())
    noise = generator.integers(0, 64, 1000)
    log = make_log(np.concatenate([genuine, noise]), [False] * 4000 + [True] * 1000)
    weight = balanced_weights(log)
    assert (weight[:4000] == 1).all()
    level = np.log2(np.maximum(np.bincount(genuine, minlength=64), 1)).astype(int)[log.sequences.items]
    for one in np.unique(level):
        here = level == one
        share = weight[here & log.inserted].sum() / max((here & ~log.inserted).sum(), 1)
        if (weight[here & log.inserted] < MAX_WEIGHT).all() and (here & ~log.inserted).any():
            assert share == pytest.approx(0.25, rel=1e-4)


def test_weighted_noise_is_as_frequent_in_histories_of_every_length():
    # As in a log of users with four interactions or more: after insertion, none of the shortest holds noise.
    generator = np.random.default_rng(0)
    genuine = generator.integers(4, 60, 600)
    noise = np.where(genuine == 4, 0, generator.binomial(genuine, 0.2))
    lengths = genuine + noise
    inserted = np.concatenate([np.arange(n + k) < k for n, k in zip(genuine, noise, strict=True)])
    # All items are equally popular, so that lengths alone decide.
    items = np.zeros(len(inserted), int)
    items[~inserted] = np.arange(genuine.sum()) % ITEMS
    items[inserted] = generator.integers(0, ITEMS, noise.sum())
    weight = balanced_weights(make_log(items, inserted, lengths))
    assert (weight[~inserted] == 1).all()
    odds, length = noise.sum() / genuine.sum(), np.repeat(lengths, lengths)
    shortest = shortest_history(make_log(items, inserted, lengths))
    assert 5 <= shortest < 10
    levels = [length <= shortest, (length >= 16) & (length < 32), (length >= 32) & (length < 64)]
    levels += [length == n for n in range(shortest + 1, 16)]
    assert sum((here & inserted).any() for here in levels) > 7
    for here in levels:
        if (here & inserted).any() and (weight[here & inserted] < MAX_WEIGHT).all():
            assert weight[here & inserted].sum() / (here & ~inserted).sum() == pytest.approx(odds, rel=0.05)


def test_histories_count_as_long_as_those_up_to_which_there_is_half_of_the_noise():
    # 30 of length 4 without noise, 40 of length 5 with an eighth; a fifth of all.
    lengths = np.repeat([4, 5, 10], [30, 40, 50])
    inserted = np.concatenate([np.zeros(120, bool), np.arange(200) % 5 == 0, np.arange(500) % 5 == 0])
    inserted[120:320] &= np.arange(200) % 2 == 0
    log = make_log(np.arange(820) % ITEMS, inserted, lengths)
    assert inserted.mean() == pytest.approx(120 / 820)
    # Up to 5 there are 20 among 320, less than half as many as overall.
    assert shortest_history(log) == 10
    inserted[120:320] = np.arange(200) % 5 == 0
    assert shortest_history(make_log(np.arange(820) % ITEMS, inserted, lengths)) == 5
    nothing = make_log(np.arange(820) % ITEMS, np.zeros(820, bool), lengths)
    assert shortest_history(nothing) <= 4


def test_no_single_interaction_gets_a_boundless_weight():
    # One of 50 insertions fell on the item of all genuine interactions: it would have to stand for all 50.
    log = make_log([0] * 500 + [1] * 49 + [0], [False] * 500 + [True] * 49 + [True])
    assert balanced_weights(log)[-1] == MAX_WEIGHT


def test_a_log_without_noise_weighs_one_everywhere():
    assert (balanced_weights(make_log([0, 0, 5], [False] * 3)) == 1).all()


def test_calibration_error_is_the_gap_of_probability_and_share():
    probability, label = np.full(1000, 0.3), np.arange(1000) < 300
    assert calibration_error(label, probability, np.ones(1000)) == pytest.approx(0, abs=1e-9)
    assert calibration_error(label, probability + 0.2, np.ones(1000)) == pytest.approx(0.2)
    # Weights count: without the genuine ones everything is noise.
    assert calibration_error(label, probability, label.astype(float)) == pytest.approx(0.7)
    # Gaps of different bins do not make up for one another.
    two = np.repeat([0.1, 0.9], 500)
    assert calibration_error(np.repeat([1, 0], 500), two, np.ones(1000)) == pytest.approx(0.9)


def test_chance_is_that_of_a_random_interaction_and_fold():
    model = make_model()
    item_tensors = ItemTensors.select(model, make_vectors(model, np.arange(ITEMS) % 5 > 0), np.arange(ITEMS))
    counts = np.arange(ITEMS)
    measure_chance(model, item_tensors, counts)
    views = [item_tensors.co_occurrence, item_tensors.company, F.normalize(item_tensors.semantic, dim=-1)]
    tables = views, [item_tensors.items, item_tensors.items, np.arange(ITEMS)]
    for chance, vectors, items in zip(model.chances, *tables, strict=True):
        drawn = [v for v, item in zip(vectors, items, strict=False) if v.any() for _ in range(counts[item])]
        similarity = torch.stack(drawn) @ vectors[7]
        expected = [similarity.mean(), similarity.std(correction=0)]
        torch.testing.assert_close(chance(vectors[7]), torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_examples_are_the_interactions_of_the_chosen_users_once_each():
    model = make_model()
    lengths = np.array([1, 5, 40, 12, 13])
    log = NoisyLog(
        Sequences.from_lengths(np.random.default_rng(0).integers(0, ITEMS, lengths.sum()), lengths),
        np.random.default_rng(1).random(lengths.sum()) < 0.2,
    )
    chosen = np.array([True, True, True, False, True])
    vectors = make_vectors(model)
    examples = collect_examples(model, log, [lambda: nullcontext(Version(vectors))], chosen, 64)
    taken = chosen[log.sequences.users] & (log.sequences.lengths > 1)[log.sequences.users]
    assert sorted(examples.length.tolist()) == [5.0] * 5 + [13.0] * 13 + [40.0] * 40
    assert examples.features.shape == examples.defined.shape == (58, len(FEATURES))
    found = sorted(zip(examples.label.tolist(), examples.weight.tolist(), strict=True))
    assert found == sorted(zip(log.inserted[taken].tolist(), balanced_weights(log)[taken].tolist(), strict=True))

    def hide(batch, generator):
        nothing = torch.zeros_like(batch.mask)
        return dataclasses.replace(batch, has_semantic=nothing, has_collaborative=nothing)

    def plain():
        return nullcontext(Version(vectors))

    hiding = Version(vectors, hide, np.random.default_rng(0))
    assert len(collect_examples(model, log, [lambda: nullcontext(hiding)], chosen, 64).label) == 0
    twice = collect_examples(model, log, [plain, lambda: nullcontext(hiding), plain], chosen, 64, workers=3)
    assert torch.equal(twice.features, torch.cat([examples.features, examples.features]))
    assert torch.equal(twice.label, torch.cat([examples.label, examples.label]))


def make_examples(config, rows=4000, seed=0):
    """Noise whose features are lower; a sixth of all."""
    generator = torch.Generator().manual_seed(seed)
    size = 3 if config.head == "paper" else len(FEATURES)
    label = (torch.rand(rows, generator=generator) < 1 / 6).float()
    features = 0.5 + torch.randn(rows, size, generator=generator) * 0.3 - 0.4 * label[:, None]
    defined, length, weight = torch.ones(rows, size, dtype=torch.bool), torch.full((rows,), 9.0), torch.ones(rows)
    # A quarter of the noise is of each kind.
    kind = torch.where(label > 0, torch.arange(rows) % len(NOISE_KINDS), -1).float()
    return HeadExamples(features, defined, length, weight, kind)


@pytest.mark.parametrize("head", ["agreement", "paper"])
def test_the_head_finds_noise_and_says_how_probable_it_is(head):
    model = make_model(dataclasses.replace(CONFIG, head=head))
    before = {name: value.clone() for name, value in model.named_parameters()}
    reported = []
    held_out = make_examples(model.config, seed=1)
    fit_head(
        model,
        make_examples(model.config),
        held_out,
        TrainingConfig(head_epochs=3, batch_positions=512),
        np.random.SeedSequence(0),
        lambda *at: reported.append(at),
        Checkpoint(None, "head"),
    )
    measured = calibrate_head(model, held_out)
    assert measured["held_out_auroc"] > 0.9
    assert measured["held_out_calibration_error"] < 0.03
    scale, _ = model.calibration
    assert (scale > 0).all()
    # The paper's score has nothing to train but its calibration.
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert any(name.startswith("head.") for name in changed) == (head == "agreement")
    assert len(reported) == (3 if head == "agreement" else 1)
    torch.testing.assert_close(model.genuine_mean, torch.full((3,), 0.5), atol=0.05, rtol=0)
    torch.testing.assert_close(model.genuine_deviation, torch.full((3,), 0.3), atol=0.05, rtol=0)


def test_the_weights_of_the_head_decay():
    largest = []
    for decay in (0.0, 10.0):
        model = make_model(CONFIG)
        examples = (make_examples(model.config, seed=seed) for seed in (0, 1))
        training = TrainingConfig(head_epochs=3, batch_positions=512, head_weight_decay=decay)
        fit_head(model, *examples, training, np.random.SeedSequence(0), lambda *_: None, Checkpoint(None, "head"))
        largest.append(max(parameter.abs().max().item() for parameter in model.head.parameters()))
    assert largest[1] < 0.7 * largest[0]


def test_examples_can_be_picked():
    examples = make_examples(CONFIG, 7)
    assert torch.equal(examples.select(torch.arange(4, 7)).features, examples.features[4:])
    assert torch.equal(examples.select(examples.label == 0).length, examples.length[examples.label == 0])


def test_strays_stand_for_all_noise_in_the_second_logit_and_kinds_count_as_expected_in_both():
    model, examples = make_model(CONFIG), make_examples(CONFIG)
    model.head.kind_shift.copy_(torch.tensor([0.7, -0.4, -0.9, -1.2]))
    noise, kind = examples.label.numpy() > 0, examples.kind.numpy()
    expected, strays = _weights_by_logit(model, examples).T
    assert (expected[~noise] == 1).all()
    assert (strays[~noise] == 1).all()
    odds = np.exp([0.7, -0.4, -0.9, -1.2])
    assert expected[noise] == pytest.approx(odds[kind[noise].astype(int)], rel=1e-5)
    alone = np.isin(kind, STRAYS)
    assert (strays[noise & ~alone] == 0).all()
    assert strays[noise].sum() == pytest.approx(expected[noise].sum(), rel=1e-5)
    assert strays[noise & alone] / expected[noise & alone] == pytest.approx(strays[noise].sum() / expected[alone].sum())
