import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import noise_kinds
from benchmarks.datasets import Dataset
from benchmarks.noise_kinds import (
    Scored,
    default_of,
    found_by_rules,
    read_categories,
    real_log,
    reasons_of,
    rows_of,
    seconds,
    shared_accounts_of,
)
from benchmarks.realistic_noise import KindsOfNoise
from iadsr.models.core.sequences import Sequences
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items.embedding_files import write_embeddings
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_times_of_any_unit_become_seconds(unit):
    assert seconds(np.array([978_307_200, 1_405_296_000]) * unit).tolist() == [978_307_200, 1_405_296_000]


def test_rows_compare_each_kind_with_what_is_genuine():
    kind = np.array([-1, -1, 0, 1, -1, -1, -1, 2, 2])
    measured = np.array([True, True, True, True, False, False, True, True, True])
    sequences = Sequences.from_lengths(np.arange(9), np.array([6, 1, 2]))
    noisy = KindsOfNoise(sequences, np.zeros(9, int), kind, measured, np.array([False, False, True]))
    # The first kind is above all three genuine ones, the second above two, the bot above none.
    scores = np.array([0.1, 0.6, 0.9, 0.5, 1.0, 1.0, 0.2, 0.0, 0.05])
    ruled = np.array([False, False, True])
    rows = list(rows_of("ours", ("shared", "gift", "bot"), noisy, Scored(scores, scores > 0.8, "15%"), ruled))
    cells = [[cell.strip() for cell in row.split("|")[2:]] for row in rows]
    assert [row[:2] for row in cells[:3]] == [["shared", "1.000"], ["gift", "0.667"], ["bot", "0.000"]]
    assert cells[0][5] == "100.0%"
    assert cells[1][5] == "0.0%"
    assert cells[3][:2] == ["all", "0.417"]
    assert cells[4][:2] == ["mean of kinds without bots", "0.833"]
    assert cells[5][:2] == ["bots, by user", "0.000"]
    assert cells[6][:2] == ["bots, by user", "1.000"]
    assert default_of(noisy, Scored(scores, scores > 0.8, "15%")) == (
        "Inserted 44.4%, estimated 15%; the default drops 33.3%, 33.3% of it noise."
    )


def test_reasons_are_compared_with_the_kinds_that_were_inserted():
    kind = np.array([0, 0, 0, 0, 1, -1, -1])
    sequences = Sequences.from_lengths(np.arange(7), np.array([7]))
    noisy = KindsOfNoise(sequences, np.zeros(7, int), kind, np.ones(7, bool), np.array([False]))
    sign = np.array([3, 3, 0, 4, 2, 5, 3], np.int8)
    dropped = np.array([True, True, True, True, False, True, False])
    rows = list(reasons_of(("shared", "gift"), noisy, Scored(np.zeros(7), dropped, sign=sign)))
    assert rows[0] == "| dropped | interactions | run | text | block | none of these |"
    assert rows[2:] == [
        "| shared | 4 | 50% | 25% | 0% | 25% |",
        "| gift | 0 |  |  |  |  |",
        "| genuine | 1 | 0% | 0% | 100% | 0% |",
    ]


def test_users_who_are_named_as_shared_accounts_are_compared_with_those_who_are():
    kind = np.repeat([0, -1, 0], [4, 3, 4])
    sequences = Sequences.from_lengths(np.arange(11), np.array([4, 3, 4]))
    noisy = KindsOfNoise(sequences, np.zeros(11, int), kind, np.ones(11, bool), np.zeros(3, bool))
    sign = np.array([3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0], np.int8)
    scored = Scored(np.zeros(11), np.ones(11, bool), sign=sign)
    assert shared_accounts_of(("shared",), noisy, scored) == (
        "Named as shared accounts: 2 users. Of these, 1 are shared; the log holds 2."
    )


