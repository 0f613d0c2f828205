import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.pvalue import AsSingleton
from apache_beam.testing.util import assert_that

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.sharding import Sharding, user_shard
from iadsr.transforms.files.run_paths import StagingPaths
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable
from iadsr.transforms.items.joined_items import item_shard, join_embedding_tables, open_items, write_in_item_shards
from iadsr.transforms.items.shuffle_join import FetchVectors, answer, ask_for_items, collect_joined_items
from iadsr.transforms.shuffle.slices import Slice, collect

COLUMNS, SHARDING, ITEM_SHARDS = InteractionColumns(), Sharding(3, 3), 4


def catalogue(ids):
    vectors = np.arange(len(ids) * 2, dtype=np.float32).reshape(-1, 2) + 1
    present = np.arange(len(ids)) % 3 > 0
    tables = [
        EmbeddingTable(pa.array(ids), vectors * scale, has, texts, EmbeddingMetadata(kind, "test", "1", "mean", 2))
        for kind, scale, has, texts in (
            ("semantic", 1, present, pa.array([f"Item {i}" for i in ids], pa.large_string())),
            ("collaborative", 10, ~present | (np.arange(len(ids)) % 2 > 0), None),
        )
    ]
    return join_embedding_tables(*tables)


def log(rows):
    users, items = zip(*rows, strict=True)
    return pa.table({"user_id": users, "item_id": items, "timestamp": pa.array(range(len(rows)))})


def test_each_pair_of_user_shard_and_item_is_asked_for_once_at_the_items_shard():
    table = log([(f"u{n % 9}", f"i{n % 7}") for n in range(500)])
    asked = dict(ask_for_items(table, COLUMNS, SHARDING, ITEM_SHARDS))
    pairs = []
    for shard, wanted in asked.items():
        assert (item_shard(wanted["item_id"].combine_chunks(), ITEM_SHARDS) == shard).all()
        pairs += zip(wanted["user_shard"].to_pylist(), wanted["item_id"].to_pylist(), strict=True)
    needed = set(zip(user_shard(table["user_id"], SHARDING).tolist(), table["item_id"].to_pylist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == needed


def test_items_are_answered_once_whoever_asked_how_often_and_unknown_ones_not_at_all():
    known = catalogue(["a", "b", "c"])
    asked = pa.table({"user_shard": [1, 0, 1, 1, 0], "item_id": ["c", "a", "c", "nobody", "b"]})
    answers = dict(answer(asked, known))
    assert {shard: table["item_id"].to_pylist() for shard, table in answers.items()} == {0: ["a", "b"], 1: ["c"]}
    assert answers[1]["semantic"].to_pylist() == [[5, 6]]
    assert dict(answer(asked.slice(3, 1), known)) == {}


def test_a_shard_that_was_told_nothing_looks_up_everything_in_vain():
    nothing = collect_joined_items([], pa.string(), (3, 2))
    found = nothing.take(nothing.lookup(pa.array(["x", "y"])))
    assert found.collaborative.shape == (2, 3)
    assert not found.has_semantic.any()
    assert collect_joined_items([], pa.int32(), (3, 2)).lookup(pa.array([1], pa.int64())).tolist() == [-1]


@pytest.mark.parametrize("shuffle", ["claim-check", "bytes"])
@pytest.mark.parametrize("integer", [False, True])
def test_every_user_shard_gets_the_vectors_of_its_items_to_the_bit(shuffle, integer, tmp_path):
    ids = [3 * n if integer else f"i{n}" for n in range(20)]
    whole = catalogue(ids)
    (tmp_path / "catalogue").mkdir()
    write_in_item_shards(whole, str(tmp_path / "catalogue"), ITEM_SHARDS)
    generator = np.random.default_rng(0)
    rows = [(f"u{generator.integers(9)}", ids[generator.integers(15)]) for _ in range(60)]
    rows += [("u1", 1 if integer else "nobody")]
    tables = [log(rows[:30]), log(rows[30:])]
    if integer:
        tables = [table.set_column(1, "item_id", table["item_id"].cast(pa.int32())) for table in tables]

    def check(fetched):
        shards: dict[int, list[Slice]] = {}
        for shard, part in fetched:
            shards.setdefault(shard, []).append(part)
        for shard, parts in shards.items():
            own = collect_joined_items(parts, tables[0]["item_id"].type, (2, 2))
            mine = [table.filter(pa.array(user_shard(table["user_id"], SHARDING) == shard)) for table in tables]
            needed = pa.chunked_array([chunk for table in mine for chunk in table["item_id"].chunks]).unique()
            expected, found = whole.take(whole.lookup(needed)), own.take(own.lookup(needed))
            known = expected.has_collaborative | expected.has_semantic
            for name in ("collaborative", "semantic", "has_collaborative", "has_semantic"):
                assert np.array_equal(getattr(found, name)[known], getattr(expected, name)[known])
            assert not (found.has_collaborative | found.has_semantic)[~known].any()
            assert len(own.item_ids) == known.sum() == sum(len(collect([part])) for part in parts)
        assert set(shards) == {0, 1, 2}

    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        directory = AsSingleton(pipeline | "Directory" >> beam.Create([str(tmp_path / "catalogue")]))
        fetch = FetchVectors(COLUMNS, SHARDING, ITEM_SHARDS, shuffle, StagingPaths(str(tmp_path)), directory)
        assert_that(pipeline | beam.Create(list(enumerate(tables))) | fetch, check)


def test_the_items_without_their_vectors_are_one_table_beside_the_shards(tmp_path):
    whole = catalogue([f"i{n}" for n in range(6)])
    write_in_item_shards(whole, str(tmp_path), 20)  # some shards hold nothing
    items = open_items(str(tmp_path))
    assert items.item_ids.equals(whole.item_ids)
    assert items.texts.equals(whole.texts)
    assert items.borrowed.tolist() == whole.borrowed.tolist()
    assert items.vectors.has_semantic.tolist() == whole.vectors.has_semantic.tolist()
    assert items.vectors.semantic.shape == (6, 0)
    assert items.description == whole.description
    assert items.index is not None
    assert items.lookup(pa.array(["i5", "who?", "i0"])).tolist() == [5, -1, 0]
