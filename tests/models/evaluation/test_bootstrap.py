import math

import numpy as np
import pytest

from iadsr.models.evaluation.bootstrap import Estimate, Resampled, judge


def test_the_interval_of_a_mean_agrees_with_its_standard_error():
    column = np.random.default_rng(0).normal(3.0, 1.0, 2500)
    estimate = Resampled.draw(column[None, :, None], seed=0).mean(0)
    error = column.std() / math.sqrt(len(column))
    assert estimate.value == pytest.approx(column.mean())
    assert estimate.low == pytest.approx(column.mean() - 1.96 * error, abs=0.15 * error)
    assert estimate.high == pytest.approx(column.mean() + 1.96 * error, abs=0.15 * error)


def test_a_lift_compares_the_same_users():
    hard = np.random.default_rng(0).random(500)
    # Each user gains 10%, so the lift is 10%, whichever users are drawn.
    lift = Resampled.draw(np.stack([hard, 1.1 * hard], axis=1)[None], seed=0).lift(1, over=0)
    assert (lift.value, lift.low, lift.high) == pytest.approx((0.1, 0.1, 0.1))


def test_the_recovered_share_lies_between_raw_and_oracle():
    raw = np.random.default_rng(0).random(500)
    oracle = raw + 0.4
    columns = np.stack([raw, raw + 0.1, oracle], axis=1)
    recovered = Resampled.draw(columns[None], seed=0).recovered(1, worst=0, best=2)
    assert (recovered.value, recovered.low, recovered.high) == pytest.approx((0.25, 0.25, 0.25))


def test_differences_between_trainings_widen_the_interval_of_a_lift():
    users = np.random.default_rng(0).random(500)
    # Training on the same log again gains or loses a tenth, for all users alike. A single training looks certain.
    columns = np.stack([np.stack([users, users * factor], axis=1) for factor in (0.9, 1.0, 1.1)])
    one = Resampled.draw(columns[:1], seed=0).lift(1, over=0)
    assert (one.value, one.low, one.high) == pytest.approx((-0.1, -0.1, -0.1))
    lift = Resampled.draw(columns, seed=0).lift(1, over=0)
    assert lift.value == pytest.approx(0, abs=1e-9)
    # The standard error of the mean of three values with a standard deviation of 0.1.
    assert lift.high - lift.low == pytest.approx(2 * 1.96 * 0.1 / math.sqrt(3), rel=0.25)
    assert judge(lift) == "no measurable difference"


def test_undefined_figures_are_nan():
    nothing = Resampled.draw(np.zeros((1, 50, 2)), seed=0)
    assert all(math.isnan(x) for x in (nothing.lift(1, over=0).value, nothing.lift(1, over=0).low))
    assert judge(nothing.lift(1, over=0)) == "no measurable difference"


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [
        (Estimate(0.02, 0.001, 0.04), "helps"),
        (Estimate(0.02, -0.001, 0.04), "no measurable difference"),
        (Estimate(-0.02, -0.04, -0.001), "hurts"),
        (Estimate(0.0, 1e-17, 2e-17), "no measurable difference"),
        (Estimate(0.0, -2e-17, -1e-17), "no measurable difference"),
    ],
)
def test_a_lift_counts_only_if_its_whole_interval_is_on_one_side_of_zero(estimate, verdict):
    assert judge(estimate) == verdict
