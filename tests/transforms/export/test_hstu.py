"""The CSV of generative-recommenders."""

import csv
import dataclasses

import pyarrow.parquet as pq

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.export.write_export import write_export


def test_each_user_is_a_line_of_lists(run, tmp_path):
    write_export(run, "hstu", str(tmp_path / "out"), ids=None, overwrite=False)
    rows = list(csv.DictReader((tmp_path / "out" / "sasrec_format.csv").open()))
    assert rows == [
        {
            "user_id": "1",
            "sequence_item_ids": "2,1,3,1,4",
            "sequence_ratings": "1,1,1,1,1",
            "sequence_timestamps": "10,10,10,11,12",
        },
        {
            "user_id": "2",
            "sequence_item_ids": "3,4,1,2",
            "sequence_ratings": "1,1,1,1",
            "sequence_timestamps": "20,22,23,24",
        },
    ]
    users = pq.read_table(tmp_path / "out" / "user_map.parquet").to_pydict()
    assert users == {"user_id": ["ann", "bea"], "number": [1, 2]}


def test_users_keep_their_numbers(run, make_run, tmp_path):
    write_export(run, "hstu", str(tmp_path / "first"), ids=None, overwrite=False)
    (tmp_path / "run").rename(tmp_path / "old")
    kept = [("d", 1, 1.0, "train"), ("e", 2, 1.0, "train"), ("d", 3, 1.0, "test")]
    second = make_run({"aaa": kept, "bea": kept}, hold_out=1)
    write_export(second, "hstu", str(tmp_path / "second"), ids=str(tmp_path / "first"), overwrite=False)
    lines = (tmp_path / "second" / "sasrec_format.csv").read_text().splitlines()
    assert lines[1:] == ['3,"4,5,4","1,1,1","1,2,3"', '2,"4,5,4","1,1,1","1,2,3"']


def test_ratings_are_behaviours_if_the_log_has_them(make_run, tmp_path):
    run = make_run(
        {1: [(n, n, float(n != 2), "train") for n in range(4)] + [(9, 9, 1.0, "test")]}, hold_out=1, behaviours="abcba"
    )
    write_export(run, "hstu", str(tmp_path / "out"), ids=None, overwrite=False)
    (row,) = csv.DictReader((tmp_path / "out" / "sasrec_format.csv").open())
    assert row["sequence_ratings"] == "1,2,2,1"  # what weighs 0 is left out with its behaviour
    assert "(1 for a, 2 for b, 3 for c)" in (tmp_path / "out" / "README.md").read_text()
    ordered = dataclasses.replace(run, columns=InteractionColumns(behaviour="event", behaviours=("x", "c", "a")))
    assert ordered.behaviours == ("x", "c", "a", "b")
