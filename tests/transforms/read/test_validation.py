import json
import math
from datetime import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract.columns import ROW, TIME, InteractionColumns
from iadsr.transforms.read.timestamps import parse_time, time_of
from iadsr.transforms.read.validation import validate

COLUMNS = InteractionColumns()


def log(**columns) -> pa.Table:
    defaults = {"user_id": ["u"], "item_id": ["i"], "timestamp": [1]}
    return pa.table({**defaults, **columns})


def test_each_problem_is_rejected_with_its_reason_and_the_row_as_json():
    table = pa.table(
        {
            "user_id": ["a", None, "", "b", "c", "d"],
            "item_id": ["x", "x", "x", None, "x", "x"],
            "timestamp": pa.array([1.0, 2.0, 3.0, 4.0, None, float("inf")]),
            "note": ["ok", "p", "q", "r", "s", "t"],
        }
    )
    valid, rejected = validate(table, COLUMNS, "log.parquet", first_row=100, file_first_row=1000)
    assert valid["note"].to_pylist() == ["ok"]
    assert valid[ROW].to_pylist() == [1100]
    assert rejected["row_number"].to_pylist() == [101, 102, 103, 104, 105]
    assert rejected["reason"].to_pylist() == [
        "null user_id",
        "empty user_id",
        "null item_id",
        "null timestamp",
        "unparsable timestamp",
    ]
    assert set(rejected["file"].to_pylist()) == {"log.parquet"}
    assert json.loads(rejected["row"][0].as_py()) == {"user_id": None, "item_id": "x", "timestamp": 2.0, "note": "p"}


def test_reasons_name_the_columns_of_the_log():
    table = pa.table({"buyer": [None, 1], "sku": [1, 1], "at": [1, 1], "n": [1, None]})
    _, rejected = validate(table, InteractionColumns("buyer", "sku", "at", "n"), "f")
    assert rejected["reason"].to_pylist() == ["null buyer", "null n"]


ids = st.one_of(st.none(), st.text(max_size=4))
rows = st.lists(st.tuples(ids, ids, st.one_of(st.none(), st.floats(), st.integers(-100, 100).map(float))))


@given(rows)
def test_every_row_is_either_valid_or_rejected(drawn):
    users, items, times = zip(*drawn, strict=True) if drawn else ((), (), ())
    table = pa.table(
        {
            "n": range(len(drawn)),
            "user_id": pa.array(users, pa.string()),
            "item_id": pa.array(items, pa.string()),
            "timestamp": pa.array(times, pa.float64()),
        }
    )
    valid, rejected = validate(table, COLUMNS, "f")
    assert valid["n"].to_pylist() == sorted(valid["n"].to_pylist())
    numbers = valid["n"].to_pylist() + rejected["row_number"].to_pylist()
    assert sorted(numbers) == list(range(len(drawn)))
    for row in valid.to_pylist():
        assert row["user_id"]
        assert row["item_id"]
        assert math.isfinite(row["timestamp"])


def test_item_ids_beyond_int64_are_rejected_and_user_ids_are_not():
    large = pa.array([2**63, 7, None], pa.uint64())
    table = pa.table(
        {"user_id": large.fill_null(2**63), "item_id": pa.array([7, 7, 7], pa.uint64()), "timestamp": [1] * 3}
    )
    assert len(validate(table, COLUMNS, "log.parquet").valid) == 3
    valid, rejected = validate(table.set_column(1, "item_id", large), COLUMNS, "log.parquet")
    assert valid["item_id"].to_pylist() == [7]
    assert rejected["reason"].to_pylist() == ["item_id beyond int64", "null item_id"]


def test_only_strings_travel_with_their_parsed_times():
    for stamp in (5, 2.5, datetime(2020, 1, 1)):
        valid, _ = validate(log(timestamp=[stamp]), COLUMNS, "f")
        assert TIME not in valid.column_names
        assert time_of(valid, COLUMNS).tolist() == parse_time(pa.chunked_array([[stamp]])).to_pylist()
    valid, _ = validate(log(timestamp=["1970-01-01T00:00:01"]), COLUMNS, "f")
    assert valid[TIME].to_pylist() == time_of(valid, COLUMNS).tolist() == [1_000_000_000]


