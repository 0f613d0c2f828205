import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read import input_plan
from iadsr.transforms.read.input_plan import SHARD_BYTES, InputPlan, plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_splits import read_split


def write(path, rows, row_group_size=None):
    table = pa.table({"user_id": range(rows), "item_id": range(rows), "timestamp": range(rows)})
    pq.write_table(table, path, row_group_size=row_group_size)


def test_splits_cover_every_row_group_once(tmp_path, monkeypatch):
    monkeypatch.setattr(input_plan, "SPLIT_BYTES", 2500)
    write(tmp_path / "a.parquet", 1000, row_group_size=100)
    write(tmp_path / "b.parquet", 50)
    plan = plan_input(LogSource(str(tmp_path)))
    assert plan.rows == 1050
    assert [split.index for split in plan.splits] == list(range(len(plan.splits)))
    first = [split for split in plan.splits if split.path.endswith("a.parquet")]
    assert len(first) > 1
    assert [group for split in first for group in split.row_groups] == list(range(10))
    assert [split.first_row for split in first] == [split.row_groups[0] * 100 for split in first]
    assert plan.splits[-1].file_first_row == 1000
    assert sum(split.rows for split in plan.splits) == 1050


def test_a_column_to_leave_out_that_no_file_has_is_refused(tmp_path):
    write(tmp_path / "a.parquet", 3)
    pq.write_table(pq.read_table(tmp_path / "a.parquet").append_column("mail", pa.array("xyz")), tmp_path / "b.parquet")

    def plan(*carried):
        return plan_input(LogSource(str(tmp_path), InteractionColumns(carried=carried)))

    assert plan("-mail").schema.names == plan("user_id").schema.names == ["user_id", "item_id", "timestamp"]
    for carried in (("-mial",), ("-mail", "-mial")):
        with pytest.raises(InputError, match="LOG-LEFT-OUT"):
            plan(*carried)


def test_a_log_without_rows_is_an_error_but_one_file_without_rows_is_not(tmp_path):
    write(tmp_path / "a.parquet", 0)
    with pytest.raises(InputError, match="No rows"):
        plan_input(LogSource(str(tmp_path)))
    write(tmp_path / "b.parquet", 3)
    assert plan_input(LogSource(str(tmp_path))).rows == 3


@pytest.mark.parametrize(("rows", "size", "shards"), [(10, 10, 1), (100_000, 1, 5), (10**6, 1, 8), (10**7, 1, 20)])
def test_shards_follow_the_rows(rows, size, shards):
    plan = InputPlan((), pa.schema([]), {"a": rows}, size)
    assert plan.default_shards() == shards


@pytest.mark.parametrize(
    ("rows", "asked", "shards", "cells"),
    [(10, None, 1, 8), (10, 3, 3, 8), (10, 9, 9, 9), (10**7, None, 20, 20), (10**7, 4, 4, 20)],
)
def test_no_number_of_shards_up_to_the_default_cuts_a_cell(rows, asked, shards, cells):
    sharding = InputPlan((), pa.schema([]), {"a": rows}, 1).sharding(asked)
    assert (sharding.shards, sharding.cells) == (shards, cells)


def test_shards_follow_the_bytes():
    assert InputPlan((), pa.schema([]), {"a": 10}, 100 * SHARD_BYTES).default_shards() == 100


def rows(log: LogSource) -> list[dict]:
    plan = plan_input(log)
    return [row for split in plan.splits for row in read_split(split, log.columns, plan.schema).valid.to_pylist()]


def test_columns_in_the_names_of_folders_are_columns_of_the_log(tmp_path):
    for day, hour in (("2026-11-23", "7"), ("__HIVE_DEFAULT_PARTITION__", "11")):
        folder = tmp_path / f"day={day}" / f"hour={hour}"
        folder.mkdir(parents=True)
        write(folder / "a.parquet", 2, row_group_size=1)
    write(tmp_path / "b.parquet", 1)
    log = LogSource(str(tmp_path))
    plan = plan_input(log)
    assert plan.schema.names == ["user_id", "item_id", "timestamp", "day", "hour"]
    assert (plan.schema.field("day").type, plan.schema.field("hour").type) == (pa.date32(), pa.int64())
    assert plan.notes == ("From the names of folders: day (date32[day]), hour (int64).",)
    assert [(row["user_id"], row["day"], row["hour"]) for row in rows(log)] == [
        (0, None, None),
        (0, datetime.date(2026, 11, 23), 7),
        (1, datetime.date(2026, 11, 23), 7),
        (0, None, 11),
        (1, None, 11),
    ]


@pytest.mark.parametrize("column", ["user_id", "item_id", "timestamp"])
@pytest.mark.parametrize("value", ["7", "2026-11-23", "__HIVE_DEFAULT_PARTITION__"])
def test_a_column_that_cleaning_needs_may_stand_in_the_names_of_folders(tmp_path, column, value):
    folder = tmp_path / f"{column}={value}"
    folder.mkdir()
    table = pa.table({"user_id": ["a", "b"], "item_id": ["x", "y"], "timestamp": [1, 2]})
    pq.write_table(table.drop_columns([column]), folder / "a.parquet")
    log = LogSource(str(tmp_path))
    if value == "2026-11-23" and column != "timestamp":
        with pytest.raises(InputError, match="unusable type"):
            rows(log)
    elif value == "__HIVE_DEFAULT_PARTITION__":
        plan = plan_input(log)
        rejected = read_split(plan.splits[0], log.columns, plan.schema).rejected
        assert rejected["reason"].to_pylist() == [f"null {column}"] * 2
    else:
        expected = datetime.date(2026, 11, 23) if value == "2026-11-23" else 7
        assert [row[column] for row in rows(log)] == [expected, expected]


def test_a_column_of_the_file_wins_over_the_name_of_its_folder_and_that_is_told(tmp_path):
    (tmp_path / "user_id=7").mkdir()
    write(tmp_path / "user_id=7" / "a.parquet", 2)
    log = LogSource(str(tmp_path))
    assert [row["user_id"] for row in rows(log)] == [0, 1]
    assert plan_input(log).notes == (
        "The column 'user_id' stands in the files and in the names of their folders: that of the files is read.",
    )


def test_files_that_are_not_parquet_are_listed_whatever_happens_to_bad_ones(tmp_path):
    write(tmp_path / "a.parquet", 2)
    (tmp_path / "b.csv").write_text("user_id\n")
    for on_bad_file in ("fail", "skip"):
        (skipped,) = plan_input(LogSource(str(tmp_path), on_bad_file=on_bad_file)).skipped
        assert (skipped.path, skipped.size, skipped.rows) == (str(tmp_path / "b.csv"), 8, None)
        assert (skipped.code, skipped.reason) == ("FILE-OTHER", f"{tmp_path}/b.csv is not a Parquet file: text")
