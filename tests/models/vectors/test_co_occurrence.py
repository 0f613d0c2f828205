from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.core.sequences import Sequences
from iadsr.models.core.windows import cut_windows
from iadsr.models.vectors import co_occurrence
from iadsr.models.vectors.co_occurrence import MAX_TOGETHER, fit_co_occurrence, fit_company

FOLDS = 3


def make(baskets, keys=None) -> Sequences:
    items = np.array([item for basket in baskets for item in basket], np.int32)
    return Sequences.from_lengths(items, np.array([len(basket) for basket in baskets]), keys)


class OutOfFoldVectors(NamedTuple):
    co_occurrence: np.ndarray
    company: np.ndarray


def learn(sequences, texts=None, has_text=None, *, items=6, folds=FOLDS, dimension=16, seed=0) -> OutOfFoldVectors:
    texts = np.zeros((items, 4), np.float32) if texts is None else texts
    has_text = np.ones(len(texts), bool) if has_text is None else has_text
    return OutOfFoldVectors(
        np.stack([*fit_co_occurrence(sequences, len(texts), folds=folds, dimension=dimension, seed=seed)]),
        fit_company(sequences, texts, has_text, folds=folds),
    )


def random_baskets(users, items, seed=0):
    """Users who mostly stay within one half of the items."""
    generator = np.random.default_rng(seed)
    halves = np.array_split(np.arange(items), 2)
    return [
        [
            int(generator.choice(halves[(user + (generator.random() < 0.1)) % 2]))
            for _ in range(generator.integers(1, 9))
        ]
        for user in range(users)
    ]


def centre(vectors, counts):
    """Unit vectors around their mean over interactions; zeros stay."""
    known = np.abs(vectors).sum(1) > 1e-9
    unit = np.zeros_like(vectors, dtype=float)
    unit[known] = vectors[known] / np.linalg.norm(vectors[known], axis=1, keepdims=True)
    weights = np.where(known, counts, 0.0)
    unit[known] -= (weights @ unit) / max(weights.sum(), 1)
    unit[known] /= np.linalg.norm(unit[known], axis=1, keepdims=True)
    return unit


def similarities(vectors):
    """What vectors are used for; it does not depend on how they are turned."""
    return vectors @ vectors.T


def brute_force_co_occurrence(baskets, items, dimension):
    together = np.zeros((items, items))
    for basket in baskets:
        for i in set(basket):
            for j in set(basket) - {i}:
                together[i, j] += 1
    total = together.sum(1)
    ppmi = np.zeros((items, items))
    for i, j in np.argwhere(together):
        ppmi[i, j] = max(np.log(together[i, j] * total.sum() / (total[i] * total[j])), 0)
    left, strength, _ = np.linalg.svd(ppmi)
    vectors = (left * np.sqrt(strength))[:, :dimension]
    vectors[ppmi.sum(1) == 0] = 0
    return centre(vectors, np.bincount([item for basket in baskets for item in basket], minlength=items))


def brute_force_company(baskets, texts, has_text):
    total = np.zeros(texts.shape)
    for basket in baskets:
        for item in set(basket):
            rest = set(basket) - {item}
            for other in rest:
                if has_text[other]:
                    total[item] += texts[other] / np.linalg.norm(texts[other]) / len(rest)
    return centre(total, np.bincount([item for basket in baskets for item in basket], minlength=len(texts)))


@pytest.mark.parametrize(("users", "items", "dimension"), [(40, 9, 16), (60, 30, 30), (300, 60, 2)])
def test_vectors_of_a_fold_agree_with_brute_force_on_the_users_of_all_others(users, items, dimension):
    baskets = random_baskets(users, items)
    generator = np.random.default_rng(1)
    texts, has_text = generator.normal(size=(items, 5)).astype(np.float32), generator.random(items) < 0.7
    sequences = make(baskets)
    found = learn(sequences, texts, has_text, dimension=dimension)
    assert found.co_occurrence.shape == (FOLDS, items, dimension)
    assert found.company.shape == (FOLDS, items, 5)
    assert (found.co_occurrence.dtype, found.company.dtype) == (np.float16, np.float32)
    fold = sequences.folds(FOLDS)
    for own in range(FOLDS):
        of_others = [basket for basket, f in zip(baskets, fold, strict=True) if f != own]
        expected = brute_force_co_occurrence(of_others, items, dimension)
        np.testing.assert_allclose(similarities(found.co_occurrence[own]), similarities(expected), atol=1e-2)
        np.testing.assert_allclose(found.company[own], brute_force_company(of_others, texts, has_text), atol=1e-4)


