import importlib.util
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import throughput_work as work
from benchmarks.throughput import Cost, describe, describe_growth
from iadsr.models.detector import scoring

KEYS = [("user_id", "ascending"), ("timestamp", "ascending"), ("item_id", "ascending")]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    paths = work.Paths(str(tmp_path_factory.mktemp("throughput")), rows=3000, items=40)
    work.prepare(paths)
    return paths


def fresh(paths, name):
    """The same log and model, with an output of its own."""

    class Fresh(work.Paths):
        @property
        def output(self):
            return f"{self.work}/{name}"

    return Fresh(paths.work, paths.rows, paths.items)


def test_the_synthetic_log_is_skewed_and_in_order_of_time():
    log = work.synthetic_log(20_000, 500)
    assert len(log) == 20_000
    lengths = np.sort(log["user_id"].value_counts().field("counts").to_numpy())
    assert lengths.min() == 1
    assert lengths.max() > 50 * np.median(lengths)
    assert (np.diff(log["timestamp"].to_numpy()) >= 0).all()
    assert log.equals(work.synthetic_log(20_000, 500))


def test_a_skewed_log_has_one_large_user_and_one_popular_item():
    log = work.synthetic_log(20_000, 500, skewed=True)
    shares = [log[name].value_counts().field("counts").to_numpy().max() / 20_000 for name in ("user_id", "item_id")]
    assert shares == pytest.approx([0.1, 0.57], abs=0.02)


def test_all_ways_to_group_give_the_same_sequences(paths):
    ways = {"beam": work.sequences_with_beam, "bare": work.sequences_in_a_loop}
    for library, way in {"polars": work.sequences_in_polars, "duckdb": work.sequences_in_duckdb}.items():
        if importlib.util.find_spec(library):
            ways[library] = way
    found = {}
    for name, way in ways.items():
        way(fresh(paths, name))
        files = Path(paths.work, name).glob("*.parquet")
        found[name] = pa.concat_tables(pq.read_table(file) for file in files).sort_by("user_id").to_pylist()
    for name, rows in found.items():
        assert rows == found["bare"], name


def test_the_bare_loop_cleans_as_the_command_does(paths, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    beam, bare = fresh(paths, "clean"), fresh(paths, "loop")
    with pytest.raises(SystemExit) as done:
        work.clean_with_beam(beam)
    assert not done.value.code
    work.clean_in_a_loop(bare)
    expected = pq.read_table(f"{beam.output}/interactions").sort_by(KEYS)
    found = pq.read_table(f"{bare.output}/interactions").sort_by(KEYS)
    assert found.equals(expected)


def test_scoring_alone_says_what_it_took(paths):
    for way in (work.score, work.score_as_in_the_paper, work.score_per_item):
        told = way(paths)
        assert 0 < told["rows"] <= 3000
        assert told["seconds"] > 0


def test_each_head_scores_the_same_sequences(paths, monkeypatch):
    scored, score = [], scoring.score_sequences

    def spy(model, sequences, vectors):
        scored.append((model.config.head, len(sequences.items)))
        return score(model, sequences, vectors)

    monkeypatch.setattr(scoring, "score_sequences", spy)
    rows = [way(paths)["rows"] for way in (work.score, work.score_as_in_the_paper)]
    assert scored == [("agreement", rows[0]), ("paper", rows[0])]
    assert rows[1] == rows[0]


def test_growth_is_the_ratio_of_peaks():
    words = describe_growth({"clean": Cost(25, 1.0, 100 << 20)}, {"clean": Cost(100, 4.0, 110 << 20)})
    assert words.splitlines()[-1] == "| iadsr clean | 100 MiB | 110 MiB | 1.10 | at most 1.2 |"


def test_ratios_are_of_speed():
    words = describe({"clean": Cost(100, 2.0, 0), "clean-bare": Cost(100, 1.0, 0)})
    assert "| iadsr clean | 50 | 0 MiB |" in words
    assert words.splitlines()[-1].endswith("| 0.50 | 0.97 |")
