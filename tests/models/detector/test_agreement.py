import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from iadsr.models.detector.agreement import (
    NEAR_STEPS,
    Chance,
    View,
    cosine,
    leave_one_out_max,
    leave_one_out_mean,
    near_means,
    sequence_agreement,
)
from iadsr.models.detector.batch import IndexedRows
from iadsr.models.detector.features import AGREEMENTS

shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 5), st.integers(0, 10_000))


def random_vectors(shape, ties=False):
    batch, steps, size, seed = shape
    generator = np.random.default_rng(seed)
    # Whole numbers tie often: the second of two equal maxima is the maximum itself.
    values = generator.integers(-2, 3, (batch, steps, size)) if ties else generator.normal(size=(batch, steps, size))
    return torch.tensor(values, dtype=torch.float32), torch.tensor(generator.random((batch, steps)) < 0.7)


@settings(max_examples=40)
@given(shapes, st.booleans())
def test_leave_one_out_agrees_with_brute_force(shape, ties):
    vectors, present = random_vectors(shape, ties)
    maximum, mean = leave_one_out_max(vectors, present), leave_one_out_mean(vectors * present[..., None], present)
    for b in range(shape[0]):
        for t in range(shape[1]):
            others = [u for u in range(shape[1]) if u != t and present[b, u]]
            zero = torch.zeros(shape[2])
            torch.testing.assert_close(maximum[b, t], vectors[b, others].amax(0) if others else zero)
            torch.testing.assert_close(mean[b, t], vectors[b, others].mean(0) if others else zero)


def unit_vectors(shape):
    """Unit vectors [B, T, n], 0 where absent, and where they are present."""
    vectors, present = random_vectors(shape)
    return F.normalize(vectors, dim=-1) * present[..., None], present


@settings(max_examples=40)
@given(shapes, st.booleans())
def test_the_maximum_of_the_others_hands_its_gradient_to_one_of_the_greatest(shape, ties):
    vectors, present = random_vectors(shape, ties)
    vectors.requires_grad_()
    leave_one_out_max(vectors, present).backward(weight := torch.rand(shape[:3]))
    expected = torch.zeros(shape[:3])
    for b in range(shape[0]):
        for t in range(shape[1]):
            others = [u for u in range(shape[1]) if u != t and present[b, u]]
            for k in range(shape[2]) if others else ():
                greatest = max(
                    others, key=lambda u: float(vectors.detach()[b, u, k])
                )  # the first, where several are equal
                expected[b, greatest, k] += weight[b, t, k]
    torch.testing.assert_close(vectors.grad, expected)


@pytest.mark.parametrize("lag", [0, 1, 2, 5])
def test_cosines_compare_with_what_comes_later(lag):
    generator = torch.Generator().manual_seed(0)
    vectors, others = (torch.randn(3, 4, 7, generator=generator, dtype=torch.double) for _ in range(2))
    vectors[1, 2] = others[0, 3] = 0
    expected = torch.zeros(3, 4, dtype=torch.double)
    for t in range(lag, 4):
        expected[:, t] = F.cosine_similarity(vectors[:, t - lag], others[:, t], dim=-1)
    torch.testing.assert_close(cosine(vectors, others, lag), expected)
    assert cosine(vectors, others, lag)[0, 3] == 0


@pytest.mark.parametrize(("lag", "steps"), [(0, 4), (2, 4), (0, 1)])
def test_cosines_have_the_gradient_that_they_should(lag, steps):
    generator = torch.Generator().manual_seed(0)
    pair = [torch.randn(2, n, 3, generator=generator, dtype=torch.double, requires_grad=True) for n in (steps, 4)]
    assert torch.autograd.gradcheck(lambda *tensors: cosine(*tensors, lag), pair)