def test_company_is_the_mean_text_of_the_rest_however_often_an_item_is_repeated():
    texts = np.array([[2, 0, 0], [0, 3, 0], [0, 0, 1], [9, 9, 9]], np.float32)
    has_text = np.array([True, True, True, False])
    # Ten times the same, so that every fold's others hold it.
    found = learn(make([[0, 1, 1, 2], [2, 3]] * 10), texts, has_text).company
    # Before centring: 0 is seen with the directions of 1 and 2, half each; 1 likewise with 0 and 2; 2 with those of 0
    # and 1, and with 3, which has no text and adds nothing; 3 with that of 2.
    seen = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, np.sqrt(2)]]) / np.sqrt(2)
    for own in range(FOLDS):
        # Folds hold unequal numbers of the two kinds of users, and so have means of their own.
        weights = np.zeros(4)
        for user, fold in enumerate(make([[0]] * 20).folds(FOLDS)):
            weights += [[1, 2, 1, 0], [0, 0, 1, 1]][user % 2] if fold != own else np.zeros(4)
        centred = seen - weights @ seen / weights.sum()
        np.testing.assert_allclose(
            found[own], centred / np.linalg.norm(centred, axis=1, keepdims=True), rtol=1e-4, atol=1e-5
        )


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 11), min_size=0, max_size=12))
def test_what_a_user_does_changes_nothing_in_the_vectors_of_the_own_fold(seed, other_basket):
    baskets, items = random_baskets(30, 12, seed), 12
    generator = np.random.default_rng(seed)
    texts = generator.normal(size=(items, 5)).astype(np.float32)
    user = int(generator.integers(len(baskets)))
    sequences = make(baskets)
    own = sequences.folds(FOLDS)[user]
    before = learn(sequences, texts)
    baskets[user] = other_basket
    after = learn(make(baskets), texts)
    # Only similarities within a fold count; all vectors of it may be turned alike.
    np.testing.assert_allclose(
        similarities(after.co_occurrence[own]), similarities(before.co_occurrence[own]), atol=5e-3
    )
    np.testing.assert_allclose(after.company[own], before.company[own], atol=1e-4)


def test_what_a_user_does_is_seen_by_the_other_folds():
    baskets = random_baskets(30, 12)
    sequences, changed = make(baskets), make([list(range(12)), *baskets[1:]])
    texts = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    before, after = learn(sequences, texts), learn(changed, texts)
    for fold in set(range(FOLDS)) - {int(sequences.folds(FOLDS)[0])}:
        gap = similarities(after.co_occurrence[fold]) - similarities(before.co_occurrence[fold])
        assert np.abs(gap).max() > 0.05
        assert np.abs(after.company[fold] - before.company[fold]).max() > 0.05


def test_the_order_of_users_and_of_their_interactions_does_not_matter():
    baskets, keys = random_baskets(50, 12), np.random.default_rng(4).integers(0, 2**63, 50).astype(np.uint64)
    texts = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    order = np.random.default_rng(5).permutation(50)
    first = learn(make(baskets, keys), texts)
    second = learn(make([baskets[u][::-1] for u in order], keys[order]), texts)
    np.testing.assert_allclose(second.company, first.company, atol=1e-4)
    for one, other in zip(first.co_occurrence, second.co_occurrence, strict=True):
        np.testing.assert_allclose(similarities(one), similarities(other), atol=5e-3)


def test_the_same_log_and_seed_give_the_same_bits():
    sequences = make(random_baskets(60, 40))
    texts = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    first, again = (learn(sequences, texts, dimension=8) for _ in range(2))
    assert np.array_equal(first.co_occurrence, again.co_occurrence)
    assert np.array_equal(first.company, again.company)


def test_all_folds_are_turned_alike():
    # The moments that chance similarity is computed from are shared by the folds.
    vectors = learn(make(random_baskets(200, 20)), items=20, dimension=4).co_occurrence.astype(np.float32)
    for one in vectors[1:]:
        left, _, right = np.linalg.svd(one.T @ vectors[0])
        # No rotation brings them nearer; items are about equally frequent here.
        best = (one @ left @ right * vectors[0]).sum(1).mean()
        assert (one * vectors[0]).sum(1).mean() > max(0.7, best - 0.01)


