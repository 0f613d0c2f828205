import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.core.errors import ArtifactError
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable
from iadsr.transforms.items.joined_items import (
    choose_item_shards,
    item_fingerprints,
    join_embedding_tables,
    open_joined_items,
    write_joined_items,
)


def table(kind, ids, vectors, present=None, texts=None) -> EmbeddingTable:
    vectors = np.array(vectors, np.float32)
    return EmbeddingTable(
        item_ids=pa.array(ids),
        vectors=vectors,
        present=np.ones(len(ids), bool) if present is None else np.array(present),
        texts=None if texts is None else pa.array(texts, pa.large_string()),
        metadata=EmbeddingMetadata(kind, "test", "1", "mean", vectors.shape[1]),
    )


SEMANTIC = table(
    "semantic",
    ["new", "b", "a", "mute"],
    [[1, 0.01], [0, 1], [1, 0], [0, 0]],
    present=[True, True, True, False],
    texts=["New thing", "Bee", "Ay", None],
)
COLLABORATIVE = table("collaborative", ["mute", "a", "gone", "b"], [[5, 5], [1, 2], [7, 7], [3, 4]])


def test_the_catalogue_is_the_union_in_ascending_order_of_id():
    catalogue = join_embedding_tables(SEMANTIC, COLLABORATIVE)
    assert catalogue.item_ids.to_pylist() == ["a", "b", "gone", "mute", "new"]
    assert catalogue.vectors.has_semantic.tolist() == [True, True, False, False, True]
    assert catalogue.vectors.has_collaborative.all()
    assert catalogue.borrowed.tolist() == [False, False, False, False, True]
    assert catalogue.texts.to_pylist() == ["Ay", "Bee", None, None, "New thing"]
    assert catalogue.vectors.collaborative[:4].tolist() == [[1, 2], [3, 4], [7, 7], [5, 5]]
    assert catalogue.vectors.semantic[1].tolist() == [0, 1]


def test_a_cold_item_borrows_from_its_nearest_semantic_neighbours():
    borrowed = join_embedding_tables(SEMANTIC, COLLABORATIVE).vectors.collaborative[4]
    toward = [float(borrowed @ v / np.linalg.norm(borrowed) / np.linalg.norm(v)) for v in ([1, 2], [3, 4])]
    assert toward[0] > toward[1]
    assert toward[0] > 0.99


def test_written_and_opened_it_is_the_same(tmp_path):
    catalogue = join_embedding_tables(SEMANTIC, COLLABORATIVE)
    write_joined_items(catalogue, str(tmp_path))
    opened = open_joined_items(str(tmp_path))
    assert opened.item_ids.equals(catalogue.item_ids)
    assert opened.texts.equals(catalogue.texts)
    assert opened.borrowed.tolist() == catalogue.borrowed.tolist()
    assert opened.description == catalogue.description
    for name in ("collaborative", "semantic", "has_collaborative", "has_semantic"):
        assert np.array_equal(getattr(opened.vectors, name), getattr(catalogue.vectors, name))
    assert isinstance(opened.vectors.semantic, np.memmap)


@pytest.mark.parametrize("opened", [False, True])
def test_lookup_and_take_give_nothing_for_an_unknown_item(tmp_path, opened):
    catalogue = join_embedding_tables(SEMANTIC, COLLABORATIVE)
    if opened:
        write_joined_items(catalogue, str(tmp_path))
        catalogue = open_joined_items(str(tmp_path))
    rows = catalogue.lookup(pa.array(["b", "who?", "mute"], pa.large_string()))
    assert rows.tolist() == [1, -1, 3]
    vectors = catalogue.take(rows)
    assert vectors.has_semantic.tolist() == [True, False, False]
    assert vectors.has_collaborative.tolist() == [True, False, True]
    assert vectors.collaborative[2].tolist() == [5, 5]


def test_narrow_integer_ids_of_a_log_find_their_items():
    semantic = table("semantic", [30, 10], [[1, 0], [0, 1]])
    catalogue = join_embedding_tables(semantic, table("collaborative", [10, 20], [[1], [2]]))
    assert catalogue.item_ids.to_pylist() == [10, 20, 30]
    assert catalogue.lookup(pa.array([20, 5], pa.int16())).tolist() == [1, -1]
    with pytest.raises(ArtifactError, match="different types"):
        catalogue.lookup(pa.array(["20"]))


def test_tables_whose_ids_differ_in_type_are_refused():
    with pytest.raises(ArtifactError, match="different types"):
        join_embedding_tables(SEMANTIC, table("collaborative", [1], [[1]]))


def test_the_join_is_chosen_by_the_size_of_the_vectors_and_by_who_asks():
    assert choose_item_shards(None, 64 << 30) is None
    assert choose_item_shards(None, (64 << 30) + 1) == 257
    assert choose_item_shards("shuffle", 1000) == 1
    assert choose_item_shards("broadcast", 1 << 50) is None


def test_fingerprints_are_those_of_the_vectors_and_the_same_each_time():
    items = join_embedding_tables(SEMANTIC, COLLABORATIVE)
    rows = np.array([4, -1, 0, 4, 2])
    found = items.fingerprints(rows)
    assert (found == item_fingerprints(items.take(rows))).all()
    assert (items.fingerprints(rows[::-1]) == found[::-1]).all()
    assert len(np.unique(found, axis=0)) == 4
    moved = table("collaborative", ["mute", "a", "gone", "b"], [[5, 5], [1, 3], [7, 7], [3, 4]])
    later = join_embedding_tables(SEMANTIC, moved)
    changed = (items.fingerprints(np.arange(5)) != later.fingerprints(np.arange(5))).any(1)
    assert changed.tolist() == [True, False, False, False, True]  # the new item borrows from the one that changed
