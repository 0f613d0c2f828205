"""Nights under a real Airflow: what is trained, published, exported and stopped, and the same bytes after a kill."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.nights import Airflow, Kill, hashes, is_same_at_once, simulate, write_days

FOLDER = Path(__file__).parents[2] / "runner_configs"
TOPICS = ("kitchen knife", "garden hose", "running shoes", "puzzle", "bicycle light", "fishing rod")
FIRST, BROKEN, KILLED = DAYS = ["2026-11-26", "2026-11-27", "2026-11-28"]


def make_log() -> pa.Table:
    """200 users, each of whom mostly likes one of six topics of 20 items."""
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(200), 16)
    topics = np.where(generator.random(len(users)) < 0.9, users % 6, generator.integers(0, 6, len(users)))
    return pa.table(
        {
            "user_id": [f"u{user:03d}" for user in users],
            "item_id": [f"i{item:03d}" for item in topics * 20 + generator.integers(0, 20, len(users))],
            "timestamp": generator.integers(1_700_000_000, 1_705_000_000, len(users)),
        }
    )


@pytest.fixture(scope="module")
def nights(airflow_bin, tmp_path_factory):
    """Three nights: the first one, one whose feed is broken, and one that is killed and run again."""
    root = tmp_path_factory.mktemp("nights")
    log = make_log()
    ends = np.quantile(log["timestamp"].to_numpy(), [0.9, 0.95, 1]).astype(int) + 1
    write_days(log, root / "log", dict(zip(DAYS, ends.tolist(), strict=True)), {BROKEN})
    titles = [f"{TOPICS[item // 20]} model {item % 20}" for item in range(120)]
    pq.write_table(
        pa.table({"item_id": [f"i{item:03d}" for item in range(120)], "title": titles}), root / "items.parquet"
    )
    (root / "gates.yaml").write_text("model_age: {warn: 1.5}\n")  # on the third night, the model is two days old
    settings = {
        "IADSR_COMMAND": str(Path(sys.executable).with_name("iadsr")),
        "IADSR_DIR": str(root),
        "IADSR_ITEMS": str(root / "items.parquet"),
        "IADSR_LOG": f"{root}/log/{{day}}",
        "IADSR_GATES": str(root / "gates.yaml"),
        "IADSR_FORMATS": "sasrec hf",
        "IADSR_PROM": str(root / "iadsr.prom"),
        "IADSR_TRAIN_OPTIONS": "--hold-out 2",
        "IADSR_CLEAN_OPTIONS": "--hold-out 2 --drop-rate 0.05",
    }
    airflow = Airflow.start(airflow_bin / "airflow", root / "airflow", settings)
    told = {}
    staging = root / "dataset" / f"run={KILLED}" / ".staging"
    for line in simulate(airflow, root, DAYS, {KILLED: Kill(staging, 0.5)}):
        told[line.partition(":")[0]] = line
    return root, airflow, settings, told


def test_the_first_night_trains_cleans_publishes_and_exports(nights):
    root, airflow, _, told = nights
    assert airflow.states(FIRST) == {
        **dict.fromkeys(["embed", "first-model", "clean", "metrics", "export"], "success"),
        "train": "skipped",
    }
    assert f"LATEST run={FIRST}" in told[FIRST]
    for form in ("sasrec", "hf"):
        assert (root / "exports" / form / f"run={FIRST}" / "README.md").is_file()


def test_a_broken_feed_is_stopped_by_the_gates_at_the_first_try(nights):
    root, airflow, _, told = nights
    assert airflow.states(BROKEN) == {
        **dict.fromkeys(["embed", "metrics"], "success"),
        "first-model": "skipped",
        "clean": "failed",
        **dict.fromkeys(["export", "train"], "upstream_failed"),
    }
    assert f"LATEST run={FIRST}" in told[BROKEN]
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        (tries,) = database.execute("select max(try_number) from task_instance where state = 'failed'").fetchone()
    assert tries == 1
    assert not (root / "models" / f"model={BROKEN}").exists()
    assert not (root / "exports" / "hf" / f"run={BROKEN}").exists()
    events = [json.loads(line) for line in (root / "lineage" / f"{BROKEN}.jsonl").read_text().splitlines()]
    assertions = events[-1]["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    failed = {each["assertion"] for each in assertions if not each["success"] and each["severity"] == "error"}
    assert "rows_change" in failed


def test_a_night_that_is_killed_and_run_again_has_the_bytes_of_one_that_is_not(nights):
    root, airflow, settings, told = nights
    states = airflow.states(KILLED)
    assert states.pop("first-model") == "skipped"
    assert set(states.values()) == {"success"}
    assert "; killed in clean, and run again" in told[KILLED]
    assert f"LATEST run={KILLED}" in told[KILLED]
    assert is_same_at_once(root, KILLED, settings)
    # The gates compared it with the last good night, and its own feed has grown since then.
    samples = {
        (sample.name, sample.labels.get("gate"), sample.labels.get("level")): sample.value
        for family in text_string_to_metric_families((root / "iadsr.prom").read_text())
        for sample in family.samples
    }
    assert 0 < samples["iadsr_gate_value", "rows_change", None] < 0.15
    assert samples["iadsr_retrain", None, None] == 1


def test_a_model_that_is_due_is_trained_for_the_next_night(nights):
    root, _, _, _ = nights
    manifest = json.loads((root / "dataset" / f"run={KILLED}" / "manifest.json").read_text())
    assert manifest["model"]["path"] == f"{root}/models/model={FIRST}"
    assert (root / "models" / f"model={KILLED}" / "config.json").is_file()


def test_the_same_day_again_changes_nothing(nights):
    root, airflow, _, _ = nights
    manifest = root / "dataset" / f"run={KILLED}" / "manifest.json"
    before = manifest.read_bytes(), hashes(manifest.parent)
    assert set(airflow.night(KILLED).values()) == {"success", "skipped"}
    assert airflow.states(KILLED)["train"] == "skipped"
    assert (manifest.read_bytes(), hashes(manifest.parent)) == before
    assert (root / "dataset" / "LATEST").read_text() == f"run={KILLED}\n"


def test_the_beam_provider_can_start_it(nights, airflow_bin, tmp_path):
    root, airflow, _, _ = nights
    options = {
        "labels": {"airflow-version": "v3"},  # the operator always adds it
        "interactions": f"{root}/log/{FIRST}",
        "dataset": f"{tmp_path}/dataset",
        "run_id": FIRST,
        "rules_only": True,
        "overwrite": False,
        "min_user_interactions": 3,
        "direct_num_workers": 2,
    }
    given = {"py_file": str(FOLDER / "flex_template.py"), "py_options": [], "py_interpreter": sys.executable}
    code = f"""
from airflow.providers.apache.beam.hooks.beam import BeamHook
BeamHook(runner="DirectRunner").start_python_pipeline(variables={options!r}, **{given!r})
"""
    command = [airflow_bin / "python", "-c", code]
    result = subprocess.run(command, env=airflow.environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "dataset" / "LATEST").read_text() == f"run={FIRST}\n"
    manifest = json.loads((tmp_path / "dataset" / f"run={FIRST}" / "manifest.json").read_text())
    assert manifest["options"]["beam"]["direct_num_workers"] == 2
    assert manifest["options"]["rules"]["min_user_interactions"] == 3
