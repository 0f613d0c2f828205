import dataclasses
from typing import get_args

import pytest

from iadsr.models.core.reasons import REASON_BY_CODE, REASONS, Kind, reason_codes, rejection_code
from iadsr.models.detector.features import SIGNS


def test_the_codes_that_stand_in_finished_outputs_are_as_they_always_were():
    assert reason_codes("dropped") == (
        "nobody",
        "non_item",
        "duplicate",
        "repeat",
        "returned",
        "value",
        "burst",
        "machine",
        "window",
        "shared_list",
        "core",
        "noise:long_term_semantic",
        "noise:long_term_collaborative",
        "noise:short_term",
        "noise:run",
        "noise:text",
        "noise:block",
        "noise:collaborative_only",
    )
    assert reason_codes("kept") == (
        "min_length",
        "keep_last",
        "held_out",
        "unknown_item",
        "too_short",
        "collaborative_only",
        "weightless",
    )
    assert rejection_code("null {column}", "user_id") == "null user_id"
    assert rejection_code("empty {column}", "user_id") == "empty user_id"
    assert rejection_code("{column} beyond int64", "item_id") == "item_id beyond int64"
    assert rejection_code("unparsable {column}", "time {column}") == "unparsable time {column}"
    assert rejection_code("unreadable") == "unreadable"


def test_each_reason_has_one_code_and_says_what_it_means():
    assert len(REASON_BY_CODE) == len(REASONS)
    for reason in REASONS:
        assert reason.kind in get_args(Kind)
        assert reason.meaning.endswith(".")
        assert bool(reason.badge) == (reason.kind != "rejected")
        assert reason.message == "" or reason.kind == "kept"
        assert reason.rule == "" or (reason.kind == "dropped" and not reason.judged)


def test_who_asks_for_a_reason_that_is_none_learns_of_it():
    with pytest.raises(KeyError):
        rejection_code("null column", "user_id")


def test_what_a_reason_says_of_the_judgement():
    assert [reason.code for reason in REASONS if reason.protects] == ["min_length", "keep_last"]
    not_judged = [reason.code for reason in REASONS if not reason.judged and not reason.rule]
    assert not_judged == ["held_out", "unknown_item", "too_short"]
    assert {f"noise:{name}" for name in SIGNS} < set(reason_codes("dropped"))


def test_a_reason_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        REASONS[0].code = "other"
