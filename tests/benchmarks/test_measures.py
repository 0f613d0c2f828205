import numpy as np
import pytest

from benchmarks.measures import Dropping, drop_worst, equal_buckets, measure, measure_dropping


def test_buckets_hold_about_as_many_interactions_and_never_part_equals():
    popularity = np.random.default_rng(0).permutation(np.repeat(np.arange(1, 101), 30))
    bucket = equal_buckets(popularity)
    assert np.bincount(bucket) == pytest.approx(np.full(6, 500), abs=30)
    for value in range(1, 101):
        assert len(set(bucket[popularity == value].tolist())) == 1
    assert (np.diff(bucket[np.argsort(popularity)]) >= 0).all()


def test_measurements_of_a_perfect_and_of_a_useless_scorer():
    generator = np.random.default_rng(1)
    noise = generator.random(6000) < 0.2
    popularity = generator.integers(1, 50, 6000)
    perfect = measure(noise, popularity, noise.astype(float), probability=True)
    assert perfect.auroc == perfect.average_precision == perfect.dropping.recall == 1
    assert perfect.dropping.genuine_drops == [0] * 6
    assert perfect.calibration_error == 0
    useless = measure(noise, popularity, generator.random(6000), probability=True)
    assert useless.auroc == pytest.approx(0.5, abs=0.03)
    assert useless.dropping.recall == pytest.approx(0.2, abs=0.03)
    np.testing.assert_allclose(useless.dropping.genuine_drops, 0.2, atol=0.05)
    assert useless.calibration_error == pytest.approx(0.34, abs=0.02)  # the mean distance of [0, 1] from 0.2


def test_measurements_by_hand():
    noise = np.array([True, False, False, True, False, False])
    score = np.array([0.9, 0.8, 0.1, 0.7, 0.2, 0.3])
    found = measure(noise, np.arange(1, 7), score)
    assert found.auroc == 7 / 8
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert found.dropping.recall == 0.5  # one of the two highest is noise
    # And the other is the second rarest item; two buckets have none but noise.
    np.testing.assert_equal(found.dropping.genuine_drops, [np.nan, 1, 0, np.nan, 0, 0])
    assert found.calibration_error is None


def test_any_decision_can_be_measured():
    noise = np.array([True, True, False, False, False, False])
    dropped = np.array([True, False, False, True, False, True])
    found = measure_dropping(noise, np.array([1, 1, 2, 2, 3, 3]), dropped)
    assert found.recall == 0.5
    assert [drops for drops in found.genuine_drops if not np.isnan(drops)] == [0.5, 0.5]
    assert found.ratio == 1


def test_as_many_are_dropped_as_asked_for_and_ties_favour_no_place_in_the_log():
    score = np.array([3.0] * 10 + [5.0] + [3.0] * 989)
    drop = drop_worst(score, 300)
    assert drop.sum() == 300
    assert drop[10]
    assert 100 < drop[:500].sum() < 200


def test_the_ratio_is_infinite_where_a_bucket_loses_nothing():
    assert Dropping(0.5, [0.1, 0.2, 0.3]).ratio == pytest.approx(3)
    assert Dropping(0.5, [0.1, 0.0]).ratio == float("inf")
    assert Dropping(1, [0.0, 0.0]).ratio == 1, "nothing is lost anywhere"
