import pytest

from iadsr.transforms.rules.bursts import Bursts

from .conftest import BEHAVIOURS, found

LOG = [("u", "a", 0), ("u", "a", 0), ("u", "b", 0), ("u", "a", 5), ("v", "a", 0), ("v", "b", 0)]


def test_many_interactions_at_one_instant_are_a_burst(shard):
    assert found(Bursts(min_interactions=3), shard(LOG)) == [0, 1, 2]
    assert found(Bursts(min_interactions=2), shard(LOG)) == [0, 1, 2, 4, 5]
    assert found(Bursts(), shard(LOG)) == []


def test_one_per_item_can_stay(shard):
    assert found(Bursts("one-per-item", 3), shard(LOG)) == [1]


@pytest.mark.parametrize(("mode", "takes"), [("count", False), ("drop", True), ("one-per-item", True)])
def test_it_drops_if_asked(shard, mode, takes):
    assert Bursts(mode).takes(shard(LOG).clock) is takes


def test_a_shard_without_open_interactions_has_none(shard):
    assert found(Bursts(), shard(LOG, taken=tuple(range(6)))) == []


def test_one_of_each_behaviour_with_an_item_stays(shard):
    rows = [("u", "a", 0, kind) for kind in ("view", "view", "cart", "buy")]
    view = shard(rows, "event", columns=BEHAVIOURS)
    assert found(Bursts("one-per-item", min_interactions=4), view) == [1]
