import dataclasses

import numpy as np

from iadsr.transforms.rules.shared_lists import SharedLists, list_fingerprints, shared_fingerprints

from .conftest import found


def bots(names: str, count: int = 60, gap: int = 5) -> list[tuple]:
    generator = np.random.default_rng(5)
    rows = []
    for user in names:
        items = generator.permutation(count)  # the same list in another order
        rows += [(user, f"i{item:04d}", gap * place + ord(user)) for place, item in enumerate(items)]
    return rows


def shared_by(view) -> np.ndarray:
    return shared_fingerprints([list_fingerprints(view)[1]])


def test_three_users_who_rush_through_one_list_are_found_whatever_the_order(shard):
    view = shard(bots("xyz") + [("u", f"i{k:04d}", 9 * k) for k in range(5)])
    rule = dataclasses.replace(SharedLists(), shared=shared_by(view))
    users = np.array(view.ordered.table["user_id"].to_pylist())
    assert set(users[found(rule, view)]) == set("xyz")
    assert len(found(rule, view)) == 180


def test_two_users_a_short_list_or_a_slow_pace_are_no_sign(shard):
    assert len(shared_by(shard(bots("xy")))) == 0
    assert len(shared_by(shard(bots("xyz", count=49)))) == 0
    assert len(shared_by(shard(bots("xyz", gap=11)))) == 0


def test_shards_are_counted_together(shard):
    parts = [list_fingerprints(shard(bots(names)))[1] for names in ("x", "y", "z")]
    assert len(shared_fingerprints(parts)) == 1
    assert len(shared_fingerprints([])) == 0


def test_before_all_shards_are_known_nothing_is_found(shard):
    assert found(SharedLists(), shard(bots("xyz"))) == []
