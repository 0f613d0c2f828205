import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.run.run_changes import (
    MODEL,
    NEW_ROW,
    NOW_DROPPED,
    NOW_KEPT,
    OTHER_REASON,
    REMOVED_ROW,
    REST,
    USER_BOTH,
    USER_NEW,
    USER_REMOVED,
    compare_rows,
)

NAMES = ["user", "item", "timestamp", "keep", "reason"]


def make(*rows) -> pa.Table:
    types = [pa.string(), pa.string(), pa.int64(), pa.bool_(), pa.string()]
    columns = list(zip(*rows, strict=True)) or [[]] * len(NAMES)
    return pa.table({name: pa.array(values, t) for name, values, t in zip(NAMES, columns, types, strict=True)})


def changes(earlier, later, causes=()) -> list[tuple]:
    found = compare_rows(earlier, later, causes)
    return sorted(zip(*(found[name].to_pylist() for name in ("change", "why", "user", "item")), strict=True))


def test_each_change_of_a_row_is_told_with_its_cause():
    earlier = make(
        ("a", "x", 1, True, None),
        ("a", "y", 2, True, None),
        ("b", "x", 1, False, "burst"),
        ("b", "y", 2, True, None),
        ("c", "x", 1, True, None),
        ("c", "y", 2, False, "burst"),
        ("d", "x", 1, False, "burst"),
        ("e", "x", 1, True, None),
        ("e", "y", 1, True, None),
    )
    later = make(
        ("a", "x", 1, False, "burst"),  # a has a new row
        ("a", "y", 2, True, None),
        ("a", "z", 3, True, None),
        ("b", "x", 1, True, None),  # a row of b is gone
        ("c", "x", 1, True, "weightless"),
        ("c", "z", 2, False, "burst"),  # another item: one row is gone, one is new
        ("d", "x", 1, False, "repeat"),
        ("e", "x", 1, True, None),
        ("e", "y", 1, False, "burst"),
    )
    assert changes(earlier, later) == sorted(
        [
            (NOW_DROPPED, USER_NEW, "a", "x"),
            (NEW_ROW, "", "a", "z"),
            (NOW_KEPT, USER_REMOVED, "b", "x"),
            (REMOVED_ROW, "", "b", "y"),
            (OTHER_REASON, USER_BOTH, "c", "x"),
            (REMOVED_ROW, "", "c", "y"),
            (NEW_ROW, "", "c", "z"),
            (OTHER_REASON, REST, "d", "x"),
            (NOW_DROPPED, REST, "e", "y"),
        ]
    )
    whys = {row[2]: row[1] for row in changes(earlier, later, (MODEL,)) if row[1]}
    assert (whys["a"], whys["d"]) == (f"{USER_NEW}; {MODEL}", MODEL)
    found = compare_rows(earlier, later)
    (row,) = (row for row in found.to_pylist() if row["user"] == "d")
    assert [row[f"{run}_{name}"] for run in ("earlier", "later") for name in ("keep", "reason")] == [
        False,
        "burst",
        False,
        "repeat",
    ]


def test_equal_rows_are_told_apart_by_their_order():
    twice = [("a", "x", 1, True, None), ("a", "x", 1, False, "duplicate")]
    assert changes(make(*twice), make(*twice)) == []
    assert changes(make(*twice), make(twice[0])) == [(REMOVED_ROW, "", "a", "x")]
    assert changes(make(), make(*twice)) == [(NEW_ROW, "", "a", "x")] * 2
    assert changes(make(), make()) == []


def test_ids_of_another_type_are_compared_as_text():
    earlier = make(("1", "x", 1, True, None))
    later = make(("1", "x", 1, False, "burst"))
    later = later.set_column(0, "user", pa.array([1], pa.int64()))
    assert changes(earlier, later) == [(NOW_DROPPED, REST, "1", "x")]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.booleans(), st.integers(0, 2)), max_size=12))
def test_rows_add_up(rows):
    """Each row is in the earlier run (0), in the later one (1), or in both with the opposite decision (2)."""
    sides = {0: [], 1: []}
    for user, item, keep, where in rows:
        for side in {0: (0,), 1: (1,), 2: (0, 1)}[where]:
            sides[side].append((user, item, 1, keep ^ (side == 1), None))
    earlier, later = make(*sides[0]), make(*sides[1])
    found = [change for change, *_ in changes(earlier, later)]
    new, removed = found.count(NEW_ROW), found.count(REMOVED_ROW)
    assert len(earlier) - removed == len(later) - new
    for user, item in itertools.product("ab", "xy"):
        before, after = (sum(row[:2] == (user, item) for row in sides[side]) for side in (0, 1))
        told = [change for change, _, *key in changes(earlier, later) if tuple(key) == (user, item)]
        assert told.count(NEW_ROW) == max(after - before, 0)
        assert told.count(REMOVED_ROW) == max(before - after, 0)


def test_positions_tell_rows_apart():
    one, other = make(("a", "x", 1, True, None)), make(("a", "x", 1, True, None))
    one, other = (table.append_column("position", pa.array([n])) for n, table in enumerate((one, other)))
    assert changes(one, other) == [(NEW_ROW, "", "a", "x"), (REMOVED_ROW, "", "a", "x")]


def test_the_order_of_rows_does_not_matter():
    rows = 1000
    generator = np.random.default_rng(0)
    table = make(
        *((f"u{user}", f"i{user % 7}", n, True, None) for n, user in enumerate(generator.integers(0, 90, rows)))
    )
    shuffled = table.take(generator.permutation(rows))
    assert len(compare_rows(table, shuffled)) == 0
    assert len(compare_rows(table, shuffled.slice(10))) == 10