def test_rules_find_users_at_the_pace_of_a_machine(tmp_path):
    lengths = np.array([80, 80, 3])
    sequences = Sequences.from_lengths(np.arange(163), lengths)
    slow, quick = np.cumsum(np.arange(80) + 3600), np.arange(80)
    time = 1_400_000_000 + np.concatenate([slow, quick, quick[:3]])
    noisy = KindsOfNoise(sequences, time, np.full(163, -1), np.ones(163, bool), np.array([False, True, False]))
    assert found_by_rules(noisy, str(tmp_path)).tolist() == [False, True, False]


def test_categories_are_those_of_the_catalogue_or_groups_of_texts(tmp_path):
    catalogue = {"item_id": ["b", "c", "a"], "category": ["x", "y", "x"]}
    pq.write_table(pa.table(catalogue), tmp_path / "items.parquet")
    semantic = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    dataset = Dataset("toy", Sequences(np.zeros(0, np.int32), np.zeros(1, int)), semantic, np.ones(60, bool))
    named = noise_kinds.replace(dataset, item_ids=pa.array(["a", "b", "c", "d"]))
    a, b, c, d = read_categories(str(tmp_path), named, InteractionColumns()).tolist()
    assert a == b
    assert len({a, c, d}) == 3
    nothing = {"item_id": ["a", "b"], "category": pa.nulls(2, pa.string())}
    for catalogue in ({"item_id": ["a"]}, nothing):
        pq.write_table(pa.table(catalogue), tmp_path / "items.parquet")
        groups = read_categories(str(tmp_path), named, InteractionColumns())
        assert len(groups) == 60
        assert len(np.unique(groups)) > 10


def test_donors_leave_the_log():
    lengths = np.full(50, 4)
    sequences = Sequences.from_lengths(np.arange(200), lengths)
    time = 10**12 + np.arange(200) * 1000
    dataset = Dataset("toy", sequences, np.ones((200, 2), np.float32), np.ones(200, bool), None, time)
    log = real_log(dataset, np.zeros(200, int), 3)
    assert set(log.sequences.items) | set(log.donors.items) == set(range(200))
    assert not set(log.sequences.items) & set(log.donors.items)
    assert (log.time == 10**9 + log.sequences.items).all()


def test_the_command_prints_a_table_for_each_log(tmp_path, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    users, per_user, items = 80, 12, 60
    log = {
        "user_id": np.repeat(np.arange(users), per_user).astype(str),
        "item_id": np.concatenate([generator.choice(items, per_user, replace=False) for _ in range(users)]).astype(str),
        "timestamp": np.sort(generator.integers(10**12, 10**12 + 10**10, users * per_user)),
    }
    (tmp_path / "toy").mkdir()
    pq.write_table(pa.table(log), tmp_path / "toy" / "interactions.parquet")
    ids = [str(item) for item in range(items)]
    pq.write_table(pa.table({"item_id": ids, "category": ["x", "y", "z"] * 20}), tmp_path / "toy" / "items.parquet")
    vectors = generator.normal(size=(items, 6)).astype(np.float32)
    metadata = EmbeddingMetadata("semantic", "test", "1", "mean", 6)
    table = EmbeddingTable(pa.array(ids), vectors, np.ones(items, bool), None, metadata)
    write_embeddings(table, str(tmp_path / "embeddings" / "toy"))
    options = ["noise_kinds", str(tmp_path / "toy"), "--embeddings", str(tmp_path / "embeddings"), "--scorers", "text"]
    monkeypatch.setattr(sys, "argv", [*options, "--kinds", "single", "list", "bot"])
    noise_kinds.main()
    mixed = capsys.readouterr().out
    assert "## toy, 15% noise, mixed" in mixed
    assert [line.split("|")[2].strip() for line in mixed.splitlines() if line.startswith("| text similarity")] == [
        *("single", "list", "bot", "all", "mean of kinds without bots", "bots, by user")
    ]
    monkeypatch.setattr(sys, "argv", [*options, "--kinds", "single", "text", "--alone"])
    noise_kinds.main()
    assert [line.split("|")[2].strip() for line in capsys.readouterr().out.splitlines() if "similarity" in line] == [
        *("single", "text")
    ]
