import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.noise.recalibration import Recalibration, fit_recalibration
from iadsr.models.noise.score_counts import BINS, CENTRES, GROUPS, PLACES, count_by_group, count_scores, places
from iadsr.models.noise.share import MIN_REFERENCE, NoiseShare, NoShare, estimate_share
from iadsr.models.training.detection_metrics import calibration_error

BUCKETS = 6
NOISE, GENUINE = 1.5, -2.0
"""Mean log odds of noise and of genuine interactions; both spread by 1."""


def draw(generator, rows: int, mean: float | np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-generator.normal(mean, 1, rows)))).astype(np.float32)


def reference(seed: int = 0, rows: int = 100_000, mean: float = NOISE, at_end: float = 0.25) -> np.ndarray:
    generator = np.random.default_rng(seed)
    place = (generator.random(rows) < at_end).astype(int)
    return count_scores(draw(generator, rows, mean), place, generator.integers(0, BUCKETS, rows), BUCKETS)


def log(share: float, rows: int = 300_000, seed: int = 1, genuine: float = GENUINE, share_at_end: float | None = None):
    """A log with a share of noise, perhaps another at the end of sequences: probabilities, labels, and its counts."""
    generator = np.random.default_rng(seed)
    place, bucket = (generator.random(rows) < 0.25).astype(int), generator.integers(0, BUCKETS, rows)
    noise = generator.random(rows) < np.array([share, share if share_at_end is None else share_at_end])[place]
    probability = np.where(noise, draw(generator, rows, NOISE), draw(generator, rows, genuine))
    group = generator.integers(0, GROUPS, rows)
    return probability, noise, count_by_group(probability, group, place, bucket, BUCKETS)


@pytest.mark.parametrize("share", [0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_the_share_of_noise_is_found_and_a_clean_log_has_next_to_none(share):
    found = estimate_share(reference(), log(share)[2])
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(share, abs=0.001 + 0.1 * share)
    assert found.lower <= share + 0.001
    # The lowest ratio is a lucky one, now and then by more than its error.
    assert found.upper >= 0.95 * share
    assert found.lower <= found.estimate <= found.upper


def test_a_smaller_log_is_less_certain():
    large, small = (estimate_share(reference(), log(0.1, rows)[2]) for rows in (60_000, 3_000))
    assert isinstance(large, NoiseShare)
    assert isinstance(small, NoiseShare)
    assert small.upper - small.lower > 2 * (large.upper - large.lower)


@pytest.mark.parametrize(
    ("counts", "noise", "why"),
    [
        (np.zeros((GROUPS, PLACES, BUCKETS, BINS), int), reference(), "too few users"),
        (np.eye(GROUPS, dtype=int)[0][:, None, None, None] * log(0.1)[2], reference(), "too few users"),
        (log(0.1)[2], np.zeros((PLACES, BUCKETS, BINS)), "too few users to know what noise scores"),
        (log(0.1)[2], reference(rows=MIN_REFERENCE - 1), "too few users to know what noise scores"),
        (log(0.1, genuine=NOISE - 0.5)[2], reference(), "too poorly"),
    ],
)
def test_where_nothing_can_be_said_it_says_why(counts, noise, why):
    found = estimate_share(noise, counts)
    assert isinstance(found, NoShare)
    assert why in found.reason


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 400), min_size=BUCKETS, max_size=BUCKETS), st.integers(0, 1000))
def test_a_clean_log_is_not_called_noisy_for_want_of_noise_to_compare_it_with(rows, seed):
    generator = np.random.default_rng(seed)
    place = generator.integers(0, PLACES, sum(rows))
    few = count_scores(draw(generator, sum(rows), NOISE), place, np.repeat(np.arange(BUCKETS), rows), BUCKETS)
    found = estimate_share(few, log(0, 20_000, seed)[2])
    if sum(rows) < MIN_REFERENCE:
        assert isinstance(found, NoShare)
    else:
        assert isinstance(found, NoiseShare)
        assert found.lower < 0.01


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_recalibrated_probabilities_mean_what_they_say(share):
    probability, noise, counts = log(share)
    known = NoiseShare(share, share, share, (share, share))
    rebased = fit_recalibration(reference(), counts, known).apply(probability).astype(float)
    assert rebased.sum() == pytest.approx(share * len(noise), rel=0.01)
    bins = np.minimum((rebased * 15).astype(int), 14)
    gaps = np.bincount(bins, weights=rebased - noise, minlength=15)
    assert np.abs(gaps).sum() / len(noise) < 0.01
    # The model's own are those of a log with far more noise.
    assert abs(probability.mean() - share) > 0.05


