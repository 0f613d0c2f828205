import pytest

from iadsr.transforms.rules.duplicates import Duplicates

from .conftest import BEHAVIOURS, found

LOG = [("u", "a", 0), ("u", "a", 0), ("u", "b", 0), ("u", "a", 0), ("u", "a", 7), ("v", "a", 0)]
"""In order: u a, u a, u a, u b at 0, then u a at 7, then v."""


def test_the_first_of_equal_events_stays(shard):
    assert found(Duplicates(), shard(LOG)) == [1, 2]


def test_another_time_or_another_user_is_no_duplicate(shard):
    assert found(Duplicates(), shard([("u", "a", 0), ("u", "a", 1), ("v", "a", 1)])) == []


def test_what_an_earlier_rule_has_taken_vouches_for_nothing(shard):
    assert found(Duplicates(), shard(LOG, taken=(0,))) == [2]


def test_equal_items_need_not_be_neighbours_within_a_moment(shard):
    view = shard([("u", "a", 0), ("u", "b", 0), ("u", "a", 0)])
    view.ordered.items[:] = [0, 1, 0]  # as a position column orders them
    assert found(Duplicates(), view) == [2]


def test_a_clock_of_minutes_is_not_certain_enough_to_drop(shard):
    minutes = shard([("u", "a", 60 * k // 2 * 2) for k in range(0, 20, 2)], start=1_700_000_040)
    assert minutes.clock.resolution == 60
    rule = Duplicates()
    assert not rule.takes(minutes.clock)
    assert rule.takes(shard(LOG).clock)
    assert Duplicates("drop").takes(minutes.clock)
    assert not Duplicates("count").takes(shard(LOG).clock)


def test_an_event_id_says_what_one_event_is(shard):
    rows = [("u", "a", 0, "e1"), ("u", "b", 5, "e1"), ("u", "c", 9, None), ("u", "d", 12, None), ("v", "a", 0, "e1")]
    assert found(Duplicates(event_column="event"), shard(rows, "event")) == [1]


@pytest.mark.parametrize(
    ("ids", "duplicates"),
    [
        (["", " ", "", "N/A", "N/A", "e", "e"], [6]),
        ([float("nan"), float("nan"), None, None, 2.0, 2.0, 1.0], [5]),
        ([-1, -1, 0, 0, None, None, 7], [3]),
        ([None] * 7, []),
    ],
)
def test_what_stands_for_a_missing_event_id_is_none(shard, ids, duplicates):
    rows = [("u", "a", 1000 * number, event) for number, event in enumerate(ids)]
    assert found(Duplicates(event_column="event"), shard(rows, "event")) == duplicates


def test_with_a_coarse_clock_only_event_ids_are_certain(shard):
    rows = [("u", "a", 0, "e1"), ("u", "a", 0, "e2"), ("u", "a", 60, "e2"), ("v", "a", 60, "e3")]
    view = shard(rows, "event", start=1_700_000_040)
    rule = Duplicates(event_column="event")
    assert rule.takes(view.clock)
    assert found(rule, view) == [2]
    assert found(Duplicates("drop", "event"), view) == [1, 2]


def test_another_behaviour_at_the_same_time_is_another_event(shard):
    rows = [("u", "a", 0, "view"), ("u", "a", 0, "buy"), ("u", "a", 0, "view"), ("u", "a", 0, "cart")]
    assert found(Duplicates(), shard(rows, "event", columns=BEHAVIOURS)) == [1]  # in order: two views, cart, buy
