import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.pipeline.commands.api import clean as run_clean
from iadsr.pipeline.commands.work_plan import plan_work, row_bytes
from iadsr.transforms.files.tables import read_arrow
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_splits import read_split
from iadsr.transforms.run.run_store import RunStore

ROWS = 40_000


@pytest.fixture
def log(tmp_path) -> LogSource:
    numbers = pa.array(range(ROWS))
    table = pa.table(
        {
            "user_id": [f"user-{number % 999}" for number in range(ROWS)],
            "item_id": [f"item-{number % 77}" for number in range(ROWS)],
            "timestamp": numbers,
            "note": ["the same text in every row"] * ROWS,
        }
    )
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=10_000)
    return LogSource(str(tmp_path / "log.parquet"))


def plan(log: LogSource, shards: int = 4, *, vectors: int | None = None, shuffle="claim-check"):
    read = plan_input(log)
    first, _ = read_split(read.splits[0], log.columns, read.schema)
    return plan_work(read, shards, row_bytes(first, read), shuffle, vectors)


def test_what_is_planned_to_wait_between_the_steps_is_what_waits_there(log, tmp_path, monkeypatch):
    left = []

    def sizes(store: RunStore, remove=RunStore.remove_staging) -> None:
        files = [path for path in tmp_path.glob("out/.staging/*/*.arrow") if path.name != "item_counts.arrow"]
        left.extend((path.name.partition("-")[0], path.stat().st_size) for path in files)
        assert sum(len(read_arrow(str(path))) for path in files if path.name.startswith("ruled-")) == ROWS
        remove(store)

    monkeypatch.setattr(RunStore, "remove_staging", sizes)
    run_clean(interactions=log.path, rules_only=True, shards=4, output=tmp_path / "out")
    found = plan(log)
    assert sum(size for name, size in left if name == "slices") == pytest.approx(found.shuffled_bytes, rel=0.05)
    assert sum(size for _, size in left) == pytest.approx(found.staged_bytes, rel=0.05)
    read = plan_input(log)
    assert (found.rows, found.parts, found.shards) == (ROWS, len(read.splits), 4)
    assert found.shuffled_bytes > 4 * read.uncompressed_bytes  # as the footers tell of text that repeats


def test_shards_and_parts_share_the_memory(log):
    few, many = plan(log, 1), plan(log, 40)
    assert few.worker_bytes > many.worker_bytes
    assert (few.reading_decides, many.reading_decides) == (False, True)
    assert few.staged_bytes == many.staged_bytes
    assert many.worker_bytes == plan(log, 80).worker_bytes


def test_a_row_group_is_decoded_whole(log, tmp_path):
    pq.write_table(pq.read_table(log.path), tmp_path / "one-group.parquet", row_group_size=ROWS)
    whole = plan(LogSource(str(tmp_path / "one-group.parquet")), 40)
    assert whole.parts == plan(log).parts
    assert whole.worker_bytes > plan(log, 40).worker_bytes


def test_a_model_adds_its_vectors_the_scores_and_time(log):
    rules, scored, more = plan(log), plan(log, vectors=0), plan(log, vectors=1 << 20)
    assert scored.staged_bytes > 1.5 * rules.staged_bytes
    assert more.staged_bytes == scored.staged_bytes + (1 << 20)
    assert more.worker_bytes > scored.worker_bytes > rules.worker_bytes
    assert scored.cpu_seconds > rules.cpu_seconds
    assert scored.output_bytes > rules.output_bytes
    assert scored.requests > rules.requests


def test_slices_in_files_cost_requests_and_room_and_those_through_the_engine_do_not(log):
    files, engine = plan(log), plan(log, shuffle="bytes")
    assert files.staged_bytes == engine.staged_bytes + engine.shuffled_bytes
    assert files.requests == engine.requests + files.parts * (2 * files.shards + 1)


def test_a_log_whose_first_rows_are_all_unusable_is_planned_by_its_footers(log):
    read = plan_input(log)
    empty = read.schema.empty_table()
    assert row_bytes(empty, read) == pytest.approx(2 * read.uncompressed_bytes / ROWS)
