import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract.columns import TIME, InteractionColumns
from iadsr.transforms.contract.hashing import hash_values
from iadsr.transforms.contract.sharding import Sharding, user_shard
from iadsr.transforms.read.ordering import _rank_ids, order_interactions

COLUMNS = InteractionColumns()
row = st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "z"]), st.integers(-2, 2), st.integers(0, 2))


def table_of(rows: list[tuple]) -> pa.Table:
    users, items, times, positions = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": users,
            "item_id": items,
            "timestamp": pa.array(times, pa.int64()),
            "n": positions,
        }
    )


@given(st.lists(row, min_size=1))
def test_order_is_user_time_item_then_input_order(rows):
    ordered = order_interactions(table_of(rows), COLUMNS)
    expected = sorted(range(len(rows)), key=lambda i: (rows[i][0], rows[i][2], rows[i][1], i))
    found = list(
        zip(*(ordered.table[name].to_pylist() for name in ("user_id", "item_id", "timestamp", "n")), strict=True)
    )
    assert found == [rows[i] for i in expected]
    assert ordered.item_ids.take(ordered.items).to_pylist() == [rows[i][1] for i in expected]
    users = [ordered.table["user_id"][int(i)].as_py() for i in ordered.offsets[:-1]]
    assert users == sorted({r[0] for r in rows})
    assert ordered.offsets[-1] == len(rows)


@given(st.lists(row, min_size=1))
def test_position_breaks_ties_before_input_order(rows):
    ordered = order_interactions(table_of(rows), InteractionColumns(position="n"))
    expected = sorted(range(len(rows)), key=lambda i: (rows[i][0], rows[i][2], rows[i][3], i))
    assert ordered.table["item_id"].to_pylist() == [rows[i][1] for i in expected]


def test_more_users_than_16_bits_can_number_are_ordered():
    users = np.random.default_rng(0).permutation(70_000)
    ordered = order_interactions(table_of([(int(user), "x", 0, 0) for user in users]), COLUMNS)
    assert ordered.table["user_id"].to_pylist() == list(range(70_000))


def test_times_far_apart_are_ordered():
    times = [2**62, -(2**62), 0]
    rows = [("b", "x", t, 0) for t in times] + [("a", "x", t, 0) for t in times]
    ordered = order_interactions(table_of(rows), COLUMNS)
    assert ordered.table["timestamp"].to_pylist() == sorted(times) * 2
    assert ordered.table["user_id"].to_pylist() == ["a"] * 3 + ["b"] * 3


def test_strings_are_ordered_by_the_time_they_mean_and_the_internal_column_is_dropped():
    table = table_of([("a", "x", 1, 0), ("a", "y", 0, 0)]).append_column(TIME, pa.array([1, 0]))
    table = table.set_column(2, "timestamp", pa.array(["1970-01-01T00:00:01Z", "1970-01-01T01:00:00+01:00"]))
    ordered = order_interactions(table, COLUMNS)
    assert ordered.table["item_id"].to_pylist() == ["y", "x"]
    assert ordered.table.column_names == ["user_id", "item_id", "timestamp", "n"]


def keys_of(rows, user_type=None) -> dict:
    """Returns the key of each user's sequence, by user id."""
    table = table_of(rows)
    if user_type:
        table = table.set_column(0, "user_id", table["user_id"].cast(user_type))
    ordered = order_interactions(table, COLUMNS)
    sequences = ordered.sequences(COLUMNS)
    assert sequences.items is ordered.items
    assert sequences.offsets is ordered.offsets
    assert sequences.keys.dtype == np.uint64
    users = [ordered.table["user_id"][int(start)].as_py() for start in ordered.offsets[:-1]]
    return dict(zip(users, sequences.keys.tolist(), strict=True))


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.just("x"), st.integers(0, 3), st.just(0)), min_size=1))
def test_a_users_key_depends_on_the_id_only(rows):
    together = keys_of(rows)
    assert together == keys_of(rows[::-1])
    assert together == keys_of(rows, pa.large_string())
    for user, key in together.items():
        assert keys_of([(user, "y", 9, 1)]) == {user: key}
        assert hash_values(pa.array([user])).tolist() == [key]
    assert len(set(together.values())) == len(together)


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.just("x"), st.just(0), st.just(0)), min_size=1))
def test_keys_of_integer_users_do_not_depend_on_the_width_of_the_integers(rows):
    together = keys_of(rows)
    assert together == keys_of(rows[::-1], pa.int32())
    assert together == keys_of(rows, pa.uint64())
    assert len(together) == len(set(together.values())) == len({user for user, *_ in rows})


@pytest.mark.parametrize("shards", [16, 60])
def test_each_shard_holds_users_of_all_folds(shards):
    ids = [f"user-{number}" for number in range(40 * shards)]
    one = user_shard(pa.chunked_array([ids]), Sharding(shards, shards)) == 3
    ordered = order_interactions(
        table_of([(user, "x", 0, 0) for user, here in zip(ids, one, strict=True) if here]), COLUMNS
    )
    folds = ordered.sequences(COLUMNS).folds(5)
    assert (np.bincount(folds, minlength=5) > 0).all()


def test_a_shard_without_rows_has_no_users():
    empty = table_of([("a", "x", 1, 0)]).slice(0, 0)
    assert len(order_interactions(empty, COLUMNS).sequences(COLUMNS)) == 0


@given(st.lists(row, min_size=1), st.integers(1, 4))
def test_the_order_does_not_depend_on_chunks(rows, step):
    whole = table_of(rows)
    chunks = pa.concat_tables(whole.slice(start, step) for start in range(0, len(rows), step))
    one, other = (order_interactions(table, COLUMNS) for table in (whole, chunks))
    assert other.table.equals(one.table)
    assert other.item_ids.equals(one.item_ids)
    for name in ("offsets", "items", "rows"):
        assert getattr(other, name).tolist() == getattr(one, name).tolist()


def test_ids_with_more_bytes_than_fit_one_array_of_strings_are_ranked():
    length, count = 4 << 20, 32
    letters = np.repeat(np.frombuffer(b"ba" * (count // 2), np.uint8), length)
    offsets = np.arange(count + 1, dtype=np.int32) * length
    chunk = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(letters))
    ranks, ids = _rank_ids(pa.chunked_array([chunk] * 17))  # 2.1 GiB
    assert ranks.tolist() == [1, 0] * (17 * count // 2)
    assert [name[:2] for name in ids.to_pylist()] == ["aa", "bb"]


def test_behaviours_at_one_time_are_in_their_order_the_weakest_first():
    columns = InteractionColumns(behaviour="event", behaviours=("view", "cart", "buy"))
    rows = [("buy", "x"), ("share", "x"), ("view", "y"), ("view", "x"), ("cart", "x")]
    table = table_of([("u", item, 0, 0) for _, item in rows]).append_column("event", [[kind for kind, _ in rows]])
    ordered = order_interactions(table, columns)
    assert ordered.table["event"].to_pylist() == ["share", "view", "cart", "buy", "view"]
    assert ordered.behaviours is not None
    assert ordered.behaviours.tolist() == [3, 2, 1, 0, 2]
    unordered = order_interactions(table, InteractionColumns(behaviour="event"))
    assert unordered.table["event"].to_pylist() == ["buy", "share", "view", "cart", "view"]  # as in the input
    some = ordered.only(np.array([True, False, False, False, True]))
    assert some.behaviours is not None
    assert (some.behaviours.tolist(), some.item_ids.to_pylist()) == ([3, 2], ["x", "y"])
