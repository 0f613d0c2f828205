"""Rows of Parquet for each part of the split, as RecTools and `datasets` read them."""

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from iadsr.transforms.export.write_export import write_export


@pytest.mark.parametrize(("name", "time"), [("rectools", "datetime"), ("hf", "timestamp")])
def test_each_part_has_its_rows_in_order_with_times_that_differ(run, tmp_path, name, time):
    write_export(run, name, str(tmp_path / "out"), ids=None, overwrite=False)
    train, validation, test = (pq.read_table(tmp_path / "out" / part) for part in ("train", "validation", "test"))
    assert train.column_names == ["user_id", "item_id", time, "weight"]
    assert train.schema.field(time).type == pa.timestamp("us")
    assert train["user_id"].to_pylist() == [*["ann"] * 3, *["bea"] * 2, "cid"]
    assert train["item_id"].to_pylist() == [*"bac", *"cd", "a"]
    assert train["weight"].to_pylist() == [1, 0.25, 1, 0.5, 1, 1]
    start = datetime.datetime(1970, 1, 1, 0, 0, 10)
    assert train[time].to_pylist()[:3] == [start + datetime.timedelta(microseconds=n) for n in range(3)]
    assert validation["item_id"].to_pylist() == [*"aa", "b"]
    assert test["item_id"].to_pylist() == [*"db", "c"]


@pytest.mark.parametrize(("hold_out", "parts"), [(0, ["train"]), (1, ["train", "test"])])
def test_only_the_parts_that_the_run_has_are_written(make_run, tmp_path, hold_out, parts):
    run = make_run({1: [(2, 1, 1.0, "train")], 3: [(4, 1, 1.0, "train"), (5, 1, 1.0, parts[-1])]}, hold_out=hold_out)
    write_export(run, "hf", str(tmp_path / "out"), ids=None, overwrite=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == sorted(parts)
    _, header, _ = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    (config,) = yaml.safe_load(header)["configs"]
    assert config["data_files"] == [{"split": part, "path": f"{part}/*.parquet"} for part in parts]


@pytest.mark.parametrize("name", ["rectools", "hf", "lenskit"])
def test_behaviours_are_a_column(make_run, tmp_path, name):
    run = make_run({1: [(n, n, 1.0, part) for n, part in enumerate(("train", "validation", "test"))]}, behaviours="vbv")
    write_export(run, name, str(tmp_path / "out"), ids=None, overwrite=False)
    found = [
        pq.read_table(tmp_path / "out" / part)["behaviour"].to_pylist() for part in ("train", "validation", "test")
    ]
    assert found == [["v"], ["b"], ["v"]]
    assert "`behaviour`" in (tmp_path / "out" / "README.md").read_text()
