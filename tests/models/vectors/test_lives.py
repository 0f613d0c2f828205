import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.core.item_vectors import LIFE_BINS
from iadsr.models.core.sequences import Sequences
from iadsr.models.vectors.lives import CLOCK_TICKS, fit_lives, life_place, make_clock, tell


def test_the_clock_tells_which_share_of_the_log_came_before():
    times = np.random.default_rng(0).permutation(np.arange(10_000) ** 2)  # ever slower
    clock = make_clock(times)
    assert clock.shape == (CLOCK_TICKS + 1,)
    assert (clock[0], clock[-1]) == (0, 9_999**2)
    assert tell(clock, np.array([0, 2_500**2, 5_000**2, 9_999**2]), 4) == pytest.approx([0, 0.25, 0.5, 1], abs=1e-3)


def test_interactions_of_one_time_share_the_middle_of_what_they_take_up():
    clock = make_clock(np.repeat([3, 5, 9], [250, 500, 250]))
    assert tell(clock, np.array([3, 5, 9]), 3) == pytest.approx([0.125, 0.5, 0.875], abs=1e-3)
    assert tell(clock, np.array([4]), 1) == pytest.approx([0.25], abs=1e-3)


@pytest.mark.parametrize("times", [None, np.zeros(0, np.int64), np.full(7, 5)])
def test_a_log_without_times_or_of_one_time_has_no_clock(times):
    clock = make_clock(times)
    assert np.isnan(tell(clock, np.array([0, 5, 9]), 3)).all()
    assert np.isnan(tell(make_clock(np.arange(9)), None, 3)).all()


def test_the_clock_tells_nothing_outside_of_its_log():
    told = tell(make_clock(np.arange(100)), np.array([-1, 0, 99, 100]), 4)
    assert np.isnan(told).tolist() == [True, False, False, True]


@given(
    st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=40), st.integers(1, 10**6), st.integers(-(10**6), 10**6)
)
def test_the_clock_keeps_the_order_and_does_not_depend_on_the_unit(times, factor, shift):
    times = np.array(times, np.int64)
    told = tell(make_clock(times), times, len(times))
    if times.min() == times.max():
        assert np.isnan(told).all()
        return
    assert ((told >= 0) & (told <= 1)).all()
    assert (np.diff(told[np.argsort(times, kind="stable")]) >= 0).all()
    small = times >> 24
    once, again = (tell(make_clock(each), each, len(each)) for each in (small, small * factor + shift))
    np.testing.assert_array_equal(once, again)


def test_a_life_says_how_much_more_often_an_item_was_chosen_than_on_average():
    # Two items take turns: one in the first half of the log, the other in the second.
    generator = np.random.default_rng(0)
    moments = generator.random(20_000).astype(np.float32)
    items = (moments > 0.5).astype(np.int32)
    log = Sequences(items, np.arange(0, 20_001, 20))
    lives = fit_lives(log, moments, 3, 5)
    assert lives.shape == (3, 5, LIFE_BINS)
    assert lives[0, :, : LIFE_BINS // 2 - 1] == pytest.approx(np.log(2), abs=0.1)
    assert (lives[0, :, LIFE_BINS // 2 + 1 :] < -3).all()
    assert lives[1, :, LIFE_BINS // 2 + 1 :] == pytest.approx(np.log(2), abs=0.1)
    assert (lives[2] == 0).all()


def test_a_life_is_learned_from_the_users_of_other_folds():
    # One user has the first item early and the second late; the other, of another fold, the other way round.
    keys = np.array([0, 2], np.uint64)
    log = Sequences.from_lengths(np.array([0, 1, 1, 0], np.int32), np.array([2, 2]), keys)
    first, second = log.folds(2)
    assert first != second
    lives = fit_lives(log, np.array([0.1, 0.9, 0.1, 0.9], np.float32), 2, 2)
    early, late = life_place(np.array([0.1, 0.9], np.float32))[0]
    seen_once = pytest.approx(np.log((0.9 + 1) / (0.45 + 1)), abs=1e-5)
    never_seen = pytest.approx(np.log(1 / (0.45 + 1)), abs=1e-5)
    for own, item_late in ((first, 0), (second, 1)):
        assert lives[item_late, own, early] == never_seen
        assert lives[1 - item_late, own, early] == seen_once
        assert lives[item_late, own, late + 1] == seen_once
        assert lives[1 - item_late, own, late + 1] == never_seen


def test_interactions_without_a_moment_count_nowhere():
    log = Sequences.from_lengths(np.array([0, 1, 1], np.int32), np.array([1, 1, 1]))
    moments = np.array([0.3, np.nan, np.nan], np.float32)
    assert (fit_lives(log, moments, 2, 2)[1] <= 0).all()
    assert (fit_lives(log, np.full(3, np.nan, np.float32), 2, 2) == 0).all()
    assert fit_lives(log, moments, 2, 0).shape == (2, 0, LIFE_BINS)
