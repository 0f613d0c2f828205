import numpy as np
import pytest

from iadsr.transforms.rules.machines import Machines

from .conftest import found


def person(seed: int = 0, user: str = "person", count: int = 400) -> list[tuple]:
    generator = np.random.default_rng(seed)
    seconds = np.cumsum(generator.integers(2, 60, count))
    return [(user, f"i{generator.integers(0, 500):04d}", int(second)) for second in seconds]


def machine(gaps, items=None, user: str = "machine") -> list[tuple]:
    seconds = np.cumsum(gaps)
    items = np.random.default_rng(1).integers(0, 500, len(gaps)) if items is None else items
    return [(user, f"i{item:04d}", int(second)) for item, second in zip(items, seconds, strict=True)]


def users_found(view, rule: Machines | None = None) -> set[str]:
    rows = found(rule or Machines(), view)
    users = view.ordered.table["user_id"].to_pylist()
    named = {users[row] for row in rows}
    assert len(rows) == sum(user in named for user in users)  # all of their interactions, and no one else's
    return named


JITTER = np.random.default_rng(2)


@pytest.mark.parametrize(
    "gaps",
    [
        np.ones(60),
        JITTER.integers(0, 3, 200),
        JITTER.integers(1, 5, 400),
        JITTER.integers(1, 7, 1200),
        np.full(120, 30),
    ],
    ids=[
        "one a second",
        "about one a second",
        "every two or three seconds",
        "every four seconds for an hour",
        "a timer",
    ],
)
def test_a_pace_or_a_timer_that_no_person_has(shard, gaps):
    assert users_found(shard(person() + machine(gaps))) == {"machine"}


def test_a_crawl_in_the_order_of_the_catalogue_either_way(shard):
    gaps = np.random.default_rng(3).integers(4, 10, 150)
    assert users_found(shard(person() + machine(gaps, np.arange(150)))) == {"machine"}
    assert users_found(shard(person() + machine(gaps, np.arange(150)[::-1]))) == {"machine"}
    assert users_found(shard(person() + machine(gaps * 30, np.arange(150)))) == set()


def test_a_person_who_imports_a_list_or_is_quick_for_a_moment_is_none(shard):
    imported = [("importer", f"i{k:04d}", 50) for k in range(1000)]
    quick = machine(np.concatenate([np.ones(40), [500], np.ones(40)]), user="quick")
    assert users_found(shard(person() + imported + quick)) == set()


def test_too_many_on_one_day(shard):
    gaps = np.random.default_rng(4).integers(5, 12, 300)
    assert users_found(shard(person(count=200) + machine(gaps)), Machines(per_day=290)) == {"machine"}
    assert users_found(shard(person(count=200) + machine(gaps)), Machines(per_day=310)) == set()


def test_neighbouring_users_are_not_one_user(shard):
    rows = [row for k in range(20) for row in machine(np.ones(30), user=f"u{k:02d}")]
    assert users_found(shard(rows)) == set()


def test_a_coarse_clock_shows_no_pace_but_names_who_is_too_busy(shard):
    rows = [("wholesale", f"i{k:04d}", 0) for k in range(900)] + [("u", "a", 60 * k) for k in range(50)]
    view = shard(rows, start=1_700_000_040)
    assert users_found(view) == set()
    assert users_found(view, Machines(per_day=800)) == {"wholesale"}
    assert not Machines().takes(view.clock)
    assert Machines("drop").takes(view.clock)


def test_numbers_that_are_only_an_order_show_nothing(shard):
    view = shard([("u", "a", k) for k in range(300)], start=0)
    assert view.clock.resolution is None
    assert users_found(view) == set()