def test_a_log_with_other_buckets_than_the_reference_is_read_with_all_of_it():
    counts = log(0.1)[2].sum(2, keepdims=True)
    found = estimate_share(reference(), counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(0.1, abs=0.015)
    rebased = fit_recalibration(reference(), counts, found).apply(log(0.1)[0])
    assert rebased.mean() == pytest.approx(found.estimate, rel=0.01)


def test_without_any_noise_probabilities_still_have_an_order():
    probability, _, counts = log(0)
    rebased = fit_recalibration(reference(), counts, NoiseShare(0, 0, 0, (0, 0))).apply(probability)
    assert 0 < rebased.sum() < 2
    assert (np.diff(rebased[np.argsort(probability, kind="stable")]) >= 0).all()
    assert len(np.unique(rebased)) > 0.9 * len(np.unique(probability))


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=2, max_size=50),
    st.floats(0.001, 10),
    st.floats(-30, 30),
)
def test_recalibration_keeps_the_order_and_stays_in_range(drawn, scale, shift):
    values = np.sort(np.array(drawn, np.float32))
    rebased = Recalibration(scale, shift).apply(values)
    assert rebased.dtype == np.float32
    assert ((rebased >= 0) & (rebased <= 1)).all()
    assert (np.diff(rebased) >= 0).all()
    assert (rebased[values == 0] == 0).all()
    assert (rebased[values == 1] == 1).all()


def test_scores_are_counted_by_bucket_and_outliers_in_the_outermost_bins():
    place, bucket = np.array([0, 1, 1, 1]), np.array([1, 0, 2, 0])
    counts = count_scores(np.array([0, 0.5, 1, 0.5], np.float32), place, bucket, 3)
    assert counts.shape == (PLACES, 3, BINS)
    assert counts[0, 1, 0] == 1
    assert counts[1, 2, -1] == 1
    assert counts[1, 0, np.searchsorted(CENTRES, 0)] == 2
    assert counts.sum() == 4

    by_group = count_by_group(np.array([0, 0.5, 1, 0.5], np.float32), np.array([0, 7, 7, 31]), place, bucket, 3)
    assert by_group.shape == (GROUPS, PLACES, 3, BINS)
    assert (by_group.sum(0) == counts).all()
    assert by_group[7, 1, 2, -1] == 1


def test_the_end_of_a_sequence_is_its_last_two_interactions():
    assert places(np.array([0, 4, 4, 5, 8])).tolist() == [0, 0, 1, 1, 1, 0, 1, 1]
    assert places(np.array([0])).tolist() == []


@pytest.mark.parametrize(("before", "at_end"), [(0.2, 0.0), (0.0, 0.2)])
def test_a_place_without_noise_does_not_hide_the_noise_of_the_other(before, at_end):
    probability, noise, counts = log(before, share_at_end=at_end)
    found = estimate_share(reference(), counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(noise.mean(), rel=0.12)
    assert found.by_place == pytest.approx((before, at_end), abs=0.02)
    rebased = fit_recalibration(reference(), counts, found).apply(probability)
    assert rebased.mean() == pytest.approx(found.estimate, rel=0.01)


def test_places_with_too_little_noise_to_compare_with_are_read_together():
    rare = reference(at_end=0.001)
    assert 0 < rare[1].sum() < MIN_REFERENCE
    counts = log(0.1)[2]
    found = estimate_share(rare, counts)
    assert isinstance(found, NoiseShare)
    assert found.by_place == (found.estimate,)
    assert found.estimate == pytest.approx(0.1, abs=0.015)


def test_a_log_of_ends_alone_is_judged_by_them():
    counts = log(0.1)[2]
    counts[:, 0] = 0
    found = estimate_share(reference(), counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == found.by_place[1] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("spread", [(6, 0, 0, 0, 0, 0), (3, 2, 1, 0, 0, 0), (0, 0, 0, 0, 0, 6), (1, 1, 1, 1, 1, 1)])
def test_noise_is_found_however_it_is_spread_over_buckets(spread):
    # As uniform noise is: next to none of it falls on popular items, where noise looks most like noise.
    generator, means = np.random.default_rng(2), np.linspace(NOISE - 1, NOISE + 1, BUCKETS)
    place, bucket = (generator.random(60_000) < 0.25).astype(int), generator.integers(0, BUCKETS, 60_000)
    among_noise = count_scores(draw(generator, 60_000, means[bucket]), place, bucket, BUCKETS)
    place, bucket = (generator.random(300_000) < 0.25).astype(int), generator.integers(0, BUCKETS, 300_000)
    noise = generator.random(300_000) < 0.1 * np.array(spread)[bucket]
    probability = draw(generator, 300_000, np.where(noise, means[bucket], GENUINE))
    counts = count_by_group(probability, generator.integers(0, GROUPS, 300_000), place, bucket, BUCKETS)

    found = estimate_share(among_noise, counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(0.1, rel=0.15)
    rebased = fit_recalibration(among_noise, counts, found).apply(probability).astype(float)
    assert calibration_error(noise, rebased, np.ones(len(noise))) < 0.02


def test_where_little_was_inserted_in_a_bucket_noise_is_taken_to_be_spread_as_interactions_are():
    noise, counts = reference(rows=3_000), log(0.1)[2]
    # By itself, a bucket with so little to compare it with could be all noise, and outweigh the others.
    noise[:, 0] = 0
    found = estimate_share(noise, counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(0.1, abs=0.02)