def test_vectors_are_unit_vectors_and_unknown_items_are_zero():
    # 0 and 1 meet; 2 is always alone, often; 3 meets 4, which has no text; 5 does not occur.
    baskets = [[0, 1], [0, 1], [2], [3, 4], [2, 2], [2]] * 15
    texts = np.random.default_rng(0).normal(size=(6, 7)).astype(np.float32)
    texts[4] = np.nan
    found = learn(make(baskets), texts, np.array([True, True, True, True, False, True]))
    for vectors, known in ((found.co_occurrence, {0, 1, 3, 4}), (found.company, {0, 1, 4})):
        norms = np.linalg.norm(vectors.astype(np.float32), axis=2)
        for fold in norms:
            assert set(np.flatnonzero(fold)) == known
            np.testing.assert_allclose(fold[list(known)], 1, rtol=1e-3)


def test_an_item_that_one_user_alone_has_is_unknown_to_that_users_fold():
    baskets = [[5, 0, 1], *([[0, 1], [2, 3]] * 10)]
    texts = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    sequences = make(baskets)
    own = sequences.folds(FOLDS)[0]
    found = learn(sequences, texts)
    for vectors in (found.co_occurrence, found.company):
        assert vectors[:, 5].any(1).tolist() == [fold != own for fold in range(FOLDS)]


@pytest.mark.parametrize("baskets", [[[0]], [[0, 1]], [[0, 0], [0]], [[], []], [[0, 1, 2, 3, 4, 5]]])
def test_tiny_logs_and_folds_without_users_give_finite_vectors(baskets):
    texts = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    found = learn(make(baskets), texts, folds=5)
    for vectors in (found.co_occurrence, found.company):
        assert np.isfinite(vectors).all()
        assert (np.linalg.norm(vectors.astype(np.float32), axis=2) < 1 + 1e-3).all()


def test_without_any_text_there_is_no_company():
    found = learn(make(random_baskets(30, 6)), np.full((6, 4), np.nan, np.float32), np.zeros(6, bool))
    assert not found.company.any()
    assert found.co_occurrence.any()


def test_items_far_apart_in_a_long_history_are_not_together():
    # The halves of the history are windows of their own: 0 and 1 meet, and 2 and 3, but never 0 and 2.
    long = [0, 1] * (MAX_TOGETHER // 2) + [2, 3] * (MAX_TOGETHER // 2)
    texts = np.eye(4, dtype=np.float32)
    company = learn(make([long] * 12), texts).company[0]
    # Unit vectors around their mean: what 0 is seen with is the text of 1, and so on.
    expected = np.eye(4)[[1, 0, 3, 2]] - 0.25
    np.testing.assert_allclose(company, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_strengths_are_those_of_an_exact_decomposition_where_eigenvalues_of_both_signs_meet():
    # A flat spectrum, half of it negative: an approximation of eigenvalues would let the two signs cancel.
    generator = np.random.default_rng(0)
    baskets = [generator.integers(0, 300, 6).tolist() for _ in range(4000)]
    count = co_occurrence._count(make(baskets), cut_windows(make(baskets), MAX_TOGETHER), 300)
    exact = count.copy()
    co_occurrence._make_positive_information(exact)
    expected = np.linalg.svd((exact + exact.T).toarray(), compute_uv=False)[:64]
    found = co_occurrence._factorise(count, 64, seed=0)
    np.testing.assert_allclose((found**2).sum(0), expected, rtol=0.1)


def test_counts_do_not_depend_on_how_many_pairs_are_counted_at_once(monkeypatch):
    sequences = make(random_baskets(200, 20))
    windows = cut_windows(sequences, MAX_TOGETHER)
    whole = co_occurrence._count(sequences, windows, 20)
    assert not scipy.sparse.tril(whole).nnz
    monkeypatch.setattr(co_occurrence, "_PAIRS_AT_ONCE", 50)
    monkeypatch.setattr(co_occurrence, "_WINDOWS_AT_ONCE", 7)
    assert np.array_equal(co_occurrence._count(sequences, windows, 20).toarray(), whole.toarray())
    ppmi = [whole.copy(), whole.copy()]
    co_occurrence._make_positive_information(ppmi[0])
    monkeypatch.undo()
    co_occurrence._make_positive_information(ppmi[1])
    assert np.array_equal(ppmi[0].toarray(), ppmi[1].toarray())
    vectors = np.random.default_rng(0).normal(size=(20, 40)).astype(np.float32)
    both = (ppmi[0] + ppmi[0].T) @ vectors
    co_occurrence._multiply(ppmi[0], vectors)
    np.testing.assert_allclose(vectors, both, rtol=1e-4, atol=1e-5)
