import hashlib
import json
import os
import resource
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from iadsr.models.core.errors import ArtifactError
from iadsr.transforms.items.embedding_files import read_embeddings, read_metadata, write_embeddings
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable, fingerprint

METADATA = EmbeddingMetadata("semantic", "minilm", "0.1.0", "mean", 3, ("title",))
FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


def assert_equal(left: EmbeddingTable, right: EmbeddingTable) -> None:
    assert left.item_ids.equals(right.item_ids)
    assert left.vectors.dtype == np.float32
    np.testing.assert_array_equal(left.vectors, right.vectors)
    np.testing.assert_array_equal(left.present, right.present)
    assert (left.texts is None) == (right.texts is None)
    assert left.texts is None or left.texts.equals(right.texts)
    assert left.metadata == right.metadata


@st.composite
def tables(draw):
    ids = draw(
        st.one_of(
            st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=12, unique=True),
            st.lists(st.text(max_size=5), min_size=1, max_size=12, unique=True),
        )
    )
    dimension = draw(st.integers(1, 5))
    vectors = draw(hnp.arrays(np.float32, (len(ids), dimension), elements=FINITE))
    vectors[0, 0] = 1  # a table without any vector is refused
    texts = draw(st.none() | st.lists(st.none() | st.text(), min_size=len(ids), max_size=len(ids)))
    metadata = EmbeddingMetadata(
        "semantic", draw(st.text(max_size=4)), draw(st.text(max_size=4)), "mean", dimension, ("title", "höhe")
    )
    return EmbeddingTable(
        pa.array(ids, pa.int64() if isinstance(ids[0], int) else pa.string()),
        vectors,
        vectors.any(axis=1),
        None if texts is None else pa.array(texts, pa.large_string()),
        metadata,
    )


@given(table=tables(), rows_per_file=st.integers(1, 5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path_factory, table, rows_per_file):
    directory = tmp_path_factory.mktemp("table")
    paths = write_embeddings(table, str(directory), rows_per_file=rows_per_file)
    assert len(paths) == -(-len(table) // rows_per_file)
    read = read_embeddings(str(directory))
    assert_equal(read, table)
    assert fingerprint(read) == fingerprint(table)


def test_files_have_the_columns_and_metadata_of_the_contract(tmp_path, table_of):
    write_embeddings(table_of(["a", "b"], absent=[1]), str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]
    arrow = pq.read_table(tmp_path / "part-00000.parquet")
    assert arrow.column_names == ["item_id", "embedding", "text"]
    type_ = arrow.schema.field("embedding").type
    assert pa.types.is_fixed_size_list(type_)
    assert (type_.list_size, type_.value_type) == (3, pa.float32())
    assert arrow["embedding"].to_pylist() == [[1, 2, 3], [0, 0, 0]]
    assert arrow["text"].to_pylist() == ["text a", None]
    metadata = json.loads(arrow.schema.metadata[b"iadsr"])
    assert EmbeddingMetadata.from_dict(metadata) == METADATA
    assert (metadata["part"], metadata["parts"]) == (0, 1)


def test_absent_vectors_are_stored_as_zeros_even_if_the_array_holds_others(tmp_path, table_of):
    table = table_of([1, 2])
    table = replace(table, present=np.array([True, False]))
    write_embeddings(table, str(tmp_path))
    read = read_embeddings(str(tmp_path))
    np.testing.assert_array_equal(read.present, [True, False])
    assert not read.vectors[1].any()
    assert fingerprint(read) == fingerprint(table)


def test_equal_tables_give_equal_bytes(tmp_path, table_of):
    for name in ("one", "two"):
        write_embeddings(table_of(list(range(50))), str(tmp_path / name))
    one, two = (
        hashlib.sha256((tmp_path / name / "part-00000.parquet").read_bytes()).digest() for name in ("one", "two")
    )
    assert one == two


def test_a_shorter_table_removes_the_parts_of_a_longer_one(tmp_path, table_of):
    (tmp_path / "notes.txt").write_text("mine")
    write_embeddings(table_of(list(range(6))), str(tmp_path), rows_per_file=2)
    write_embeddings(table_of([7, 8]), str(tmp_path), rows_per_file=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "part-00000.parquet"]
    assert read_embeddings(str(tmp_path)).item_ids.to_pylist() == [7, 8]


def test_two_tables_of_one_encoder_can_be_read_as_one(tmp_path, table_of):
    write_embeddings(table_of([1, 2]), str(tmp_path / "films"))
    write_embeddings(table_of([3]), str(tmp_path / "series"))
    assert read_embeddings(str(tmp_path)).item_ids.to_pylist() == [1, 2, 3]


def test_metadata_is_read_without_the_vectors(tmp_path, table_of, write_raw):
    write_embeddings(table_of([1, 2]), str(tmp_path / "ints"))
    assert read_metadata(str(tmp_path / "ints")) == (METADATA, pa.int64())
    path = write_raw(tmp_path / "mine.parquet", {"item_id": ["a", "b"], "embedding": [[1.0, 2.0], [3.0, 4.0]]})
    metadata, type_ = read_metadata(path)
    assert (metadata.encoder, metadata.dimension, type_) == ("unknown", 2, pa.string())
    with pytest.raises(ArtifactError, match="holds semantic embeddings"):
        read_metadata(str(tmp_path / "ints"), kind="collaborative")


def test_files_without_rows_need_no_columns(tmp_path, write_raw):
    write_raw(tmp_path / "a.parquet", {})
    write_raw(tmp_path / "b.parquet", {"item_id": pa.nulls(0), "embedding": pa.nulls(0)})
    write_raw(tmp_path / "c.parquet", {"item_id": [7], "embedding": [[1.0, 2.0]]})
    assert read_embeddings(str(tmp_path)).item_ids.equals(pa.array([7]))
    metadata, item_type = read_metadata(str(tmp_path))
    assert (metadata.dimension, item_type) == (2, pa.int64())


def test_a_table_may_have_more_files_than_may_be_open(tmp_path):
    vectors = np.arange(1, 121, dtype=np.float32).reshape(60, 2)
    for number, vector in enumerate(vectors):
        lists = pa.array([vector.tolist()], pa.list_(pa.float32()))
        pq.write_table(pa.table({"item_id": [number], "embedding": lists}), tmp_path / f"{number:02d}.parquet")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")), default=0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, limits[1]))
    try:
        np.testing.assert_array_equal(read_embeddings(str(tmp_path)).vectors, vectors)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
