from decimal import Decimal

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from iadsr.models.core.errors import InputError
from iadsr.transforms.contract.columns import ROW, InteractionColumns
from iadsr.transforms.files.run_paths import RunPaths
from iadsr.transforms.files.tables import write_table
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_splits import ReadSplits, check_unchanged, read_split
from iadsr.transforms.read.timestamps import time_of

COLUMNS = InteractionColumns()


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    first = {"user_id": ["a", None, "b"], "item_id": pa.array([1, 2, 3], pa.int32()), "timestamp": [1, 2, 3]}
    second = {"user_id": ["c"], "item_id": pa.array([4]), "timestamp": [4], "rating": [5.0]}
    pq.write_table(pa.table(first), folder / "1.parquet", row_group_size=2)
    pq.write_table(pa.table(second), folder / "2.parquet")
    return folder


def test_files_are_read_in_one_schema_without_the_unusable_rows(log):
    plan = plan_input(LogSource(str(log), COLUMNS))
    tables = [read_split(split, COLUMNS, plan.schema).valid for split in plan.splits]
    table = pa.concat_tables(tables)
    assert table["user_id"].to_pylist() == ["a", "b", "c"]
    assert table["item_id"].type == pa.int64()
    assert table["rating"].to_pylist() == [None, None, 5.0]
    assert table[ROW].to_pylist() == [0, 2, 3]


def test_dictionary_columns_travel_as_their_values(tmp_path):
    table = pa.table({"user_id": ["a"], "item_id": ["x"], "timestamp": [1]})
    table = table.append_column("country", pa.array(["no"]).dictionary_encode())
    pq.write_table(table, tmp_path / "log.parquet")
    plan = plan_input(LogSource(str(tmp_path / "log.parquet"), COLUMNS))
    valid, _ = read_split(plan.splits[0], COLUMNS, plan.schema)
    assert valid["country"].type == pa.string()
    assert valid["country"].to_pylist() == ["no"]


def test_carried_text_that_is_not_utf8_is_carried(tmp_path):
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"no"], pa.binary()).buffers())
    table = pa.table({"user_id": ["a"] * 2, "item_id": ["x"] * 2, "timestamp": [1, 2]})
    table = table.append_column("plain", broken).append_column("coded", broken.dictionary_encode())
    pq.write_table(table, tmp_path / "log.parquet")
    plan = plan_input(LogSource(str(tmp_path / "log.parquet"), COLUMNS))
    valid, rejected = read_split(plan.splits[0], COLUMNS, plan.schema)
    assert len(rejected) == 0
    for name in ("plain", "coded"):
        assert valid[name].cast(pa.binary()).to_pylist() == [b"\xff", b"no"]


def test_integers_are_read_by_a_format_as_text(tmp_path):
    columns = InteractionColumns(timestamp_format="%Y%m%d")
    for name, days in (("a", [20240229, 20231231]), ("b", ["20240101", "20240132"])):
        pq.write_table(
            pa.table({"user_id": ["u"] * 2, "item_id": ["x"] * 2, "timestamp": days}), tmp_path / f"{name}.parquet"
        )
    plan = plan_input(LogSource(str(tmp_path), columns))
    parts = [read_split(split, columns, plan.schema) for split in plan.splits]
    assert [time_of(part.valid, columns).tolist() for part in parts] == [
        [day * 86_400 * 10**9 for day in (19_782, 19_722)],
        [19_723 * 86_400 * 10**9],
    ]
    assert parts[1].rejected["reason"].to_pylist() == ["unparsable timestamp"]
    assert parts[0].valid["timestamp"].to_pylist() == ["20240229", "20231231"]


def test_a_file_that_changed_after_the_plan_is_refused(log):
    plan = plan_input(LogSource(str(log), COLUMNS))
    pq.write_table(pa.table({"user_id": ["z"] * 3, "item_id": [1] * 3, "timestamp": [1] * 3}), log / "2.parquet")
    with pytest.raises(InputError, match="changed while it was being read"):
        read_split(plan.splits[-1], COLUMNS, plan.schema)
    (log / "2.parquet").unlink()
    with pytest.raises(InputError, match="the file is gone"):
        read_split(plan.splits[-1], COLUMNS, plan.schema)


def test_a_file_whose_state_is_unknown_does_not_count_as_changed(log, monkeypatch):
    (info, _) = plan_input(LogSource(str(log), COLUMNS)).files
    check_unchanged([info])

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr("os.stat", refuse)
        with pytest.raises(InputError) as error:
            check_unchanged([info])
    assert error.value.code == "FILE-ASK"


