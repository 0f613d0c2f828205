import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.ordering import order_interactions
from iadsr.transforms.schema import ROW, TIME, InteractionColumns

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
            ROW: np.arange(len(rows)),
            TIME: pa.array(times, pa.int64()),
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


def test_times_too_far_apart_for_a_packed_key_are_ordered_too():
    times = [2**62, -(2**62), 0]
    rows = [("b", "x", t, 0) for t in times] + [("a", "x", t, 0) for t in times]
    ordered = order_interactions(table_of(rows), COLUMNS)
    assert ordered.table["timestamp"].to_pylist() == sorted(times) * 2
    assert ordered.table["user_id"].to_pylist() == ["a"] * 3 + ["b"] * 3


def test_internal_columns_do_not_leave():
    ordered = order_interactions(table_of([("a", "x", 1, 0)]), COLUMNS)
    assert ordered.table.column_names == ["user_id", "item_id", "timestamp", "n"]
