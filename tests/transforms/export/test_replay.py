"""Encoded sequences for RePlay."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.export.write_export import write_export


def read(folder) -> dict:
    return pq.read_table(folder).to_pydict()


def test_sequences_are_lists_of_numbers_from_0(run, tmp_path):
    write_export(run, "replay", str(tmp_path / "out"), ids=None, overwrite=False)
    train, validation, test = (read(tmp_path / "out" / part) for part in ("train", "validation", "test"))
    assert train["query_id"] == [0, 1, 2]
    assert train["item_id"] == [[1, 0, 2], [2, 3], [0]]
    assert train["weight"] == [[1, 0.25, 1], [0.5, 1], [1]]
    assert train["timestamp"][0] == [10_000_000, 10_000_001, 10_000_002]
    assert validation == {
        "query_id": [0, 1, 2],
        "item_id": [[1, 0, 2], [2, 3], [0]],
        "ground_truth": [[0], [0], [1]],
        "train": [[1, 0, 2], [2, 3], [0]],
    }
    assert test["item_id"] == [[1, 0, 2, 0], [2, 3, 0], [0, 1]]
    assert test["ground_truth"] == [[3], [1], [2]]
    schema = pq.read_table(tmp_path / "out" / "train").schema
    assert [schema.field(name).type.value_type for name in ("item_id", "weight")] == [pa.int64(), pa.float32()]
    assert "ITEMS = 4 " in (tmp_path / "out" / "load.py").read_text()


@pytest.mark.parametrize(("hold_out", "held_out"), [(0, "{}"), (1, "{'test': 1}"), (3, "{'validate': 2, 'test': 1}")])
def test_the_loader_knows_what_is_held_out(make_run, tmp_path, hold_out, held_out):
    run = make_run({"ann": [("a", 1, 1.0, "train"), ("b", 2, 1.0, "train")]}, hold_out=hold_out)
    write_export(run, "replay", str(tmp_path / "out"), ids=None, overwrite=False)
    loader = (tmp_path / "out" / "load.py").read_text()
    assert f"HELD_OUT = {held_out}\n" in loader
    compile(loader, "load.py", "exec")
    readme = (tmp_path / "out" / "README.md").read_text()
    assert ("trainer.test(" in readme) == bool(hold_out)
    assert ("limit_val_batches=0" in readme) == (hold_out < 2)


def test_behaviours_are_numbers_by_their_order(make_run, tmp_path):
    kept = [(n, n, float(n != 2), "train") for n in range(4)] + [(8, 8, 1.0, "validation"), (9, 9, 1.0, "test")]
    run = make_run({1: kept}, behaviours="bacaab")
    run = dataclasses.replace(run, columns=InteractionColumns(behaviour="event", behaviours=("b", "a")))
    write_export(run, "replay", str(tmp_path / "out"), ids=None, overwrite=False)
    train, validation, test = (read(tmp_path / "out" / part) for part in ("train", "validation", "test"))
    assert train["behaviour"] == [[0, 1, 1]]  # what weighs 0 is left out with its behaviour
    assert validation["behaviour"] == [[0, 1, 1]]
    assert test["behaviour"] == [[0, 1, 1, 1]]
    assert "BEHAVIOURS = ['b', 'a', 'c']" in (tmp_path / "out" / "load.py").read_text()
    assert "`behaviour`" in (tmp_path / "out" / "README.md").read_text()


def test_users_without_anything_to_train_on_are_only_tested(make_run, tmp_path):
    run = make_run({"ann": [("a", 1, 1.0, "validation"), ("b", 2, 1.0, "test")]})
    write_export(run, "replay", str(tmp_path / "out"), ids=None, overwrite=False)
    assert read(tmp_path / "out" / "train")["item_id"] == read(tmp_path / "out" / "validation")["item_id"] == []
    assert read(tmp_path / "out" / "test")["item_id"] == [[0]]
