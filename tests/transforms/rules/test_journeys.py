import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.rules.journeys import find_journeys

RANK = {"buy": 0, "cart": 1, "view": 2, "share": 3}


def journeys(rows: list[tuple]) -> tuple[list[int], list[str]]:
    """Finds the journeys of (user, item, time, behaviour), in order."""
    users, items, time, behaviours = zip(*rows, strict=True)
    ranks = np.array([RANK[each] for each in behaviours], np.int32)
    found = find_journeys(
        np.unique(users, return_inverse=True)[1], np.unique(items, return_inverse=True)[1], np.array(time), ranks
    )
    names = {rank: name for name, rank in RANK.items()}
    return found.first.tolist(), [names[rank] for rank in found.reached.tolist()]


def test_all_that_leads_to_a_purchase_is_one_journey_whatever_lies_between():
    rows = [("u", "a", 0, "view"), ("u", "b", 1, "view"), ("u", "a", 2, "cart"), ("u", "a", 9, "buy")]
    assert journeys(rows) == ([0, 1, 0, 0], ["buy", "view", "buy", "buy"])


def test_to_buy_again_is_another_journey_and_what_comes_after_the_last_purchase_is_not():
    kinds = ["view", "buy", "view", "cart", "buy", "view", "share"]
    rows = [("u", "a", time, kind) for time, kind in enumerate(kinds)]
    assert journeys(rows) == ([0, 0, 2, 2, 2, 2, 2], ["buy"] * 7)


def test_what_happens_at_the_time_of_a_purchase_belongs_to_it():
    rows = [("u", "a", 0, "buy"), ("u", "a", 0, "buy"), ("u", "a", 0, "view"), ("u", "a", 1, "buy")]
    assert journeys(rows) == ([0, 0, 0, 3], ["buy"] * 4)


def test_users_and_items_have_journeys_of_their_own():
    rows = [("u", "a", 0, "buy"), ("u", "b", 1, "cart"), ("v", "a", 0, "view"), ("v", "a", 1, "share")]
    assert journeys(rows) == ([0, 1, 2, 2], ["buy", "cart", "view", "view"])


def test_no_interaction_no_journey():
    nothing = np.zeros(0, np.int64)
    assert find_journeys(nothing, nothing, nothing, nothing.astype(np.int32)).first.tolist() == []


@given(st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from("ab"), st.integers(0, 4), st.sampled_from([*RANK]))))
def test_it_is_the_same_as_one_step_after_the_other(drawn):
    rows = sorted(drawn, key=lambda row: (row[0], row[2]))
    if not rows:
        return
    first, reached = [-1] * len(rows), [""] * len(rows)
    for pair in {row[:2] for row in rows}:
        steps = [number for number, row in enumerate(rows) if row[:2] == pair]
        ends = sorted({rows[number][2] for number in steps if rows[number][3] == "buy"})
        groups: dict[int, list[int]] = {}
        for number in steps:
            over = sum(end < rows[number][2] for end in ends)
            groups.setdefault(min(over, max(len(ends) - 1, 0)), []).append(number)
        for members in groups.values():
            strongest = min((rows[number][3] for number in members), key=RANK.__getitem__)
            for number in members:
                first[number], reached[number] = members[0], strongest
    assert journeys(rows) == (first, reached)


@pytest.mark.parametrize("rank", [1, 7])
def test_without_a_strongest_behaviour_nothing_ends_a_journey(rank):
    found = find_journeys(np.zeros(3, int), np.zeros(3, int), np.arange(3), np.full(3, rank, np.int32))
    assert (found.first.tolist(), found.reached.tolist()) == ([0, 0, 0], [rank] * 3)
