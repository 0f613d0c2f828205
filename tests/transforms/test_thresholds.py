import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.noise_share import Recalibration
from iadsr.transforms.thresholds import (
    NOTHING,
    fair_drops,
    fair_thresholds,
    merge_histograms,
    probability_histogram,
)

interactions = st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 2)), min_size=1, max_size=200)


def arrays(drawn):
    values, bucket = zip(*drawn, strict=True)
    return np.array(values, np.float32), np.array(bucket)


def histogram(values, bucket, buckets=3):
    return probability_histogram(values, np.ones(len(values), bool), bucket, buckets)


def world(rows=60_000, seed=0):
    """Three buckets that differ in how much noise they hold and how well it shows; probabilities mean what they say."""
    generator = np.random.default_rng(seed)
    bucket = generator.integers(0, 3, rows)
    odds = generator.normal(np.array([-1.5, -2.0, -3.0])[bucket], np.array([1.0, 1.5, 2.5])[bucket])
    probability = (1 / (1 + np.exp(-odds))).astype(np.float32)
    return probability, bucket, generator.random(rows) < probability


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.15])
def test_all_buckets_lose_the_same_share_of_their_genuine_interactions(rate):
    probability, bucket, noise = world()
    dropped = fair_drops(probability, bucket, rate)
    assert dropped.mean() == pytest.approx(rate, abs=0.0005)

    def ratio(dropped):
        lost = [(dropped & ~noise & (bucket == b)).sum() / (~noise & (bucket == b)).sum() for b in range(3)]
        return max(lost) / min(lost)

    single = probability >= np.sort(probability)[-round(rate * len(probability))]
    assert ratio(dropped) < 1.3
    assert ratio(single) > 1.5
    assert noise[dropped].sum() > 0.9 * noise[single].sum()


@settings(deadline=None)
@given(interactions, st.floats(0, 0.99))
def test_the_rate_is_never_exceeded_and_a_single_bucket_meets_it_up_to_ties(drawn, rate):
    values, bucket = arrays(drawn)
    allowed = rate * len(values) * (1 + 1e-12)
    assert fair_drops(values, bucket, rate).sum() <= allowed
    single = fair_drops(values, np.zeros(len(values), int), rate)
    assert single.sum() <= allowed
    if (~single).any():
        # One more step down would be too much: all values within a bin of the next lower one would go.
        following = values[~single].max()
        assert (values >= following * (1 - 2**-15)).sum() > allowed


@settings(deadline=None)
@given(interactions, st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0.1, 4), st.floats(-6, 3))
def test_a_higher_rate_never_keeps_what_a_lower_one_drops(drawn, rate, other, scale, shift):
    values, bucket = arrays(drawn)
    recalibration = Recalibration(np.full(3, scale), np.array([shift, 0.0, -shift]))
    lower, higher = (
        fair_thresholds(histogram(values, bucket), share, recalibration) for share in sorted((rate, other))
    )
    assert (higher <= lower).all()
    # Compared as they come out of the recalibration, rounded, they do not exceed the rate either.
    rebased = recalibration.apply(values, bucket)
    assert (rebased >= lower[bucket]).sum() <= min(rate, other) * len(values) * (1 + 1e-12)


@given(interactions, st.integers(1, 199))
def test_histograms_of_parts_add_up_to_the_histogram_of_the_whole(drawn, cut):
    values, bucket = arrays(drawn)
    whole = histogram(values, bucket)
    parts = merge_histograms([histogram(values[cut:], bucket[cut:]), histogram(values[:cut], bucket[:cut])])
    for name in ("bins", "counts", "rows"):
        assert getattr(parts, name).tolist() == getattr(whole, name).tolist()


def test_the_rate_counts_all_interactions_also_those_not_scored():
    values = np.linspace(0, 1, 101, dtype=np.float32)
    counted = probability_histogram(values, values >= 0.5, np.zeros(101, int), 1)
    assert fair_thresholds(counted, 10 / 101)[0] == pytest.approx(0.91, abs=1e-4)


def test_interactions_that_were_not_scored_are_genuine_ones_that_stay():
    # Two buckets alike, but for as many again in the second that could not be judged: it can spare twice as many.
    values = np.tile(np.linspace(0.1, 0.9, 1000, dtype=np.float32), 3)
    bucket, scored = np.repeat([0, 1, 1], 1000), np.repeat([True, True, False], 1000)
    thresholds = fair_thresholds(probability_histogram(values, scored, bucket, 2), 0.1)
    dropped = scored & (values >= thresholds[bucket])
    lost = [((1 - values) * dropped)[bucket == b].sum() for b in range(2)]
    assert thresholds[1] < thresholds[0]
    assert lost[1] / (((1 - values) * scored)[bucket == 1].sum() + 1000) == pytest.approx(
        lost[0] / (1 - values)[bucket == 0].sum(), rel=0.05
    )


def test_nothing_goes_at_rate_zero_and_from_no_interactions():
    values, bucket, _ = world(1000)
    assert (fair_thresholds(histogram(values, bucket), 0) == NOTHING).all()
    assert not fair_drops(np.ones(5, np.float32), np.zeros(5, int), 0).any()
    assert fair_drops(np.zeros(0, np.float32), np.zeros(0, int), 0.5).shape == (0,)


@pytest.mark.parametrize("percent", [7, 14, 28, 29, 57, 58])
def test_a_rate_that_floating_point_holds_too_low_is_met(percent):
    values = np.linspace(0, 1, 100, dtype=np.float32)
    assert fair_drops(values, np.zeros(100, int), percent / 100).sum() == percent
