import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.noise.score_counts import GROUPS, PLACES, count_scores
from iadsr.models.noise.share import MIN_REFERENCE, NoiseShare, NoShare, estimate_share


@pytest.mark.parametrize("share", [0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_the_share_of_noise_is_found(simulation, share):
    found = estimate_share(simulation.reference(), simulation.log(share).counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(share, abs=0.001 + 0.1 * share)
    assert found.lower <= share + 0.001
    # The lowest ratio is low by chance, sometimes by more than its error.
    assert found.upper >= 0.95 * share
    assert found.lower <= found.estimate <= found.upper


def test_a_smaller_log_is_less_certain(simulation):
    large, small = (
        estimate_share(simulation.reference(), simulation.log(0.1, rows).counts) for rows in (60_000, 3_000)
    )
    assert isinstance(large, NoiseShare)
    assert isinstance(small, NoiseShare)
    assert small.upper - small.lower > 2 * (large.upper - large.lower)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda s: (s.reference(), np.zeros_like(s.log(0.1).counts)), "too few users"),
        (
            lambda s: (s.reference(), np.eye(GROUPS, dtype=int)[0][:, None, None, None] * s.log(0.1).counts),
            "too few users",
        ),
        (lambda s: (np.zeros_like(s.reference()), s.log(0.1).counts), "too few users to know how noise scores"),
        (
            lambda s: (s.reference(rows=MIN_REFERENCE - 1), s.log(0.1).counts),
            "too few users to know how noise scores",
        ),
        (lambda s: (s.reference(), s.log(0.1, genuine=s.noise - 0.5).counts), "well enough"),
    ],
    ids=["no rows", "one group of users", "no reference", "small reference", "no separation"],
)
def test_a_share_that_cannot_be_estimated_has_a_reason(simulation, make, reason):
    found = estimate_share(*make(simulation))
    assert isinstance(found, NoShare)
    assert reason in found.reason


@settings(max_examples=30)
@given(rows=st.lists(st.integers(0, 400), min_size=6, max_size=6), seed=st.integers(0, 1000))
def test_a_small_reference_does_not_make_a_clean_log_look_noisy(simulation, rows, seed):
    generator = np.random.default_rng(seed)
    place = generator.integers(0, PLACES, sum(rows))
    probability = simulation.probabilities(generator, sum(rows), simulation.noise)
    few = count_scores(probability, place, np.repeat(np.arange(simulation.buckets), rows), simulation.buckets)
    found = estimate_share(few, simulation.log(0, 20_000, seed).counts)
    if sum(rows) < MIN_REFERENCE:
        assert isinstance(found, NoShare)
    else:
        assert isinstance(found, NoiseShare)
        assert found.lower < 0.01


def test_a_log_with_other_buckets_is_compared_with_the_whole_reference(simulation):
    found = estimate_share(simulation.reference(), simulation.log(0.1).counts.sum(2, keepdims=True))
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize(("before", "at_end"), [(0.2, 0.0), (0.0, 0.2)])
def test_noise_at_one_place_only_is_found(simulation, before, at_end):
    log = simulation.log(before, share_at_end=at_end)
    found = estimate_share(simulation.reference(), log.counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(log.noise.mean(), rel=0.12)
    assert found.by_place == pytest.approx((before, at_end), abs=0.02)


def test_both_places_are_estimated_together_if_the_reference_of_one_is_small(simulation):
    rare = simulation.reference(at_end=0.001)
    assert 0 < rare[1].sum() < MIN_REFERENCE
    found = estimate_share(rare, simulation.log(0.1).counts)
    assert isinstance(found, NoiseShare)
    assert found.by_place == (found.estimate,)
    assert found.estimate == pytest.approx(0.1, abs=0.015)


def test_a_log_with_interactions_at_the_end_only_is_estimated_from_them(simulation):
    counts = simulation.log(0.1).counts
    counts[:, 0] = 0
    found = estimate_share(simulation.reference(), counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == found.by_place[1] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("spread", [(6, 0, 0, 0, 0, 0), (3, 2, 1, 0, 0, 0), (0, 0, 0, 0, 0, 6), (1, 1, 1, 1, 1, 1)])
def test_noise_is_found_however_it_is_spread_over_buckets(simulation, spread):
    reference, log = simulation.uneven(spread)
    found = estimate_share(reference, log.counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(0.1, rel=0.15)


def test_if_a_bucket_of_the_reference_is_small_noise_is_assumed_to_spread_like_interactions(simulation):
    reference = simulation.reference(rows=3_000)
    # With so little to compare it with, this bucket could seem to hold nothing but noise, and outweigh the others.
    reference[:, 0] = 0
    found = estimate_share(reference, simulation.log(0.1).counts)
    assert isinstance(found, NoiseShare)
    assert found.estimate == pytest.approx(0.1, abs=0.02)
