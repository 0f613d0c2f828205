import importlib.util
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.sequences import Sequences
from iadsr.transforms.embedding_table import EmbeddingMetadata, EmbeddingTable
from iadsr.transforms.embeddings import write_embeddings


@pytest.fixture(scope="module")
def detection():
    path = Path(__file__).parents[2] / "benchmarks" / "detection.py"
    spec = importlib.util.spec_from_file_location("detection", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["detection"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["detection"]


def test_buckets_hold_about_as_many_interactions_and_never_part_equals(detection):
    popularity = np.random.default_rng(0).permutation(np.repeat(np.arange(1, 101), 30))
    bucket = detection.popularity_buckets(popularity)
    assert np.bincount(bucket) == pytest.approx(np.full(6, 500), abs=30)
    for value in range(1, 101):
        assert len(set(bucket[popularity == value].tolist())) == 1
    assert (np.diff(bucket[np.argsort(popularity)]) >= 0).all()


def test_measurements_of_a_perfect_and_of_a_useless_scorer(detection):
    generator = np.random.default_rng(1)
    inserted = generator.random(6000) < 0.2
    popularity = generator.integers(1, 50, 6000)
    perfect = detection.measure(inserted, popularity, inserted.astype(float))
    assert perfect.auroc == perfect.average_precision == 1
    assert (perfect.genuine_drops == 0).all()
    useless = detection.measure(inserted, popularity, generator.random(6000))
    assert useless.auroc == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose(useless.genuine_drops, 0.2, atol=0.05)


def test_text_similarity_is_the_mean_cosine_to_the_others(detection):
    generator = np.random.default_rng(2)
    semantic, present = generator.normal(size=(6, 4)), np.array([True] * 5 + [False])
    sequences = Sequences.from_lengths(np.array([0, 1, 2, 5, 3, 4]), np.array([4, 2]))
    scores = detection.text_similarity(sequences, semantic, present)
    centred = semantic - semantic[:5].mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert scores[0] == pytest.approx(-(unit[0] @ unit[1] + unit[0] @ unit[2]) / 2)
    assert scores[4] == pytest.approx(-unit[3] @ unit[4])
    assert scores[3] == pytest.approx(np.median(scores[[0, 1, 2, 4, 5]]))


def test_co_occurrence_and_rarity_find_what_they_should(detection):
    # Two groups of items that never meet but for one stray; item 9 is the rarest.
    rows = [[0, 1, 2, 3]] * 20 + [[4, 5, 6, 7]] * 20 + [[0, 1, 2, 6, 9]]
    sequences = Sequences.from_lengths(np.concatenate(rows), np.array([len(row) for row in rows]))
    last = slice(-5, None)
    assert detection.co_occurrence(sequences)[last][:4].argmax() == 3
    assert detection.rarity(sequences)[last].argmax() == 4


def test_co_occurrence_of_others_has_not_seen_the_user(detection):
    # Two groups of items; the last user has the first, 8 of the second, and 9, which nobody else has.
    rows = [[0, 1, 2, 3]] * 40 + [[4, 5, 6, 7, 8]] * 40 + [[0, 1, 2, 3, 8, 9]]
    sequences = Sequences.from_lengths(np.concatenate(rows), np.array([len(row) for row in rows]))
    scores, own = detection.co_occurrence_of_others(sequences), detection.co_occurrence(sequences)
    assert scores[-6:-1].argmax() == own[-6:-1].argmax() == 4
    # By what this user contributed 9 seems to fit; without it nothing is known of 9.
    assert own[-1] < own[-2] - 0.1
    folds = np.random.default_rng(0).permutation(len(sequences)) % detection.FOLDS
    together = scores[(folds == folds[-1])[sequences.users]]
    assert scores[-1] == pytest.approx(np.median(np.delete(together, -1)), abs=1e-6)


def test_the_benchmark_runs_from_the_command_line(detection, tmp_path, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    rows = [generator.permutation(10)[:6] + 10 * (user % 3) for user in range(90)]
    log = {
        "user_id": np.repeat(np.arange(90), 6),
        "item_id": np.concatenate(rows),
        "timestamp": np.tile(np.arange(6), 90),
    }
    pq.write_table(pa.table(log), tmp_path / "log.parquet")
    metadata = EmbeddingMetadata("semantic", "test", "1", "mean", 8)
    vectors = np.repeat(generator.normal(size=(3, 8)), 10, axis=0) + generator.normal(size=(30, 8))
    table = EmbeddingTable(pa.array(np.arange(30)), vectors.astype(np.float32), np.ones(30, bool), None, metadata)
    write_embeddings(table, str(tmp_path / "embeddings"))
    paths = ["--interactions", str(tmp_path / "log.parquet"), "--embeddings", str(tmp_path / "embeddings")]
    monkeypatch.setattr(sys, "argv", ["detection.py", *paths, "--seeds", "2", "--rate", "0.2", "--threads", "1"])
    detection.main()
    printed = capsys.readouterr().out
    for name in ("model", "rarity", "co-occurrence", "co-occurrence of others", "text similarity"):
        assert f"| {name} | 0." in printed or f"| {name} | 1." in printed
    assert "popular noise, 20% of the log, gru4rec, 2 seeds" in printed
