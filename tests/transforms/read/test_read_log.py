import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_log import read_log


def test_the_whole_log_is_read_in_order(tmp_path):
    table = pa.table(
        {
            "user_id": ["b", "a", "b", "a"],
            "item_id": ["x", "z", "y", "x"],
            "timestamp": [4, 3, 2, 1],
            "rating": [1, 2, 3, 4],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    source = LogSource(str(tmp_path / "log.parquet"))
    log, rejected, _ = read_log(source, plan_input(source))
    assert rejected == {}
    assert log.table.column_names == ["user_id", "item_id", "timestamp"]
    expected = table.sort_by([("user_id", "ascending"), ("timestamp", "ascending")])
    assert log.table["item_id"].to_pylist() == expected["item_id"].to_pylist()
    assert log.item_ids.to_pylist() == sorted(set(expected["item_id"].to_pylist()))


def test_unusable_rows_are_counted_and_a_log_of_nothing_else_is_refused(tmp_path):
    path = str(tmp_path / "log.parquet")
    pq.write_table(pa.table({"user_id": ["a", None], "item_id": ["x", "x"], "timestamp": [1, 2]}), path)
    plan = plan_input(LogSource(path))
    log, rejected, _ = read_log(LogSource(path, max_rejected=0.5), plan)
    assert len(log.items) == 1
    assert rejected == {"null user_id": 1}
    with pytest.raises(InputError, match="than --max-rejected allows") as error:
        read_log(LogSource(path, max_rejected=0.49), plan)
    assert "1 of 2 rows" in str(error.value)
    pq.write_table(pa.table({"user_id": [""], "item_id": ["x"], "timestamp": [1]}), path)
    with pytest.raises(InputError, match=r"empty user_id \(1 row\)"):
        read_log(LogSource(path), plan_input(LogSource(path)))
