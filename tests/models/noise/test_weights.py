import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from iadsr.models.noise.weights import DEFAULT_STRENGTH, weigh_interactions


def test_the_weight_is_expected_worth_minus_expected_cost():
    weights = weigh_interactions(
        np.array([0, 0.1, 0.2, 0.25, 0.9, 0.9], np.float32), np.array([1, 1, 1, 1, 1, 0], bool)
    )
    assert DEFAULT_STRENGTH == 4
    assert weights.tolist() == pytest.approx([1, 0.6, 0.2, 0, 0, 1])


def test_the_weight_falls_by_the_strength_and_not_below_the_minimum():
    probability, scored = np.array([0, 0.1, 0.2, 0.9, 0.9], np.float32), np.array([1, 1, 1, 1, 0], bool)
    assert weigh_interactions(probability, scored, 8.0, 0.1).tolist() == pytest.approx([1, 0.2, 0.1, 0.1, 1])
    assert weigh_interactions(probability, scored, 0.0).tolist() == [1, 1, 1, 1, 1]


@given(arrays(np.float32, st.integers(0, 20), elements=st.floats(0, 1, width=32)))
def test_weights_are_between_0_and_1_and_never_rise_with_the_noise_probability(probability):
    weights = weigh_interactions(np.sort(probability), np.ones(len(probability), bool))
    assert weights.dtype == np.float32
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (np.diff(weights) <= 0).all()
