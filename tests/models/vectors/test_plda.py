import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.core.sequences import Sequences
from iadsr.models.vectors.co_occurrence import MAX_TOGETHER
from iadsr.models.vectors.plda import agreeing_vectors, fit_text_components


def make(baskets) -> Sequences:
    items = np.array([item for basket in baskets for item in basket], np.int32)
    return Sequences.from_lengths(items, np.array([len(basket) for basket in baskets]))


def moments(baskets, vectors, known):
    """Products of two interactions of a basket and of each alone, pair by pair; items do not repeat within one here."""
    together, alone = np.zeros((2, vectors.shape[1], vectors.shape[1]))
    paired = interactions = 0
    for basket in baskets:
        there = [item for item in basket if known[item]]
        interactions += len(there)
        paired += len(there) * (len(there) > 1)
        for one in there:
            alone += np.outer(vectors[one], vectors[one])
            for other in set(there) - {one}:
                together += np.outer(vectors[one], vectors[other]) / (len(there) - 1)
    return np.array([together, alone]), np.array([paired, interactions])


def weigh_shard(sums, numbers, count, length):
    together, alone = sums / numbers[:, None, None]
    width = len(alone)
    regular = 0.98 * alone + 0.02 * np.trace(alone) / width * np.eye(width)
    agreement, directions = scipy.linalg.eigh(together, regular)
    agreement, directions = np.clip(agreement[::-1], 1e-6, 1)[:count], directions[:, ::-1][:, :count]
    return directions * np.sqrt(agreement / (1 + (max(0.5 * length, 1) - 1) * agreement))


def median_length(baskets):
    return np.median([len(basket) for basket in baskets if len(basket) > 1])


def brute_force(baskets, texts, has_text, count, length=None):
    rows = [item for basket in baskets for item in basket if has_text[item]]
    mean = texts[rows].mean(0)
    basis = weigh_shard(*moments(baskets, texts - mean, has_text), count, length or median_length(baskets))
    elements = (texts[rows] - mean) @ basis
    return mean, basis * 0.2 / np.sqrt((elements**2).mean())


def distinct_baskets(users, items, seed):
    """Users who stay within one quarter of the items."""
    generator, size = np.random.default_rng(seed), items // 4
    return [(generator.permutation(size)[: generator.integers(1, 8)] + size * (u % 4)).tolist() for u in range(users)]


@pytest.mark.parametrize(("count", "missing"), [(5, 0.0), (3, 0.3), (1, 0.3)])
def test_components_agree_with_brute_force_over_pairs(count, missing):
    generator = np.random.default_rng(0)
    baskets, texts = distinct_baskets(60, 32, 1), generator.normal(size=(32, 5))
    texts[:16, 1] += 3
    texts[8:24, 2] += 1.5
    has_text = generator.random(32) >= missing
    mean, basis = fit_text_components(make(baskets), np.where(has_text[:, None], texts, np.nan), has_text, count)
    expected_mean, expected = brute_force(baskets, texts, has_text, count)
    assert basis.shape == (5, count)
    assert mean.dtype == basis.dtype == np.float32
    np.testing.assert_allclose(mean, expected_mean, atol=1e-5)
    # Directions have no sign.
    np.testing.assert_allclose(basis @ basis.T, expected @ expected.T, atol=1e-3)


def test_what_users_agree_on_counts_and_what_merely_varies_does_not():
    generator = np.random.default_rng(0)
    # Users stay within a half of the items, which the weakest of three elements tells apart.
    texts = generator.normal(size=(200, 3)) * [10, 3, 0.3]
    texts[:100, 2] += 1
    texts[100:, 2] -= 1
    baskets = [(generator.permutation(100)[:6] + 100 * (user % 2)).tolist() for user in range(400)]
    _, basis = fit_text_components(make(baskets), texts, np.ones(200, bool), 3)
    spread = texts.std(0)[:, None] * basis  # how far an item moves in each component by each element
    assert np.abs(spread[2]).max() > 5 * np.abs(spread[:2]).max()
    assert np.abs(spread[2]).argmax() == 0  # the strongest comes first