def test_the_transform_counts_every_row_and_writes_the_rejected(log, tmp_path):
    plan = plan_input(LogSource(str(log), COLUMNS))
    (tmp_path / "rejected").mkdir()
    stale = tmp_path / "rejected" / "part-00001.parquet"  # from an earlier try that rejected rows of the second split
    stale.write_bytes(b"stale")
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        read = (
            pipeline
            | beam.Create(plan.splits)
            | ReadSplits(COLUMNS, plan.schema, RunPaths("staging", str(tmp_path), 1))
        )
        rows = read.valid | beam.Map(lambda element: (element[0], len(element[1])))
        counts = read.counts | beam.Map(lambda c: (c.path.rpartition("/")[2], c.valid, tuple(c.rejected.items())))
        assert_that(rows, equal_to([(0, 2), (1, 1)]), label="rows")
        expected = [("1.parquet", 2, (("null user_id", 1),)), ("2.parquet", 1, ())]
        assert_that(counts, equal_to(expected), label="counts")
    rejected = pq.read_table(tmp_path / "rejected").to_pylist()
    assert [(row["row_number"], row["reason"]) for row in rejected] == [(1, "null user_id")]
    assert not stale.exists()


def test_a_value_that_does_not_fit_the_common_type_of_all_files_is_refused(tmp_path):
    for name, unit, time in (("1", "ms", 253402300799000), ("2", "ns", 1_500_000_000_000_000_001)):
        times = pa.array([time]).cast(pa.timestamp(unit))
        pq.write_table(pa.table({"user_id": ["a"], "item_id": ["x"], "timestamp": times}), tmp_path / f"{name}.parquet")
    plan = plan_input(LogSource(str(tmp_path), COLUMNS))
    with pytest.raises(InputError, match=r"Column 'timestamp' of .*1\.parquet"):
        read_split(plan.splits[0], COLUMNS, plan.schema)


@pytest.mark.parametrize(
    "view", [pa.list_view(pa.string()), pa.list_view(pa.string_view()), pa.list_(pa.list_view(pa.int8()))]
)
def test_list_views_travel_as_they_are(tmp_path, view):
    rows = {"user_id": [*"abc"], "item_id": [*"xyz"], "timestamp": [1, None, 3]}
    lists = [[], None, [[1], [2, 3]]] if view == pa.list_(pa.list_view(pa.int8())) else [[], None, ["p", "q"]]
    pq.write_table(pa.table({**rows, "extra": pa.array(lists, view)}), tmp_path / "1.parquet")
    pq.write_table(pa.table(rows), tmp_path / "2.parquet")
    plan = plan_input(LogSource(str(tmp_path), COLUMNS))
    table = pa.concat_tables(read_split(split, COLUMNS, plan.schema).valid for split in plan.splits)
    table.validate(full=True)
    assert table["extra"].to_pylist() == [[], lists[2], None, None]
    write_table(str(tmp_path / "out.parquet"), table)
    assert pq.read_table(tmp_path / "out.parquet")["extra"].to_pylist() == [[], lists[2], None, None]


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [
        (pa.list_(pa.field("element", pa.string(), nullable=False)), pa.large_list(pa.string()), ["p", "q"]),
        (pa.map_(pa.string(), pa.string()), pa.map_(pa.string(), pa.string_view()), [("p", "q")]),
        (pa.binary(), pa.large_binary(), b"p"),
    ],
)
def test_files_whose_types_differ_slightly_are_read_into_one_table(tmp_path, one, other, value):
    for name, type_ in (("1", one), ("2", other)):
        rows = {"user_id": ["a"], "item_id": ["x"], "timestamp": [1], "extra": pa.array([value], type_)}
        pq.write_table(pa.table(rows), tmp_path / f"{name}.parquet")
    plan = plan_input(LogSource(str(tmp_path), COLUMNS))
    table = pa.concat_tables(read_split(split, COLUMNS, plan.schema).valid for split in plan.splits)
    table.validate(full=True)
    assert table["extra"].to_pylist() == [value, value]


def test_times_and_positions_may_be_decimals_as_data_warehouses_write_whole_numbers(tmp_path):
    columns = InteractionColumns(position="n")
    for name, time, kind in (("1", 1_700_000_000, pa.decimal128(38, 0)), ("2", 1_700_000_001, pa.int32())):
        rows = {"user_id": ["a"], "item_id": ["x"], "timestamp": pa.array([time], kind), "n": pa.array([time], kind)}
        pq.write_table(pa.table(rows), tmp_path / f"{name}.parquet")
    plan = plan_input(LogSource(str(tmp_path), columns))
    table = pa.concat_tables(read_split(split, columns, plan.schema).valid for split in plan.splits)
    assert table["timestamp"].type == table["n"].type == pa.int64()
    assert table["timestamp"].to_pylist() == table["n"].to_pylist() == [1_700_000_000, 1_700_000_001]


def test_times_that_are_decimals_with_a_fraction_are_floats(tmp_path):
    times = [Decimal("1700000000.000001"), Decimal("1700000000.000002"), None]
    rows = {"user_id": ["a"] * 3, "item_id": ["x"] * 3, "timestamp": pa.array(times, pa.decimal128(20, 6))}
    pq.write_table(pa.table(rows), tmp_path / "1.parquet")
    plan = plan_input(LogSource(str(tmp_path), COLUMNS))
    valid, rejected = read_split(plan.splits[0], COLUMNS, plan.schema)
    assert valid["timestamp"].to_pylist() == [1700000000.000001, 1700000000.000002]
    assert rejected["reason"].to_pylist() == ["null timestamp"]
