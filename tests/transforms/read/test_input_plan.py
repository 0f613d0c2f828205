import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.read import input_plan
from iadsr.transforms.read.input_plan import SHARD_BYTES, InputPlan, plan_input
from iadsr.transforms.read.log_source import LogSource


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