def test_items_far_apart_in_a_long_history_are_no_pair():
    generator = np.random.default_rng(0)
    texts, has_text = generator.normal(size=(300, 4)), np.ones(300, bool)
    halves = [generator.permutation(300)[:MAX_TOGETHER].tolist() for _ in range(6)]
    long = [one + other for one, other in zip(halves[::2], halves[1::2], strict=True)]
    _, basis = fit_text_components(make(long), texts, has_text, 4)
    _, expected = brute_force(halves, texts, has_text, 4, length=2 * MAX_TOGETHER)
    np.testing.assert_allclose(basis @ basis.T, expected @ expected.T, atol=1e-3)


@pytest.mark.parametrize("baskets", [[[0]], [[0, 1]], [[0, 0], [0]], [[], []], [[0, 1, 2, 3, 4, 5]]])
def test_tiny_logs_give_finite_components(baskets):
    texts = np.random.default_rng(0).normal(size=(6, 4))
    for has_text in (np.ones(6, bool), np.arange(6) == 0, np.zeros(6, bool)):
        mean, basis = fit_text_components(make(baskets), texts, has_text, 4)
        assert np.isfinite(mean).all()
        assert np.isfinite(basis).all()


def test_where_all_texts_are_alike_but_for_rounding_components_are_zero():
    texts = np.float32([0.1, -0.7, 0.3, 1]) + np.random.default_rng(0).normal(size=(7, 4)) * 1e-7
    _, basis = fit_text_components(make([[0, 1, 5], [1, 2], [3, 6, 4, 1]] * 9), texts, np.ones(7, bool), 2)
    assert not basis.any()


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_the_unit_of_embeddings_does_not_matter(seed, unit):
    generator = np.random.default_rng(seed)
    sequences, texts, has_text = make(distinct_baskets(30, 12, seed)), generator.normal(size=(12, 4)), np.ones(12, bool)
    mean, basis = fit_text_components(sequences, texts, has_text, 4)
    same_mean, same = fit_text_components(sequences, texts * unit, has_text, 4)
    components, again = (texts - mean) @ basis, (texts * unit - same_mean) @ same
    np.testing.assert_allclose(again @ again.T, components @ components.T, atol=2e-2)


@pytest.mark.parametrize("count", [2, 5])
def test_vectors_of_others_become_components_that_agree_in_the_users_they_have_not_seen(count):
    generator, folds = np.random.default_rng(0), 3
    vectors = generator.normal(size=(folds, 32, 5)).astype(np.float32)
    vectors[:, :16, 1] += 3
    vectors[:, 8:24, 2] += 1.5
    vectors[generator.random((folds, 32)) < 0.2] = 0
    baskets = distinct_baskets(90, 32, 1)
    sequences = make(baskets)
    fold = sequences.folds(folds)
    measured = [
        moments(
            [basket for basket, f in zip(baskets, fold, strict=True) if f == own], vectors[own], vectors[own].any(1)
        )
        for own in range(folds)
    ]
    sums, numbers = (sum(parts) for parts in zip(*measured, strict=True))
    found = agreeing_vectors(vectors, sequences, count)
    assert found.dtype == np.float16
    found = found.astype(np.float32)
    expected = vectors @ weigh_shard(sums, numbers, count, median_length(baskets))
    expected /= np.maximum(np.linalg.norm(expected, axis=2, keepdims=True), 1e-12)
    np.testing.assert_allclose(found @ found.swapaxes(1, 2), expected @ expected.swapaxes(1, 2), atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), vectors.any(2), atol=1e-3)


@pytest.mark.parametrize("baskets", [[[0]], [[0, 1]], [[], []], [[0, 1, 2, 3, 4, 5]] * 5])
def test_vectors_of_tiny_logs_stay_finite(baskets):
    vectors = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
    for some in (vectors, np.zeros_like(vectors)):
        found = agreeing_vectors(some, make(baskets), 3)
        assert np.isfinite(found).all()
        assert (np.linalg.norm(found.astype(np.float32), axis=2) < 1 + 1e-3).all()
