import datetime

import pyarrow as pa
import pytest

from iadsr.transforms.files.partitions import add_partitions, folder_partitions, partition_schema


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("/log/a.parquet", "/log", {}),
        ("/log/day=2026-11-23/a.parquet", "/log", {"day": "2026-11-23"}),
        ("/log/y=1/x/m=02/a.parquet", "/log/", {"y": "1", "m": "02"}),
        ("/log/y=1/m=2/a.parquet", "/log/y=1", {"y": "1", "m": "2"}),  # a part of the log
        ("/exp=3/log/m=2/a.parquet", "/exp=3/log", {"m": "2"}),  # above the log
        ("log/m=2/a.parquet", "log", {"m": "2"}),
        ("m=2/a.parquet", "", {"m": "2"}),
        ("./m=2/a.parquet", ".", {"m": "2"}),
        ("gs://bucket/log/m=2/a=b.parquet", "gs://bucket/log", {"m": "2"}),
        ("/log/city=a%2Fb%20c/a.parquet", "/log", {"city": "a/b c"}),
        ("/log/the%20day==x/a.parquet", "/log", {"the day": "=x"}),
        ("/log/day=__HIVE_DEFAULT_PARTITION__/a.parquet", "/log", {"day": None}),
        ("/log/=1/a.parquet", "/log", {}),
    ],
)
def test_names_of_folders_hold_columns(path, base, expected):
    assert dict(folder_partitions(path, base)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-20", "0", None], pa.int64()),
        (["1", "02"], pa.string()),  # 02 would become 2
        (["-0"], pa.string()),
        (["9223372036854775807"], pa.int64()),
        (["9223372036854775808"], pa.string()),
        (["2026-11-23", "2024-02-29", None], pa.date32()),
        (["2026-11-23", "2023-02-29"], pa.string()),
        (["2026-11-23", "1"], pa.string()),
        (["1.5"], pa.string()),
        ([""], pa.string()),
        ([None], pa.string()),
        (["\u0661"], pa.string()),  # a digit, but not one that is written so again
    ],
)
def test_the_type_is_that_of_all_values(values, expected):
    assert partition_schema([(("x", value),) for value in values]) == pa.schema([("x", expected)])


def test_columns_are_added_in_the_types_of_the_schema_and_never_replace_one():
    table = pa.table({"item": ["a", "b"], "day": ["own", "own"]})
    schema = pa.schema([("item", pa.string()), ("day", pa.string()), ("d", pa.date32()), ("n", pa.int32())])
    values = (("day", "other"), ("d", "2026-11-23"), ("n", None), ("not asked for", "1"))
    added = add_partitions(table, values, schema)
    assert added.schema.equals(schema)
    assert added.to_pylist()[1] == {"item": "b", "day": "own", "d": datetime.date(2026, 11, 23), "n": None}
