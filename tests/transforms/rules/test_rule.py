import numpy as np
import pyarrow as pa
import pytest

from iadsr.transforms.rules.bursts import Bursts
from iadsr.transforms.rules.non_items import NonItems
from iadsr.transforms.rules.rule import occurs_in, shows_seconds

LOG = [("u", "a", 0, 1), ("u", "b", 1, 2), ("v", "a", 2, 3)]


def test_a_rule_sees_open_interactions_only(shard):
    view = shard(LOG, "n", taken=(0,))
    assert view.users.tolist() == [0, 1]
    assert view.items.tolist() == [1, 0]
    assert view.seconds.tolist() == [1, 2]
    assert view.offsets.tolist() == [0, 1, 2]
    assert view.column("n").to_pylist() == [2, 3]
    assert view.spread(np.array([False, True])).tolist() == [False, False, True]
    assert view.spread_users(np.array([True, False])).tolist() == [False, True, False]


def test_parameters_are_recorded_without_what_is_large():
    assert Bursts().parameters == {"mode": "count", "min_interactions": 20}
    assert NonItems(np.zeros(3, np.uint64)).parameters == {}


def test_a_clock_of_ranks_shows_no_seconds(shard):
    assert shows_seconds(shard(LOG, "n").clock)
    assert not shows_seconds(shard(LOG, "n", start=0).clock)


def test_values_are_found_among_texts_numbers_and_flags():
    assert occurs_in(pa.array(["a", None, "b"]), ("b",)).tolist() == [False, False, True]
    assert occurs_in(pa.array([1, None, 2]), ("2.0",)).tolist() == [False, False, True]
    assert occurs_in(pa.array([True, None, False]), ("True",)).tolist() == [True, False, False]
    assert occurs_in(pa.array(["a", "b"]).dictionary_encode(), ("a",)).tolist() == [True, False]
    assert occurs_in(pa.array([True, None, False]), ("1",)).tolist() == [True, False, False]
    prices = pa.array(["1.00", None, "2.50"]).cast(pa.decimal128(5, 2))
    assert occurs_in(prices, ("2.5", "1")).tolist() == [True, False, True]
    assert occurs_in(pa.array([b"cancel", None, b"\xff"]), ("cancel",)).tolist() == [True, False, False]


@pytest.mark.parametrize("worked_out", [(), ("users", "items", "time", "seconds"), ("seconds",)])
def test_the_next_rule_sees_what_is_left(shard, worked_out):
    rows = [("u", "a", 0), ("u", "b", 5), ("u", "c", 9), ("v", "a", 3), ("v", "c", 7)]
    view, expected = shard(rows, taken=(1,)), shard(rows, taken=(1, 2, 3))
    for name in worked_out:
        getattr(view, name)
    left = view.without(np.array([False, False, True, True, False]))
    for name in ("open", "rows", "users", "items", "time", "seconds", "offsets"):
        assert getattr(left, name).tolist() == getattr(expected, name).tolist(), name
