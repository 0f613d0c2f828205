"""The directory of an export: what is counted, what is left out, and what is never replaced."""

import json

import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError, UsageError
from iadsr.transforms.export.write_export import write_export


def export(run, output, name="recbole", ids=None, overwrite=False):
    return write_export(run, name, str(output), ids=ids, overwrite=overwrite)


def test_an_export_counts_what_it_holds_and_names_what_it_does_not(run, tmp_path):
    exported = export(run, tmp_path / "out")
    assert exported.users == 2
    assert exported.interactions == {"train": 5, "validation": 2, "test": 2}
    assert exported.left_out_interactions == {"they weigh 0": 1}
    (left_out,) = pq.read_table(tmp_path / "out" / "left_out.parquet").to_pylist()
    assert (left_out["kind"], left_out["id"]) == ("user", "cid")
    assert exported.left_out_users == {left_out["reason"]: 1}
    mark = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (mark["finished"], mark["run"], mark["interactions"]) == (True, "token", exported.interactions)
    assert "5 train, 2 validation, 2 test interactions of 2 users" in (tmp_path / "out" / "README.md").read_text()


def test_an_export_is_replaced_only_if_asked_and_files_of_others_stay(run, tmp_path):
    export(run, tmp_path / "out", "hf")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError) as error:
        export(run, tmp_path / "out")
    assert error.value.code == "EXPORT-EXISTS"
    export(run, tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "export.json",
        "left_out.parquet",
        "log",
        "notes.txt",
        "recbole.yaml",
        "weighted.py",
    ]


def test_an_unfinished_export_is_begun_again(run, tmp_path):
    export(run, tmp_path / "out", "hf")
    (tmp_path / "out" / "export.json").write_text('{"format": "hf", "finished": false}')
    (tmp_path / "out" / "test" / "part-00009-of-00010.parquet").write_bytes(b"stale")
    export(run, tmp_path / "out", "hf")
    assert pq.read_table(tmp_path / "out" / "test")["item_id"].to_pylist() == [*"db", "c"]


def test_a_directory_of_somebody_else_is_refused(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError) as error:
            export(run, tmp_path / "out", overwrite=overwrite)
        assert error.value.code == "OUTPUT-FOREIGN"


def test_what_a_library_cannot_split_is_refused(make_run, tmp_path):
    run = make_run({"ann": [("a", 1, 1.0, "train")]}, hold_out=3)
    with pytest.raises(InputError) as error:
        export(run, tmp_path / "out")
    assert (error.value.code, error.value.expected) == ("EXPORT-HOLD-OUT", "0 or 2")
    assert not (tmp_path / "out").exists()


def test_earlier_numbers_are_refused_where_ids_are_none(run, tmp_path):
    with pytest.raises(UsageError) as error:
        export(run, tmp_path / "out", ids="earlier")
    assert error.value.code == "OPTION-IDS"


def test_a_run_of_which_nothing_is_left_is_exported_empty(make_run, tmp_path):
    exported = export(make_run({"ann": [("a", 1, 0.0, "train")]}), tmp_path / "out", "rectools")
    assert (exported.users, exported.interactions["train"]) == (0, 0)
    assert pq.read_table(tmp_path / "out" / "train").num_rows == 0


def test_an_object_store_holds_an_export(run, store):
    exported = export(run, "memory://bucket/out", "hf")
    assert exported.interactions == {"train": 6, "validation": 3, "test": 3}
    export(run, "memory://bucket/out", "recbole", overwrite=True)
    assert "memory://bucket/out/log/log.inter" in store.files
    assert "memory://bucket/out/train/part-00000-of-00002.parquet" not in store.files
