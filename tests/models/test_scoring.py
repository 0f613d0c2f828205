import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.config import IADSRConfig
from iadsr.models.iadsr import IADSR
from iadsr.models.scoring import ItemVectors, score_sequences
from iadsr.models.sequences import Sequences

ITEMS, CONFIG = (
    30,
    IADSRConfig(collaborative_dimension=6, hidden_dimension=8, semantic_dimension=10, head_dimension=8, max_length=7),
)


@pytest.fixture(scope="module")
def model():
    return random_model()


def random_model(seed=0):
    """A model whose every weight and statistic is random: enough to check what goes where."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = IADSR(CONFIG)
        for module in model.chances:
            module.measure(torch.randn(20, len(module.mean)), torch.ones(20))
    return model.eval()


def random_vectors(has_collaborative=None, has_semantic=None):
    generator = np.random.default_rng(1)
    everything = np.ones(ITEMS, bool)
    return ItemVectors(
        generator.normal(size=(ITEMS, 6)).astype(np.float32),
        generator.normal(size=(ITEMS, 10)).astype(np.float32),
        everything if has_collaborative is None else has_collaborative,
        everything if has_semantic is None else has_semantic,
    )


def random_sequences(lengths, seed=0):
    lengths = np.array(lengths)
    return Sequences.from_lengths(np.random.default_rng(seed).integers(0, ITEMS, lengths.sum()), lengths)


@settings(deadline=None, max_examples=30)
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
    assert np.isin(scores.weakest, [0, 1, 2]).all()
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
    second = Sequences.from_lengths(sequences.items[3:33], np.array([30]))
    alone = score_sequences(model, second, vectors)
    np.testing.assert_allclose(together.noise_probability[3:33], alone.noise_probability, atol=1e-5)


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
    broken = ItemVectors(
        np.where(has_collaborative[:, None], vectors.collaborative, np.nan),
        np.where(has_semantic[:, None], vectors.semantic, np.inf),
        has_collaborative,
        has_semantic,
    )
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


def test_the_weakest_similarity_is_judged_against_what_is_usual():
    model = random_model()
    sequences, vectors = random_sequences([9]), random_vectors()
    for lowest in range(3):
        model.genuine_mean.zero_()
        model.genuine_mean[lowest] = 10.0
        assert (score_sequences(model, sequences, vectors).weakest == lowest).all()


def test_half_precision_and_memory_mapped_text_vectors_are_read(model, tmp_path):
    vectors, sequences = random_vectors(), random_sequences([6, 9])
    np.save(tmp_path / "semantic.npy", vectors.semantic.astype(np.float16))
    mapped = ItemVectors(
        vectors.collaborative,
        np.load(tmp_path / "semantic.npy", mmap_mode="r"),
        vectors.has_collaborative,
        vectors.has_semantic,
    )
    exact, half = (score_sequences(model, sequences, v).noise_probability for v in (vectors, mapped))
    np.testing.assert_allclose(exact, half, atol=1e-2)


def test_no_interactions_give_no_scores(model):
    scores = score_sequences(model, random_sequences([0, 0]), random_vectors())
    assert len(scores.noise_probability) == 0
