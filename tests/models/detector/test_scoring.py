import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.core.item_vectors import PackedItemVectors, packed_width
from iadsr.models.core.sequences import Sequences
from iadsr.models.core.windows import batches
from iadsr.models.detector.batch_builder import BatchBuilder
from iadsr.models.detector.features import FEATURES, SIGNS, VIEWS
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.item_tensors import ItemTensors
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.scoring import score_sequences

ITEMS, CONFIG = (
    30,
    IADSRConfig(collaborative_dimension=6, hidden_dimension=8, semantic_dimension=10, head_dimension=8, max_length=7),
)


@pytest.fixture(scope="module")
def model():
    return random_model()


def random_model(**changes):
    """A model whose every weight and statistic is random: enough to check what goes where."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = IADSR(dataclasses.replace(CONFIG, **changes))
        for module in model.chances:
            module.measure(torch.randn(20, len(module.mean)), torch.ones(20))
    return model.eval()


WIDTH = packed_width(6, CONFIG.folds)


def random_vectors(has_collaborative=None, has_semantic=None, width=WIDTH):
    generator = np.random.default_rng(1)
    everything = np.ones(ITEMS, bool)
    return PackedItemVectors(
        generator.normal(size=(ITEMS, width)).astype(np.float32),
        generator.normal(size=(ITEMS, 10)).astype(np.float32),
        everything if has_collaborative is None else has_collaborative,
        everything if has_semantic is None else has_semantic,
    ).unpack(CONFIG.collaborative_dimension)


def random_sequences(lengths, seed=0):
    lengths = np.array(lengths)
    return Sequences.from_lengths(np.random.default_rng(seed).integers(0, ITEMS, lengths.sum()), lengths)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 2**16), st.integers(1, 200))
def test_every_interaction_gets_a_probability_whatever_is_known_of_the_items(lengths, seed, batch_positions):
    generator = np.random.default_rng(seed)
    vectors = random_vectors(generator.random(ITEMS) < 0.6, generator.random(ITEMS) < 0.6)
    sequences = random_sequences(lengths, seed)
    scores = score_sequences(random_model(), sequences, vectors, batch_positions=batch_positions)
    n = sum(lengths)
    assert scores.noise_probability.shape == (n,)
    assert scores.noise_probability.dtype == np.float32
    assert ((scores.noise_probability >= 0) & (scores.noise_probability <= 1)).all()
    assert scores.similarities.shape == (n, 3)
    assert np.isin(scores.sign, np.arange(len(SIGNS))).all()
    known = (vectors.has_collaborative | vectors.has_semantic)[sequences.items]
    assert not scores.scored[~known].any()
    assert (scores.noise_probability[~scores.scored] == 0).all()
    assert np.isnan(scores.similarities[~scores.scored]).all()
    defined = scores.similarities[~np.isnan(scores.similarities)]
    assert (np.abs(defined) <= 1 + 1e-5).all()
    # With two known items or more in the sequence, each known one is judged.
    enough = np.bincount(sequences.users[known], minlength=len(sequences))[sequences.users] > 1
    assert (scores.scored == (known & enough)).all()


def test_scores_do_not_depend_on_the_batch_or_on_the_other_users(model):
    sequences, vectors = random_sequences([3, 30, 1, 7, 8, 2]), random_vectors()
    together = score_sequences(model, sequences, vectors)
    one_by_one = score_sequences(model, sequences, vectors, batch_positions=1)
    np.testing.assert_allclose(together.noise_probability, one_by_one.noise_probability, atol=1e-5)
    np.testing.assert_allclose(together.similarities, one_by_one.similarities, atol=1e-5)
    for user, (start, stop) in enumerate(zip(sequences.offsets, sequences.offsets[1:], strict=False)):
        items = sequences.items[start:stop]
        alone = score_sequences(
            model, Sequences.from_lengths(items, np.array([len(items)]), sequences.keys[user : user + 1]), vectors
        )
        np.testing.assert_allclose(together.noise_probability[start:stop], alone.noise_probability, atol=1e-5)


def test_a_user_is_judged_by_the_vectors_of_the_own_fold_alone(model):
    items, vectors = random_sequences([8]).items, random_vectors()
    keys = np.arange(40, dtype=np.uint64)
    folds = Sequences.from_lengths(np.zeros(0), np.zeros(40, int), keys).folds(CONFIG.folds)

    def score(key, vectors=vectors):
        sequences = Sequences.from_lengths(items, np.array([8]), keys[key : key + 1])
        return score_sequences(model, sequences, vectors).noise_probability

    first = score(0)
    same, other = np.flatnonzero(folds == folds[0])[1], np.flatnonzero(folds != folds[0])[0]
    assert np.array_equal(score(same), first)
    assert not np.allclose(score(other), first, atol=1e-4)
    for fold in range(CONFIG.folds):
        for name in ("co_occurrence", "company"):
            by_fold = getattr(vectors, name).copy()
            by_fold[:, fold] *= -np.random.default_rng(2).random((ITEMS, CONFIG.collaborative_dimension))
            changed = dataclasses.replace(vectors, **{name: by_fold})
            assert np.array_equal(score(0, changed), first) == (fold != folds[0])


def read_features(model, sequences, vectors):
    """The features of every interaction [N, F], the length of its history, and how often it was read."""
    builder = BatchBuilder(model, sequences, ItemTensors.select(model, vectors, np.arange(ITEMS)))
    features = torch.full((len(sequences.items), len(FEATURES)), torch.nan)
    length, times = torch.zeros(len(features)), torch.zeros(len(features), dtype=torch.int)
    with torch.no_grad():
        for rows, index, mask in batches(builder.windows, 100):
            batch = builder.batch(builder.windows.users[rows], index, mask)
            judged = builder.windows.judged(rows, mask)
            where = torch.from_numpy(index[judged])
            features[where] = model.features(batch, model.interests(batch))[0][judged]
            length[where] = batch.length[judged]
            times[where] += 1
    return features, length, times


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_long_history_cut_into_windows_is_judged_as_if_it_were_one(missing):
    generator = np.random.default_rng(3)
    vectors = random_vectors(generator.random(ITEMS) >= missing, generator.random(ITEMS) >= missing)
    # Short ones beside it, of lengths as the windows have.
    sequences = random_sequences([200, 38, 40, 41, 2])
    whole, cut = random_model(max_length=1000), random_model(max_length=40)
    expected, expected_length, _ = read_features(whole, sequences, vectors)
    found, length, times = read_features(cut, sequences, vectors)
    assert (times == 1).all()
    assert torch.equal(length, expected_length)
    assert torch.equal(length, torch.from_numpy(sequences.lengths[sequences.users]).float())
    for view in VIEWS:
        # Windows overlap by more than what is near, so that all of it is in the window.
        for name in ("mean", "rest", "chance_mean", "chance_deviation", "near_mean", "near_maximum"):
            column = FEATURES.index(f"{view}_{name}")
            torch.testing.assert_close(found[:, column], expected[:, column], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", ["gru4rec", "sasrec"])
def test_each_interaction_gets_the_score_of_the_window_that_judges_it(backbone):
    model, sequences = random_model(max_length=12, backbone=backbone), random_sequences([50, 13, 5, 7])
    vectors = random_vectors(np.arange(ITEMS) % 4 != 0, np.arange(ITEMS) % 4 != 1)
    scores = score_sequences(model, sequences, vectors)
    builder = BatchBuilder(model, sequences, ItemTensors.select(model, vectors, np.arange(ITEMS)))
    for row in range(len(builder.windows)):
        window = builder.windows.select(np.array([row]))
        index = window.starts[:, None] + np.arange(window.lengths[0])
        with torch.no_grad():
            probability, similarities, *_ = model(builder.batch(window.users, index, np.ones(index.shape, bool)))
        judged = np.s_[window.before[0] : window.lengths[0] - window.after[0]]
        noise, stray = probability[0, judged].T
        np.testing.assert_allclose(scores.noise_probability[index[0, judged]], noise, atol=1e-5)
        np.testing.assert_allclose(scores.stray_probability[index[0, judged]], stray, atol=1e-5)
        found = np.nan_to_num(scores.similarities[index[0, judged]])
        np.testing.assert_allclose(found, similarities[0, judged], atol=1e-5)


def test_a_log_cut_at_the_borders_of_cells_has_the_scores_of_the_whole(model, monkeypatch):
    monkeypatch.setattr("iadsr.models.detector.scoring.GROUP_INTERACTIONS", 40)
    sequences = random_sequences(np.random.default_rng(5).integers(0, 20, 60), 5)
    vectors = random_vectors()
    whole = score_sequences(model, sequences, vectors, cells=4)
    assert whole.scored.sum() > 400
    for number in range(2):
        users = np.flatnonzero(sequences.keys % np.uint64(2) == number)
        part, rows = sequences.take(users)
        cut = score_sequences(model, part, vectors, cells=4)
        for name, values in vars(whole).items():
            np.testing.assert_array_equal(getattr(cut, name), values[rows], err_msg=name)
    apart = score_sequences(model, sequences, vectors)
    np.testing.assert_allclose(apart.noise_probability, whole.noise_probability, atol=1e-5)


def test_the_mean_agreement_over_a_long_history_agrees_with_brute_force():
    model, vectors = random_model(max_length=12), random_vectors(np.arange(ITEMS) % 4 > 0)
    sequences = Sequences.from_lengths(random_sequences([53]).items, np.array([53]), np.array([9], np.uint64))
    found = read_features(model, sequences, vectors)[0]
    fold = int(sequences.folds(CONFIG.folds)[0])
    for view in ("co_occurrence", "company"):
        of_items = getattr(vectors, view)[:, fold]
        unit = of_items / np.linalg.norm(of_items, axis=1, keepdims=True)
        for t, item in enumerate(sequences.items):
            rest = [u for u in np.delete(sequences.items, t) if vectors.has_collaborative[u]]
            expected = np.mean(unit[rest] @ unit[item]) if vectors.has_collaborative[item] else 0
            assert found[t, FEATURES.index(f"{view}_mean")] == pytest.approx(expected, abs=1e-4)


def test_the_papers_head_scores_from_its_own_vectors_and_the_texts():
    model = random_model(head="paper")
    vectors = random_vectors(width=model.packed_width)
    assert vectors.pack().collaborative.shape == (ITEMS, 6)
    scores = score_sequences(model, random_sequences([9, 30, 1]), vectors)
    assert scores.scored.tolist() == [True] * 39 + [False]
    expected = 1 / (1 + np.exp(scores.similarities.sum(1)[:39]))
    np.testing.assert_allclose(scores.noise_probability[:39], expected, rtol=1e-4)
    assert len(score_sequences(model, random_sequences([0]), vectors).noise_probability) == 0


def test_borrowed_vectors_count_by_their_direction_only(model):
    sequences, vectors = random_sequences([6, 9]), random_vectors()
    packed = vectors.pack()
    shorter = dataclasses.replace(packed, collaborative=packed.collaborative * np.float32(0.3)).unpack(6)
    expected, found = (score_sequences(model, sequences, v).noise_probability for v in (vectors, shorter))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_item_that_other_users_do_not_know_is_judged_by_the_rest(model):
    sequences, vectors = random_sequences([9]), random_vectors()
    vectors.co_occurrence[sequences.items[4]] = vectors.company[sequences.items[4]] = 0
    scores = score_sequences(model, sequences, vectors)
    assert scores.scored.all()
    assert np.isfinite(scores.noise_probability).all()


def test_the_same_input_gives_the_same_bits(model):
    sequences, vectors = random_sequences([5] * 40), random_vectors()
    first, again = (score_sequences(model, sequences, vectors) for _ in range(2))
    assert np.array_equal(first.noise_probability, again.noise_probability)
    assert np.array_equal(first.similarities, again.similarities)


def test_unknown_items_are_left_out_of_the_context(model):
    known = np.ones(ITEMS, bool)
    known[:10] = False
    vectors = random_vectors(known, known)
    with_unknown = Sequences.from_lengths(np.array([11, 3, 12, 13, 4]), np.array([5]))
    without = Sequences.from_lengths(np.array([11, 12, 13]), np.array([3]))
    scores, expected = score_sequences(model, with_unknown, vectors), score_sequences(model, without, vectors)
    assert scores.scored.tolist() == [True, False, True, True, False]
    np.testing.assert_allclose(scores.noise_probability[[0, 2, 3]], expected.noise_probability, atol=1e-6)


def test_what_stands_where_a_vector_is_absent_does_not_matter(model):
    has_semantic = np.arange(ITEMS) % 3 > 0
    has_collaborative = np.arange(ITEMS) % 4 > 0
    vectors, sequences = random_vectors(has_collaborative, has_semantic), random_sequences([6, 9])
    broken = PackedItemVectors(
        np.where(has_collaborative[:, None], vectors.pack().collaborative, np.nan),
        np.where(has_semantic[:, None], vectors.semantic, np.inf),
        has_collaborative,
        has_semantic,
    ).unpack(CONFIG.collaborative_dimension)
    expected, found = (score_sequences(model, sequences, v) for v in (vectors, broken))
    assert np.array_equal(expected.noise_probability, found.noise_probability)
    assert np.array_equal(expected.similarities, found.similarities, equal_nan=True)


def test_an_item_without_text_has_no_text_similarity(model):
    has_semantic = np.ones(ITEMS, bool)
    has_semantic[4] = False
    sequences = Sequences.from_lengths(np.array([1, 4, 9]), np.array([3]))
    similarities = score_sequences(model, sequences, random_vectors(has_semantic=has_semantic)).similarities
    # cos(S, c_t) needs the text of the others only.
    assert np.isnan(similarities).tolist() == [[False] * 3, [False, True, True], [False] * 3]


def test_the_lowest_similarity_is_judged_against_what_is_usual():
    model = random_model()
    model.head.kind_shift[0] = 30.0
    sequences, vectors = random_sequences([9]), random_vectors()
    for lowest in range(3):
        model.genuine_mean.zero_()
        model.genuine_mean[lowest] = 10.0
        assert (score_sequences(model, sequences, vectors).sign == lowest).all()


@pytest.mark.parametrize(("kind", "name"), [(1, "run"), (2, "text"), (3, "block")])
def test_a_likely_kind_is_told_in_place_of_the_lowest_similarity(kind, name):
    model = random_model()
    model.head.kind_shift[kind] = 30.0
    assert (score_sequences(model, random_sequences([9]), random_vectors()).sign == SIGNS.index(name)).all()


def test_half_precision_and_memory_mapped_text_vectors_are_read(model, tmp_path):
    vectors, sequences = random_vectors(), random_sequences([6, 9])
    np.save(tmp_path / "semantic.npy", vectors.semantic.astype(np.float16))
    mapped = dataclasses.replace(vectors, semantic=np.load(tmp_path / "semantic.npy", mmap_mode="r"))
    exact, half = (score_sequences(model, sequences, v).noise_probability for v in (vectors, mapped))
    np.testing.assert_allclose(exact, half, atol=1e-2)


def test_no_interactions_give_no_scores(model):
    for log in (random_sequences([0, 0]), Sequences.from_lengths(np.zeros(0), np.zeros(0, int))):
        scores = score_sequences(model, log, random_vectors())
        assert len(scores.noise_probability) == 0


@pytest.mark.parametrize("backbone", ["gru4rec", "sasrec", "caser"])
def test_scores_are_the_same_to_the_bit_whoever_else_is_scored(backbone):
    model, vectors = random_model(backbone=backbone, max_length=20), random_vectors(np.arange(ITEMS) % 7 > 0)
    generator = np.random.default_rng(3)
    sequences = random_sequences(generator.integers(0, 45, 90))
    whole = score_sequences(model, sequences, vectors)
    for users in (np.arange(1, 90), generator.permutation(90)[:33], np.arange(88, 90), np.array([5])):
        part, rows = sequences.take(users)
        alone = score_sequences(model, part, vectors, batch_positions=128)
        for name, values in vars(alone).items():
            assert values.tobytes() == getattr(whole, name)[rows].tobytes(), name
