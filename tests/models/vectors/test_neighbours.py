import numpy as np
import pytest

from iadsr.models.vectors import neighbours
from iadsr.models.vectors.neighbours import borrow_collaborative, nearest_texts


@pytest.fixture
def clusters():
    """Three groups of items that agree in text and in behaviour: text [60, 8], collaborative [60, 4], group [60]."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(3), 20)
    text, behaviour = rng.normal(size=(3, 8)), rng.normal(size=(3, 4))
    noise = 0.05
    return (
        (text[group] + noise * rng.normal(size=(60, 8))).astype(np.float32),
        (behaviour[group] + noise * rng.normal(size=(60, 4))).astype(np.float32),
        group,
    )


def test_weights_are_powers_of_the_similarity():
    known = np.array([[1, 0], [0, 2], [-1, 0]], np.float32)
    collaborative = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    new = np.array([[3, 4]], np.float32)  # cosines 0.6, 0.8, -0.6
    far, near = 0.6**4, 0.8**4
    expected = [[far / (far + near), near / (far + near), 0]]
    np.testing.assert_allclose(borrow_collaborative(known, collaborative, new, k=2), expected, rtol=1e-5)
    np.testing.assert_allclose(borrow_collaborative(known, collaborative, new, k=1), [[0, 1, 0]], rtol=1e-6)
    np.testing.assert_allclose(borrow_collaborative(known, collaborative, new), expected, rtol=1e-5)


def test_an_item_unlike_all_others_takes_their_mean():
    known = np.array([[1, 0], [1, 0.001]], np.float32)
    collaborative = np.array([[1.0], [3.0]], np.float32)
    np.testing.assert_allclose(borrow_collaborative(known, collaborative, np.array([[-1.0, 0]])), [[2.0]])


def test_new_items_land_with_their_group(clusters):
    text, collaborative, group = clusters
    held_out = np.arange(60) % 5 == 0
    borrowed = borrow_collaborative(text[~held_out], collaborative[~held_out], text[held_out])
    centres = np.stack([collaborative[(group == g) & ~held_out].mean(axis=0) for g in range(3)])
    nearest = np.linalg.norm(borrowed[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, group[held_out])


def test_a_row_does_not_depend_on_its_company():
    rng = np.random.default_rng(1)
    known, collaborative = rng.normal(size=(2_000, 100)), rng.normal(size=(2_000, 4))
    new = rng.normal(size=(300, 100)).astype(np.float32)
    together = borrow_collaborative(known, collaborative, new)
    for rows in (slice(0, 1), slice(17, 20), slice(299, 300), slice(3, 150)):
        np.testing.assert_array_equal(borrow_collaborative(known, collaborative, new[rows]), together[rows])


def test_lengths_and_float_types_do_not_matter(clusters):
    text, collaborative, _ = clusters
    expected = borrow_collaborative(text[:50], collaborative[:50], text[50:])
    scaled = borrow_collaborative(text[:50].astype(np.float64) * 7, collaborative[:50].astype(np.float64), text[50:])
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-6)


def test_the_inverted_file_agrees_with_the_exact_search_and_is_repeatable(monkeypatch):
    rng = np.random.default_rng(2)
    known = rng.normal(size=(3_000, 8)).astype(np.float32)
    collaborative = rng.normal(size=(3_000, 4)).astype(np.float32)
    new = known[:200] + 0.01 * rng.normal(size=(200, 8)).astype(np.float32)
    exact = borrow_collaborative(known, collaborative, new, k=1)
    monkeypatch.setattr(neighbours, "MAX_EXACT_ITEMS", 1_000)
    approximate = borrow_collaborative(known, collaborative, new, k=1, seed=3)
    assert (np.abs(approximate - exact).max(axis=1) < 1e-5).mean() > 0.97
    np.testing.assert_array_equal(borrow_collaborative(known, collaborative, new, k=1, seed=3), approximate)


def test_no_new_items(clusters):
    text, collaborative, _ = clusters
    assert borrow_collaborative(text, collaborative, text[:0]).shape == (0, 4)


def test_shapes_that_do_not_fit_are_refused(clusters):
    text, collaborative, _ = clusters
    for known, vectors, new in (
        (text[:0], collaborative[:0], text),
        (text, collaborative[:3], text),
        (text, collaborative, text[:, :3]),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            borrow_collaborative(known, vectors, new)


@pytest.mark.parametrize("exact", [True, False])
def test_the_nearest_texts_are_those_of_other_wanted_items(monkeypatch, exact):
    rng = np.random.default_rng(0)
    text = rng.normal(size=(700, 8)).astype(np.float32)
    text[5] = text[4]
    wanted = rng.random(700) < 0.9
    wanted[4:6] = True
    if not exact:
        monkeypatch.setattr(neighbours, "MAX_EXACT_TEXTS", 100)
        monkeypatch.setattr(neighbours, "_CELLS_SEARCHED", 1000)
    nearest = nearest_texts(text, wanted, k=6)
    unit = text / np.linalg.norm(text, axis=1, keepdims=True)
    similarity = np.where(wanted, unit @ unit.T, -2)
    np.fill_diagonal(similarity, -2)
    for item in range(700):
        if wanted[item]:
            best = -np.sort(-similarity[item])[:6]
            np.testing.assert_allclose(similarity[item, nearest[item]], best, atol=1e-5)
            assert len(set(nearest[item])) == 6
        else:
            assert (nearest[item] == -1).all()


def test_items_without_enough_neighbours_have_fewer():
    text = np.eye(4, dtype=np.float32)
    nearest = nearest_texts(text, np.array([True, True, False, True]), k=3)
    assert nearest.shape == (4, 3)
    assert [sorted(row[row >= 0].tolist()) for row in nearest] == [[1, 3], [0, 3], [], [0, 1]]
    assert (nearest_texts(text, np.zeros(4, bool), k=3) == -1).all()