@settings(max_examples=40)
@given(st.tuples(st.integers(1, 3), st.integers(1, 25), st.integers(1, 5), st.integers(0, 10_000)))
def test_sequence_agreement_agrees_with_brute_force(shape):
    vectors, present = unit_vectors(shape)
    log = torch.tensor(np.random.default_rng(shape[3]).normal(size=(6, shape[2])), dtype=torch.float32)
    chance = Chance(shape[2])
    chance.measure(log, torch.tensor([1.0, 1, 1, 1, 1, 2]))
    values, defined = sequence_agreement(View(IndexedRows.of(vectors), present), chance(vectors))
    assert values.shape == defined.shape == (*shape[:2], len(AGREEMENTS))
    similarity = vectors @ vectors.transpose(1, 2)
    for b in range(shape[0]):
        for t in range(shape[1]):
            here = bool(present[b, t])
            rest = [u for u in range(shape[1]) if u != t and present[b, u] and here]
            groups = [rest, [u for u in rest if abs(u - t) <= NEAR_STEPS]]
            expected, shown = [], []
            for group in groups:
                to_group = similarity[b, t, group]
                expected += [to_group.mean(), to_group.max()] if group else [0, 0]
                shown += [bool(group)] * 2
            pairs = [similarity[b, u, v] for u in rest for v in rest if u != v]
            to_log = log[[0, 1, 2, 3, 4, 5, 5]] @ vectors[b, t]
            away = [u for u in rest if abs(u - t) > NEAR_STEPS]
            expected.append(torch.stack(pairs).mean() if pairs else 0)
            expected.append(similarity[b, t, away].mean() if away else 0)
            expected += [to_log.mean(), to_log.std(correction=0)] if here else [0, 0]
            np.testing.assert_allclose(values[b, t], np.array(expected, np.float32), rtol=1e-3, atol=1e-3)
            assert defined[b, t].tolist() == [*shown, bool(pairs), bool(away), here, here]


def test_a_window_is_judged_by_its_whole_history():
    vectors, present = unit_vectors((2, 12, 4, 1))
    inside = IndexedRows.of(vectors[:, 2:11]), present[:, 2:11]
    window = View(*inside, vectors.sum(1), present.sum(1).float())
    chance = Chance(4)
    expected, shown = sequence_agreement(View(IndexedRows.of(vectors), present), chance(vectors))
    found, defined = sequence_agreement(window, chance(vectors[:, 2:11]))
    for name in ("mean", "rest"):
        column = AGREEMENTS.index(name)
        torch.testing.assert_close(found[..., column], expected[:, 2:11, column])
        assert torch.equal(defined[..., column], shown[:, 2:11, column])
    # What is near in time of what is not at the edge is in the window.
    near, away = AGREEMENTS.index("near_mean"), slice(NEAR_STEPS, -NEAR_STEPS)
    torch.testing.assert_close(found[:, away, near], expected[:, 2:11][:, away, near])
    far = AGREEMENTS.index("away")
    torch.testing.assert_close(found[:, away, far], expected[:, 2:11][:, away, far])


def test_a_window_without_a_longer_history_is_judged_by_itself():
    vectors, present = unit_vectors((2, 12, 4, 1))
    nothing = View(IndexedRows.of(vectors), present, torch.randn(2, 4), torch.zeros(2))
    for found, expected in zip(
        sequence_agreement(nothing, Chance(4)(vectors)),
        sequence_agreement(View(IndexedRows.of(vectors), present), Chance(4)(vectors)),
        strict=True,
    ):
        assert torch.equal(found, expected)


def test_an_item_does_not_agree_with_itself():
    vectors = torch.eye(3)[None]
    values, _ = sequence_agreement(
        View(IndexedRows.of(vectors), torch.ones(1, 3, dtype=torch.bool)), Chance(3)(vectors)
    )
    torch.testing.assert_close(values, torch.zeros(1, 3, len(AGREEMENTS)))


def test_chance_without_any_item_is_zero():
    chance = Chance(2)
    chance.measure(torch.ones(4, 2), torch.zeros(4))
    assert not chance(torch.ones(3, 2)).any()


def test_items_of_a_run_do_not_vouch_for_each_other_away_from_it():
    own, foreign = torch.eye(2)
    vectors = torch.stack([own] * 8 + [foreign] * 3 + [own] * 8)[None]
    view = View(IndexedRows.of(vectors), torch.ones(1, 19, dtype=torch.bool))
    values, _ = sequence_agreement(view, Chance(2)(vectors))
    near, away = (values[0, :, AGREEMENTS.index(name)] for name in ("near_mean", "away"))
    assert near[9].item() == pytest.approx(2 / 6)
    assert away[8:11].tolist() == [0, 0, 0]
    assert away[11].item() == pytest.approx(1 - 0 / 12)
    assert away[0].item() == pytest.approx(12 / 15)


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_means_of_what_is_near_leave_out_the_item_and_what_is_not_defined(steps):
    generator = torch.Generator().manual_seed(0)
    values, defined = torch.randn(2, steps, 3, generator=generator), torch.rand(2, steps, 3, generator=generator) < 0.6
    means, known = near_means(values * defined, defined, [2, 0])
    for b in range(2):
        for t in range(steps):
            for k, column in enumerate([2, 0]):
                near = [
                    values[b, u, column]
                    for u in range(steps)
                    if u != t and abs(u - t) <= NEAR_STEPS and defined[b, u, column]
                ]
                assert known[b, t, k] == bool(near)
                torch.testing.assert_close(means[b, t, k], torch.stack(near).mean() if near else torch.tensor(0.0))
