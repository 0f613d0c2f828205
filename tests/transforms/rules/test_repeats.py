from iadsr.transforms.rules.repeats import Repeats

from .conftest import BEHAVIOURS, found

LOG = [("u", "a", 0), ("u", "b", 3), ("u", "a", 20), ("u", "a", 90), ("u", "b", 400), ("v", "a", 401), ("v", "a", 900)]


def test_the_same_item_soon_after_is_a_repeat_whatever_lies_between(shard):
    assert found(Repeats(), shard(LOG)) == [2]
    assert found(Repeats(within_seconds=70), shard(LOG)) == [2, 3]


def test_a_chain_of_repeats_counts_from_the_last_one(shard):
    assert found(Repeats(), shard([("u", "a", 50 * k) for k in range(4)])) == [1, 2, 3]


def test_in_a_row_counts_whatever_the_time(shard):
    assert found(Repeats(within_seconds=0, in_a_row=True), shard(LOG)) == [3, 6]


def test_a_clock_coarser_than_the_window_shows_no_repeat(shard):
    rows = [("u", "a", 0), ("u", "a", 0), ("u", "a", 86_400), ("v", "b", 0)]
    days = shard(rows, start=1_700_006_400)
    assert days.clock.resolution == 86_400
    assert found(Repeats(), days) == []


def test_only_asked_for_it_drops(shard):
    clock = shard(LOG).clock
    assert not Repeats().takes(clock)
    assert Repeats("drop").takes(clock)


def test_only_the_same_behaviour_again_is_a_repeat(shard):
    rows = [("u", "a", 0, "view"), ("u", "a", 5, "cart"), ("u", "a", 9, "view"), ("u", "a", 20, "view")]
    assert found(Repeats(), shard(rows, "event", columns=BEHAVIOURS)) == [2, 3]
    assert found(Repeats(within_seconds=0, in_a_row=True), shard(rows, "event", columns=BEHAVIOURS)) == [3]
