import pytest

from iadsr.transforms.rules.window import DAY, Window

from .conftest import START, found

LOG = [("u", "a", 0), ("u", "b", 10), ("u", "c", 20), ("u", "d", 30), ("v", "a", 15), ("v", "b", 25)]


def test_bounds_in_time(shard):
    assert found(Window(after=START + 10), shard(LOG)) == [0]
    assert found(Window(before=START + 25), shard(LOG)) == [3, 5]
    assert found(Window(last_days=10 / DAY), shard(LOG)) == [0, 1, 2, 4]  # 20 lies on the bound, which is out


def test_first_and_last_of_each_user(shard):
    assert found(Window(first_interactions=1), shard(LOG)) == [1, 2, 3, 5]
    assert found(Window(last_interactions=1), shard(LOG)) == [0, 1, 2, 4]


def test_first_and_last_are_counted_inside_the_window_and_without_what_is_taken(shard):
    assert found(Window(after=START + 10, first_interactions=1), shard(LOG)) == [0, 2, 3, 5]
    assert found(Window(last_interactions=1), shard(LOG, taken=(3,))) == [0, 1, 4]


def test_it_says_whether_it_names_times():
    assert not Window(first_interactions=1).names_times
    assert Window(after=0.0).names_times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1700438400.0, "2023-11-20T00:00:00Z"),
        (1700438400.25, "2023-11-20T00:00:00.250000Z"),
        (-1.0, "1969-12-31T23:59:59Z"),
        (-62135600400.0, "0000-12-31T23:00:00Z"),  # before the first year of datetime
    ],
)
def test_its_parameters_are_times_that_people_read(seconds, text):
    assert Window(after=seconds).parameters == {
        "after": text,
        "before": None,
        "last_days": None,
        "first_interactions": None,
        "last_interactions": None,
    }
