import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.noise.recalibration import Recalibration
from iadsr.transforms.judge.threshold import (
    NOTHING,
    coarse_counts,
    merge_histograms,
    probability_histogram,
    threshold_for_rate,
    threshold_of_parts,
)

# Without numbers so small that they share a bin with 0.
probabilities = st.lists(st.floats(0, 1, width=32, allow_subnormal=False), min_size=1, max_size=300)


@given(probabilities, st.floats(0, 0.99))
def test_the_rate_is_never_exceeded_and_is_met_up_to_ties(drawn, rate):
    values = np.array(drawn, np.float32)
    threshold = np.float32(threshold_for_rate(probability_histogram(values, np.ones(len(values), bool)), rate))
    above = values >= threshold
    allowed = rate * len(values) * (1 + 1e-12)
    assert above.sum() <= allowed
    if (~above).any():
        # One more step down would be too much: all values within a bin of the next lower one would go.
        following = values[~above].max()
        assert (values >= following * (1 - 2**-15)).sum() > allowed


@given(probabilities, st.integers(1, 299))
def test_histograms_of_parts_add_up_to_the_histogram_of_the_whole(drawn, cut):
    values = np.array(drawn, np.float32)
    scored = np.ones(len(values), bool)
    whole = probability_histogram(values, scored)
    parts = merge_histograms([probability_histogram(v, scored[: len(v)]) for v in (values[cut:], values[:cut])])
    assert parts.bins.tolist() == whole.bins.tolist()
    assert parts.counts.tolist() == whole.counts.tolist()
    assert parts.rows == whole.rows


def test_the_rate_counts_all_interactions_also_those_not_scored():
    values = np.linspace(0, 1, 101, dtype=np.float32)
    scored = values >= 0.5
    histogram = probability_histogram(values, scored)
    assert threshold_for_rate(histogram, 10 / 101) == pytest.approx(0.91, abs=1e-4)
    assert threshold_for_rate(histogram, 0) > 1


@pytest.mark.parametrize("percent", [7, 14, 28, 29, 57, 58])
def test_a_rate_that_floating_point_holds_too_low_is_met(percent):
    values = np.linspace(0, 1, 100, dtype=np.float32)
    threshold = threshold_for_rate(probability_histogram(values, np.ones(100, bool)), percent / 100)
    assert (values >= np.float32(threshold)).sum() == percent


@given(probabilities, st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0.1, 4), st.floats(-6, 3))
def test_a_rate_holds_for_recalibrated_probabilities_and_a_higher_one_drops_no_less(drawn, rate, other, scale, shift):
    values, recalibration = np.array(drawn, np.float32), Recalibration(scale, shift)
    histogram = probability_histogram(values, np.ones(len(values), bool))
    lower, higher = (threshold_for_rate(histogram, share, recalibration) for share in sorted((rate, other)))
    assert higher <= lower
    rebased = recalibration.apply(values)
    assert (rebased >= np.float32(lower)).sum() <= min(rate, other) * len(values) * (1 + 1e-12)


@given(probabilities, probabilities, st.floats(0, 0.99), st.floats(-3, 3))
def test_a_rate_holds_over_parts_that_are_recalibrated_each_in_its_own_way(first, second, rate, shift):
    parts = [np.array(drawn, np.float32) for drawn in (first, second)]
    recalibrations = [Recalibration(1.0, 0.0), Recalibration(1.0, shift)]
    histograms = [probability_histogram(values, np.ones(len(values), bool)) for values in parts]
    rows = sum(map(len, parts))
    threshold = np.float32(threshold_of_parts(list(zip(histograms, recalibrations, strict=True)), rows, rate))
    rebased = np.concatenate([each.apply(values) for each, values in zip(recalibrations, parts, strict=True)])
    dropped = (rebased >= threshold).sum()
    assert dropped <= rate * rows * (1 + 1e-12)
    if dropped < rows:
        following = rebased[rebased < threshold].max()
        assert (rebased >= following * (1 - 2**-14)).sum() > rate * rows * (1 + 1e-12)


def test_no_rate_over_no_parts_drops_nothing():
    nothing = probability_histogram(np.zeros(0, np.float32), np.zeros(0, bool))
    assert threshold_of_parts([(nothing, Recalibration(1.0, 0.0))], 10, 0.5) == NOTHING


@given(st.lists(st.floats(0, 1, width=32), max_size=40))
def test_coarse_counts_are_those_of_the_probabilities(values):
    probability = np.array(values, np.float32)
    counts = coarse_counts(probability_histogram(probability, np.ones(len(values), bool)), 10)
    assert counts.sum() == len(values)
    exact, smaller = (
        np.cumsum(np.bincount(np.minimum((each * 10).astype(int), 9), minlength=10))
        for each in (probability, probability * np.float32(1 - 1e-4))
    )
    assert (exact <= np.cumsum(counts)).all()
    assert (np.cumsum(counts) <= smaller).all()  # the histogram rounds probabilities down
