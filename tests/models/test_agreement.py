import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.agreement import AGREEMENTS, Chance, View, leave_one_out_max, leave_one_out_mean, sequence_agreement

shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 5), st.integers(0, 10_000))


def random_vectors(shape, ties=False):
    batch, steps, size, seed = shape
    generator = np.random.default_rng(seed)
    # Whole numbers tie often: the second of two equal maxima is the maximum itself.
    values = generator.integers(-2, 3, (batch, steps, size)) if ties else generator.normal(size=(batch, steps, size))
    return torch.tensor(values, dtype=torch.float32), torch.tensor(generator.random((batch, steps)) < 0.7)


@settings(deadline=None)
@given(shapes, st.booleans())
def test_leave_one_out_agrees_with_brute_force(shape, ties):
    vectors, present = random_vectors(shape, ties)
    maximum, mean = leave_one_out_max(vectors, present), leave_one_out_mean(vectors, present)
    for b in range(shape[0]):
        for t in range(shape[1]):
            others = [u for u in range(shape[1]) if u != t and present[b, u]]
            zero = torch.zeros(shape[2])
            torch.testing.assert_close(maximum[b, t], vectors[b, others].amax(0) if others else zero)
            torch.testing.assert_close(mean[b, t], vectors[b, others].mean(0) if others else zero)


@settings(deadline=None)
@given(shapes)
def test_sequence_agreement_agrees_with_brute_force(shape):
    vectors, present = random_vectors(shape)
    log = torch.tensor(np.random.default_rng(shape[3]).normal(size=(6, shape[2])), dtype=torch.float32)
    chance = Chance(shape[2])
    chance.measure(log, torch.tensor([1.0, 1, 1, 1, 1, 2]))
    values, defined = sequence_agreement(View(vectors, vectors, present), chance)
    similarity = vectors @ vectors.transpose(1, 2)
    for b in range(shape[0]):
        for t in range(shape[1]):
            here = bool(present[b, t])
            rest = [u for u in range(shape[1]) if u != t and present[b, u] and here]
            near = [u for u in rest if abs(u - t) == 1]
            pairs = [similarity[b, u, v] for u in rest for v in rest if u != v]
            to_rest, to_near = similarity[b, t, rest], similarity[b, t, near]
            to_log = log[[0, 1, 2, 3, 4, 5, 5]] @ vectors[b, t]
            expected = [
                *((to_rest.mean(), to_rest.max()) if rest else (0, 0)),
                *((to_near.mean(), to_near.max()) if near else (0, 0)),
                torch.stack(pairs).mean() if pairs else 0,
                *((to_log.mean(), to_log.std(correction=0)) if here else (0, 0)),
            ]
            np.testing.assert_allclose(values[b, t], np.array(expected, np.float32), rtol=1e-3, atol=1e-3)
            assert defined[b, t].tolist() == [bool(rest)] * 2 + [bool(near)] * 2 + [bool(pairs)] + [here] * 2


def test_an_item_does_not_agree_with_itself():
    view = View(torch.eye(3)[None], torch.eye(3)[None], torch.ones(1, 3, dtype=torch.bool))
    values, _ = sequence_agreement(view, Chance(3))
    torch.testing.assert_close(values, torch.zeros(1, 3, len(AGREEMENTS)))
