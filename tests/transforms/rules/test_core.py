import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract.hashing import hash_values
from iadsr.transforms.rules.core import Core, Edges, core_items
from iadsr.transforms.rules.rule import RuleInput

from .conftest import COLUMNS, found, ordered_log


def edges_of(view: RuleInput) -> Edges:
    return Edges(view.users, view.items, hash_values(view.ordered.item_ids))


def kept_by(rows: list[tuple], *bounds: int | None) -> list[tuple]:
    ordered, clock = ordered_log(rows)
    view = RuleInput(ordered, COLUMNS, clock, np.ones(len(rows), bool))
    core = Core(*bounds)
    core = dataclasses.replace(core, items=core_items([lambda: edges_of(view)], core))
    dropped = set(found(core, view))
    return [tuple(row.values())[:2] for n, row in enumerate(ordered.table.to_pylist()) if n not in dropped]


def naive_core(pairs: list[tuple[str, str]], users: int, items: int) -> list[tuple[str, str]]:
    while True:
        by_user = [user for user, _ in pairs]
        by_item = [item for _, item in pairs]
        left = [(u, i) for u, i in pairs if by_user.count(u) >= users and by_item.count(i) >= items]
        if left == pairs:
            return left
        pairs = left


def test_removal_goes_on_until_all_that_stay_have_enough():
    rows = [("a", "x", 0), ("a", "y", 1), ("b", "x", 2), ("b", "y", 3), ("c", "y", 4), ("c", "z", 5), ("d", "z", 6)]
    assert kept_by(rows, 2, 2) == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    assert kept_by(rows, 3, 3) == []


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz")), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_it_is_the_core_of_the_definition(pairs, users, items):
    rows = [(user, item, second) for second, (user, item) in enumerate(pairs)]
    assert sorted(kept_by(rows, users, items)) == sorted(naive_core(pairs, users, items))


def intervals_as_in_recbole(pairs, users: tuple[int, int], items: tuple[int, int]) -> list[tuple[str, str]]:
    """Removes users and items outside of their intervals, both at once, until none is."""
    while True:
        by_user, by_item = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
        left = [(u, i) for u, i in pairs if users[0] <= by_user[u] <= users[1] and items[0] <= by_item[i] <= items[1]]
        if left == pairs:
            return left
        pairs = left


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz")), min_size=1, max_size=40),
    st.tuples(st.integers(1, 3), st.integers(3, 9)),
    st.tuples(st.integers(1, 3), st.integers(3, 9)),
)
def test_with_upper_bounds_it_is_what_intervals_leave_in_recbole(pairs, users, items):
    rows = [(user, item, second) for second, (user, item) in enumerate(pairs)]
    kept = kept_by(rows, users[0], items[0], users[1], items[1])
    assert sorted(kept) == sorted(intervals_as_in_recbole(pairs, users, items))


def test_an_upper_bound_holds_before_the_lower_ones():
    # y takes a down to two, but a had three.
    rows = [("a", "x", 0), ("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "x", 4)]
    assert kept_by(rows, 1, 2, 2, None) == [("b", "x"), ("b", "x")]
    assert kept_by(rows, 1, 1, None, 3) == [("a", "y")]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_it_does_not_depend_on_the_shards(shard, cut):
    generator = np.random.default_rng(0)
    rows = [(f"u{generator.integers(20)}", f"i{generator.integers(30)}", k) for k in range(200)]
    whole = shard(rows)
    parts = [shard([row for row in rows if int(row[0][1:]) % cut == part]) for part in range(cut)]
    readers = [lambda part=part: edges_of(part) for part in parts if len(part.users)]
    core = Core(5, 4, 12, 9)
    assert core_items(readers, core).tolist() == core_items([lambda: edges_of(whole)], core).tolist()
    assert core_items(readers, core).tolist() != core_items(readers, Core(5, 4)).tolist()


def test_before_all_shards_are_known_nothing_is_found(shard):
    assert found(Core(9, 9), shard([("u", "a", 0)])) == []
