import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.core.errors import InputError
from iadsr.models.core.reasons import reason_codes
from iadsr.models.detector.features import SIGNS
from iadsr.models.detector.scoring import Scores
from iadsr.transforms.judge.decide import decide
from iadsr.transforms.judge.policy import Policy


def scores_of(probabilities, scored=None, sign=None) -> Scores:
    n = len(probabilities)
    return Scores(
        noise_probability=np.array(probabilities, np.float32),
        similarities=np.zeros((n, 3), np.float32),
        scored=np.ones(n, bool) if scored is None else np.array(scored),
        sign=np.zeros(n, np.int8) if sign is None else np.array(sign, np.int8),
        stray_probability=np.zeros(n, np.float32),
    )


def run(
    probabilities,
    lengths,
    policy=None,
    threshold=0.5,
    *,
    scored=None,
    sign=None,
    known=None,
    has_text=None,
    weightless=None,
):
    n = len(probabilities)
    return decide(
        scores_of(probabilities, scored, sign),
        np.append(0, np.cumsum(lengths)),
        policy or Policy(),
        threshold,
        known=np.ones(n, bool) if known is None else np.array(known),
        has_text=np.ones(n, bool) if has_text is None else np.array(has_text),
        weightless=np.zeros(n, bool) if weightless is None else np.array(weightless),
    )


def test_at_or_above_the_threshold_is_dropped_and_says_what_agreed_least():
    decisions = run([0.5, 0.49, 0.9, 1.0], [4], sign=[0, 0, 1, 2])
    assert decisions.keep.tolist() == [False, True, False, False]
    assert decisions.reason_strings().to_pylist() == [
        "noise:long_term_semantic",
        None,
        "noise:long_term_collaborative",
        "noise:short_term",
    ]


def test_every_sign_of_noise_has_a_reason_of_its_own_name():
    decisions = run([1.0] * len(SIGNS), [1] * len(SIGNS), Policy(min_length=0), sign=range(len(SIGNS)))
    assert decisions.reason_strings().to_pylist() == [f"noise:{name}" for name in SIGNS]


def test_reasons_are_counted_by_code_and_each_code_is_one_of_the_registry():
    decisions = run(
        [0, 0.1, 0.9, 0.9, 0.9, 0.8, 0.1],
        [5, 2],
        Policy(min_length=2, keep_last=1),
        scored=[False, True, True, True, True, True, True],
        has_text=[True, False, True, True, True, True, True],
        sign=[0, 0, 2, 2, 2, 0, 0],
    )
    counts = decisions.count_reasons()
    assert +counts == {"too_short": 1, "collaborative_only": 1, "noise:short_term": 2, "keep_last": 1, "min_length": 1}
    assert set(counts) == {*reason_codes("dropped"), *reason_codes("kept")}
    assert sum(counts[code] for code in reason_codes("dropped")) == (~decisions.keep).sum()


def test_items_that_cannot_be_judged_are_kept_with_a_reason():
    decisions = run(
        [0, 0, 0.9, 0.1],
        [4],
        scored=[False, False, True, True],
        known=[False, True, True, True],
        has_text=[False, True, False, False],
    )
    assert decisions.keep.tolist() == [True, True, False, True]
    assert decisions.reason_strings().to_pylist() == [
        "unknown_item",
        "too_short",
        "noise:collaborative_only",
        "collaborative_only",
    ]


def test_keep_last_protects_each_users_last():
    decisions = run([0.9, 0.9, 0.9, 0.9, 0.9], [3, 2], Policy(keep_last=1))
    assert decisions.keep.tolist() == [False, False, True, False, True]
    assert decisions.reason_strings().to_pylist()[2::2] == ["keep_last", "keep_last"]


def test_min_length_keeps_the_least_noisy_and_of_equals_the_latest():
    decisions = run([0.9, 0.6, 0.7, 0.1], [4], Policy(min_length=3))
    assert decisions.keep.tolist() == [False, True, True, True]
    assert decisions.reason_strings().to_pylist()[1:3] == ["min_length", "min_length"]
    assert run([0.8, 0.8, 0.8], [3], Policy(min_length=1)).keep.tolist() == [False, False, True]


users = st.lists(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8), min_size=1, max_size=6)


@given(users, st.integers(0, 5), st.integers(0, 3), st.floats(0.1, 1))
def test_nobody_falls_below_the_minimum_and_nothing_below_the_threshold_goes(drawn, min_length, keep_last, threshold):
    lengths = [len(user) for user in drawn]
    flat = [p for user in drawn for p in user]
    decisions = run(flat, lengths, Policy(min_length=min_length, keep_last=keep_last), threshold)
    start = 0
    for length in lengths:
        keep = decisions.keep[start : start + length]
        assert keep.sum() >= min(min_length, length)
        if keep_last:
            assert keep[-keep_last:].all()
        start += length
    assert (np.array(flat, np.float32)[~decisions.keep] >= np.float32(threshold)).all()


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"drop_rate": 1.0}, "--drop-rate"),
        ({"drop_rate": float("nan")}, "--drop-rate"),
        ({"threshold": 0.0}, "--threshold"),
        ({"min_length": -1}, "--min-length"),
    ],
)
def test_values_out_of_range_are_refused(values, flag):
    with pytest.raises(InputError, match=flag):
        Policy(**values)