def test_ids_of_other_types_are_read_and_what_is_none_is_rejected_with_its_reason():
    table = log(
        user_id=pa.array([b"a", b"\xff", None], pa.binary()),
        item_id=pa.array([1.0, 2.0, 3.5]),
        timestamp=[1, 2, 3],
    )
    valid, rejected = validate(table, COLUMNS, "log.parquet")
    assert valid.select(["user_id", "item_id"]).to_pylist() == [{"user_id": "a", "item_id": 1}]
    assert rejected["reason"].to_pylist() == ["user_id not UTF-8", "null user_id"]


def test_strings_that_are_not_utf8_are_rejected():
    def broken(*values):
        return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())

    table = log(
        user_id=broken(b"a", b"\xff", b"c", b"d"),
        item_id=broken(b"i", b"j", b"\xe9t\xe9", b"l"),
        timestamp=[1, 2, 3, 4],
        event=broken(b"view", b"view", b"view", b"\xff"),
    )
    valid, rejected = validate(table, InteractionColumns(behaviour="event", reject_users=("nobody",)), "log.parquet")
    assert valid.select(["user_id", "item_id", "event"]).to_pylist() == [
        {"user_id": "a", "item_id": "i", "event": "view"}
    ]
    assert rejected["reason"].to_pylist() == ["user_id not UTF-8", "item_id not UTF-8", "event not UTF-8"]


def test_users_are_rejected_when_asked_for():
    users = ["nan", "u1", None, "", "u2", "-1", "robot"]
    table = pa.table({"user_id": users, "item_id": ["i"] * 7, "timestamp": [1] * 7})
    columns = InteractionColumns(reject_users=("nobody", "u2", "robot"))
    valid, rejected = validate(table, columns, "f")
    assert valid["user_id"].to_pylist() == ["u1"]
    assert rejected["reason"].to_pylist() == [
        *["nobody user_id"] * 3,
        "excluded user_id",
        "nobody user_id",
        "excluded user_id",
    ]
    assert len(validate(table, COLUMNS, "f").valid) == 5
    numbers = pa.table({"user_id": [7, -1, 0, 8], "item_id": ["i"] * 4, "timestamp": [1] * 4})
    assert validate(numbers, InteractionColumns(reject_users=("nobody", "8", "x")), "f").valid[
        "user_id"
    ].to_pylist() == [7, 0]


def test_numbers_in_another_unit_are_written_in_the_one_that_is_named():
    table = log(user_id=["u"] * 2, item_id=["i"] * 2, timestamp=[1_718_006_400, 1_718_006_400_500])
    valid, rejected = validate(table, InteractionColumns(timestamp_unit="ms"), "f")
    assert valid["timestamp"].to_pylist() == [1_718_006_400_000, 1_718_006_400_500]
    assert len(rejected) == 0


@pytest.mark.parametrize("ids", [["a", "b", None, "a"], [1, 2, None, 1], [1.0, 2.0, None, 1.0]])
def test_of_users_who_are_to_be_forgotten_nothing_is_shown(tmp_path, ids):
    (tmp_path / "list").write_text("a\n1\nnobody else\n")
    table = pa.table({"user_id": ids, "item_id": ["x", "y", "z", None], "timestamp": [1, 2, 3, 4]})
    valid, rejected = validate(table, InteractionColumns(forget=str(tmp_path / "list")), "log")
    assert valid["item_id"].to_pylist() == ["y"]
    assert rejected["reason"].to_pylist() == ["forgotten user_id", "null user_id", "forgotten user_id"]
    assert rejected["row_number"].to_pylist() == [0, 2, 3]
    shown = rejected["row"].to_pylist()
    assert (shown[0], shown[2]) == ("null", "null")
    assert '"z"' in shown[1]


def test_a_row_without_a_behaviour_is_rejected_if_the_log_has_them():
    table = log(user_id=list("uuu"), item_id=list("iii"), timestamp=[1, 2, 3], event=["view", None, ""])
    _, rejected = validate(table, InteractionColumns(behaviour="event"), "f")
    assert rejected["reason"].to_pylist() == ["null event", "empty event"]
    assert len(validate(table, COLUMNS, "f").valid) == 3
