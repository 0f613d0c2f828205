import pyarrow.compute as pc

from benchmarks.incremental import NEW_ROWS, new_rows
from benchmarks.throughput_work import synthetic_log


def test_the_next_day_brings_rows_of_few_users_who_are_known():
    log = synthetic_log(2000, 50)
    day = new_rows(log, 0.05, 50)
    users = pc.unique(log["user_id"])
    assert len(day) == NEW_ROWS * round(0.05 * len(users))
    assert len(pc.unique(day["user_id"])) == round(0.05 * len(users))
    assert pc.all(pc.is_in(day["user_id"], value_set=users)).as_py()
    assert pc.min(day["timestamp"]).as_py() > pc.max(log["timestamp"]).as_py()
    assert day.schema.equals(log.schema)
