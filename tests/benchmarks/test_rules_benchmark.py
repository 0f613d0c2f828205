import importlib.util
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks import rules, rules_work
from benchmarks.peers import rule_libraries
from benchmarks.rules import Question
from benchmarks.throughput_work import Paths

ROWS = [
    # user, item, second, rating; in order of user, time and item
    ("u", "a", 0, 5),
    ("u", "a", 0, 5),
    ("u", "a", 30, 1),
    ("u", "b", 90, 4),
    ("u", "a", 200_000, 2),
    ("v", "a", 10, 3),
    ("v", "b", 20, 3),
    ("w", "c", 30, 2),
]
LEFT = {
    "users": (Question("users", (2,), {"min_user_interactions": 2}), [0, 1, 2, 3, 4, 5, 6]),
    "core": (Question("core", (4, 3), {"min_user_interactions": 4, "min_item_interactions": 3}), [0, 1, 2, 4]),
    "interval": (
        Question("interval", ((1, 4), (1, 4)), {"max_user_interactions": 4, "max_item_interactions": 4}),
        [6, 7],
    ),
    "days": (Question("days", (2,), {"last_days": 2}), [4]),
    "last": (Question("last", (2,), {"last_interactions": 2}), [3, 4, 5, 6, 7]),
    "copy": (Question("copy", (), {"duplicates": "drop"}), [0, 2, 3, 4, 5, 6, 7]),
    "again": (Question("again", (60,), {"repeats": "drop", "repeat_seconds": 60}), [0, 3, 4, 5, 6, 7]),
    "value": (Question("value", (3,), {"value_column": "value", "min_value": 3}), [0, 1, 3, 5, 6]),
}
INSTALLED = [name for name in ("polars", "duckdb") if importlib.util.find_spec(name)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny")
    columns = dict(zip(("user_id", "item_id", "timestamp", "rating"), zip(*ROWS, strict=True), strict=True))
    columns["timestamp"] = np.array(columns["timestamp"]) + 1_700_000_000
    pq.write_table(
        pa.table({name: pa.array(list(values)) for name, values in columns.items()}), directory / "interactions.parquet"
    )
    return str(directory)


def test_ours_are_asked_about_the_log_that_the_others_get(directory, tmp_path):
    path = str(tmp_path / "log.parquet")
    log = rules.write_log(directory, "rating", path)
    assert log["row"].to_pylist() == list(range(len(ROWS)))
    assert log["timestamp"].to_numpy()[2] == np.datetime64("2023-11-14T22:13:50")
    found = rules.ask_ours(path, {name: question for name, (question, _) in LEFT.items()})
    assert {name: rows.tolist() for name, rows in found.items()} == {name: rows for name, (_, rows) in LEFT.items()}


@pytest.mark.parametrize("library", INSTALLED)
def test_plain_queries_leave_the_same_rows(directory, tmp_path, library):
    path = str(tmp_path / "log.parquet")
    log = rules.write_log(directory, "rating", path)
    asked = rules.questions(log)
    ours, theirs = rules.ask_ours(path, asked), rules.ask_library(library, sys.executable, path, asked)
    assert theirs is not None
    assert {name: rules.compare(log, ours[name], theirs[name]) for name in asked} == dict.fromkeys(asked, "same")


def test_a_library_that_is_not_installed_gives_no_answer(monkeypatch):
    monkeypatch.setitem(rule_libraries.MODULES, "replay", ("no_such_module",))
    assert rules.ask_library("replay", sys.executable, "nowhere", {}) is None


def test_differences_are_counted(directory, tmp_path):
    log = rules.write_log(directory, "rating", str(tmp_path / "log.parquet"))
    assert rules.compare(log, np.array([0, 3]), np.array([3, 0])) == "same"
    assert (
        rules.compare(log, np.array([0, 3]), np.array([1, 3])) == "same, but for which rows of one user, item and time"
    )
    assert rules.compare(log, np.array([0, 3]), np.array([3, 4, 5])) == "3 differ (2 and 3 stay)"
    table = rules.describe(log, {"x": np.array([0])}, {"replay": {"x": np.array([2])}, "duckdb": {}})
    assert table.splitlines()[-1] == "| x | 1 | 2 differ (1 and 1 stay) |  |"


def test_without_values_nothing_is_asked_about_them(directory, tmp_path):
    log = rules.write_log(directory, None, str(tmp_path / "log.parquet"))
    assert not any("value" in question.rule for question in rules.questions(log).values())


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    paths = Paths(str(tmp_path_factory.mktemp("rules")), rows=60_000, items=200)
    rules_work.prepare(paths)
    return paths


def test_the_log_has_something_for_each_rule(paths):
    log = pq.read_table(rules_work.log_path(paths))
    assert len(log) == 60_000
    assert (np.diff(log["timestamp"].to_numpy()) >= 0).all()
    copies = len(log) - len(log.group_by(log.column_names).aggregate([]))
    assert 0.05 <= copies / len(log) < 0.07
    machines = pc.starts_with(log["user_id"], "machine").to_numpy()
    assert machines.sum() == 1_200


def test_all_ways_to_apply_the_rules_keep_the_same_rows(paths, monkeypatch):
    ways = {"ours": rules_work.rules_with_beam}
    for library, way in {"polars": rules_work.rules_in_polars, "duckdb": rules_work.rules_in_duckdb}.items():
        if library in INSTALLED:
            ways[library] = way
    monkeypatch.setattr(sys, "argv", sys.argv)
    kept = {}
    for name, way in ways.items():
        output = Path(paths.work, name)
        fresh = type("Fresh", (Paths,), {"output": str(output)})(paths.work, paths.rows, paths.items)
        if name == "ours":
            with pytest.raises(SystemExit) as done:
                way(fresh)
            assert not done.value.code
            table = pq.read_table(output / "interactions")
            table = table.filter(table["keep"])
        else:
            way(fresh)
            table = pq.read_table(output / "kept.parquet")
        keys = ["user_id", "timestamp", "item_id"]
        kept[name] = table.select(keys).sort_by([(key, "ascending") for key in keys]).to_pylist()
    assert 0 < len(kept["ours"]) < 50_000
    for name, rows in kept.items():
        assert rows == kept["ours"], name
