import json
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import detection
from benchmarks.datasets import Setting
from benchmarks.measures import Detection, Dropping
from benchmarks.results import Result, Results, Run
from benchmarks.tables import comparison, drops_by_popularity, overview
from iadsr.transforms.items.embedding_files import write_embeddings
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable

SETTING = Setting("insert", "popular", 0.15)


def result(scorer, seed, auroc, seconds, drops=(0.1,) * 6):
    detected = Detection(auroc, 0.5, Dropping(0.6, list(drops)), None)
    return Result(Run("toy", SETTING, seed, scorer), detected, 10.0, seconds)


def test_the_table_shows_means_spreads_and_ratios():
    results = {
        "iadsr": [result("iadsr", 0, 0.9, 2.0), result("iadsr", 1, 0.8, 4.0)],
        "text": [result("text", 0, 0.8, 1.0, (0.2, 0, 0, 0, 0, 0.1)), result("text", 1, 0.4, 1.0, (0.2,) + (0.1,) * 5)],
    }
    ours, text = comparison(results).splitlines()[2:]
    assert ours.startswith("| iadsr | 0.8500 ± 0.0707 | 1.00 |")
    assert "| 1.0 | 10 | 3.0 |" in ours
    assert text.startswith("| text similarity | 0.6000 ± 0.2828 | 2.50 |")  # 2 and 3 times as many misordered pairs
    assert "| 4.0 |" in text  # 20% against 5%, mean over seeds
    assert (
        drops_by_popularity(results)
        .splitlines()[3]
        .endswith("| 20.0% | 5.0% | 5.0% | 5.0% | 5.0% | 10.0% | 4.0 | 0.6000 ± 0.0000 |")
    )
    assert overview({SETTING: results}).splitlines()[2:] == [
        "| iadsr | 0.850 ± 0.071 |",
        "| text similarity | 0.600 ± 0.283 |",
    ]


def test_results_are_kept_as_they_come_and_read_back(tmp_path):
    path = str(tmp_path / "results.jsonl")
    results = Results(path)
    results.add(result("text", 0, 0.8, 1.0))
    results.add(result("iadsr", 0, 0.9, 2.0))
    detection = replace(result("steam", 0, 0.7, 1.0).detection, calibration_error=0.1)
    probable = replace(result("steam", 0, 0.7, 1.0), detection=detection)
    results.add(probable)
    read = Results(path)
    assert read[probable.run] == probable
    assert Run("toy", SETTING, 0, "text") in read
    assert Run("toy", SETTING, 1, "text") not in read
    assert Run("toy", Setting("replace", "popular", 0.15), 0, "text") not in read
    assert read[Run("toy", SETTING, 0, "iadsr")] == result("iadsr", 0, 0.9, 2.0)


@pytest.fixture
def toy(tmp_path):
    generator = np.random.default_rng(0)
    rows = [generator.permutation(10)[:6] + 10 * (user % 3) for user in range(90)]
    log = {
        "user_id": np.repeat(np.arange(90), 6),
        "item_id": np.concatenate(rows),
        "timestamp": np.tile(np.arange(6), 90),
        "rating": generator.integers(1, 6, 540),
    }
    (tmp_path / "toy").mkdir()
    pq.write_table(pa.table(log), tmp_path / "toy" / "interactions.parquet")
    metadata = EmbeddingMetadata("semantic", "test", "1", "mean", 8)
    vectors = np.repeat(generator.normal(size=(3, 8)), 10, axis=0) + generator.normal(size=(30, 8))
    table = EmbeddingTable(pa.array(np.arange(30)), vectors.astype(np.float32), np.ones(30, bool), None, metadata)
    write_embeddings(table, str(tmp_path / "embeddings" / "toy"))
    return tmp_path


def run(monkeypatch, capsys, directory, *arguments):
    common = ["detection", str(directory / "toy"), "--embeddings", str(directory / "embeddings")]
    monkeypatch.setattr(sys, "argv", [*common, "--results", str(directory / "results.jsonl"), *arguments])
    detection.main()
    return capsys.readouterr().out


def test_the_benchmark_runs_from_the_command_line_and_does_nothing_twice(monkeypatch, capsys, toy):
    arguments = ["--scorers", "text", "rarity", "lisrec", "--seeds", "2", "--rates", "0.1", "0.2", "--kinds", "replace"]
    printed = run(monkeypatch, capsys, toy, *arguments)
    assert printed.count(": AUROC ") == 12
    assert "### 10% popular noise, replacing" in printed
    assert "| AUROC | 10% popular noise, replacing | 20% popular noise, replacing |" in printed
    lines = [json.loads(line) for line in (toy / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 12
    assert all(0 <= line["detection"]["auroc"] <= 1 for line in lines)
    again = run(monkeypatch, capsys, toy, *arguments)
    assert ": AUROC " not in again
    assert again.strip() == printed[printed.index("## toy") :].strip()


def test_our_model_and_a_label_run_too(monkeypatch, capsys, toy):
    printed = run(monkeypatch, capsys, toy, "--scorers", "iadsr", "iadsr-paper", "--seeds", "1", "--label", "rating<3")
    assert "### label rating<3" in printed
    assert "Expected calibration error:" in printed


def test_every_scorer_has_a_name_that_can_be_asked_for():
    assert detection.parse_options(["toy"]).scorers[0] == "iadsr"
    with pytest.raises(SystemExit):
        detection.parse_options(["toy", "--scorers", "magic"])
