import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from iadsr.models.core.errors import ArtifactError, IadsrError, InputError
from iadsr.transforms.items.embedding_files import read_embeddings, read_metadata, write_embeddings
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable, fingerprint

METADATA = EmbeddingMetadata("semantic", "minilm", "0.1.0", "mean", 3, ("title",))
PINNED_FINGERPRINT = "bf4e3221297fca57c5636eaea7bb71b0bf638f2a008fabc821dbf988109475af"
FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


def table_of(ids, *, dimension=3, metadata=METADATA, texts=True, absent=()):
    vectors = np.arange(1, len(ids) * dimension + 1, dtype=np.float32).reshape(-1, dimension)
    present = np.array([i not in absent for i in range(len(ids))])
    vectors[~present] = 0
    text = pa.array([f"text {i}" if here else None for i, here in zip(ids, present, strict=True)], pa.large_string())
    return EmbeddingTable(
        pa.array(ids), vectors, present, text if texts else None, replace(metadata, dimension=dimension)
    )


def write_raw(path: Path, columns: dict, metadata: dict | bytes | None = None) -> str:
    table = pa.table(columns)
    if metadata is not None:
        value = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
        table = table.replace_schema_metadata({b"iadsr": value})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return str(path)


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
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path_factory, table, rows_per_file):
    directory = tmp_path_factory.mktemp("table")
    paths = write_embeddings(table, str(directory), rows_per_file=rows_per_file)
    assert len(paths) == -(-len(table) // rows_per_file)
    read = read_embeddings(str(directory))
    assert_equal(read, table)
    assert fingerprint(read) == fingerprint(table)


def test_files_are_what_the_contract_says(tmp_path):
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


def test_absent_vectors_are_stored_as_zeros_whatever_the_array_holds(tmp_path):
    table = table_of([1, 2])
    table = replace(table, present=np.array([True, False]))
    write_embeddings(table, str(tmp_path))
    read = read_embeddings(str(tmp_path))
    np.testing.assert_array_equal(read.present, [True, False])
    assert not read.vectors[1].any()
    assert fingerprint(read) == fingerprint(table)


def test_equal_tables_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_embeddings(table_of(list(range(50))), str(tmp_path / name))
    one, two = (
        hashlib.sha256((tmp_path / name / "part-00000.parquet").read_bytes()).digest() for name in ("one", "two")
    )
    assert one == two


def test_a_shorter_table_removes_the_parts_of_a_longer_one(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_embeddings(table_of(list(range(6))), str(tmp_path), rows_per_file=2)
    write_embeddings(table_of([7, 8]), str(tmp_path), rows_per_file=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "part-00000.parquet"]
    assert read_embeddings(str(tmp_path)).item_ids.to_pylist() == [7, 8]


def test_fingerprint_changes_with_every_part_but_not_with_the_layout():
    table = table_of(["ab", "c", "d"], absent=[2])
    seen = {fingerprint(table)}
    for other in (
        replace(table, item_ids=pa.array(["a", "bc", "d"])),
        replace(table, vectors=table.vectors + np.float32(1)),
        replace(table, present=np.array([True, True, False]) & [True, False, False]),
        replace(table, metadata=replace(METADATA, revision="0.2.0")),
    ):
        seen.add(fingerprint(other))
    assert len(seen) == 5
    sliced = replace(table, item_ids=pa.array(["x", "ab", "c", "d"]).slice(1))
    assert fingerprint(sliced) == fingerprint(table)
    assert fingerprint(replace(table, texts=None)) == fingerprint(table)


def test_fingerprint_is_pinned():
    assert fingerprint(table_of([1, 2])) == PINNED_FINGERPRINT


@pytest.mark.parametrize(
    "vectors",
    [
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float64())),
        pa.array([[1, 2], None, [3, 4]], pa.large_list(pa.float32())),
        pa.array([[1, 2], [0, 0], [3, 4]], pa.list_(pa.float16(), 2)),
    ],
    ids=["list of double", "large list", "half precision"],
)
def test_vectors_made_elsewhere_are_read(tmp_path, vectors):
    ids = pa.array(["a", "b", "a2"]).dictionary_encode()
    path = write_raw(tmp_path / "mine.parquet", {"embedding": vectors, "item_id": ids, "extra": [1, 2, 3]})
    table = read_embeddings(path)
    assert table.item_ids.equals(pa.array(["a", "b", "a2"]))
    np.testing.assert_array_equal(table.vectors, np.array([[1, 2], [0, 0], [3, 4]], np.float32))
    np.testing.assert_array_equal(table.present, [True, False, True])
    assert table.texts is None
    assert table.metadata == EmbeddingMetadata("semantic", "unknown", "unknown", "unknown", 2)
    assert read_embeddings(path, kind="collaborative").metadata.kind == "collaborative"


def test_two_tables_of_one_encoder_can_be_read_as_one(tmp_path):
    write_embeddings(table_of([1, 2]), str(tmp_path / "films"))
    write_embeddings(table_of([3]), str(tmp_path / "series"))
    assert read_embeddings(str(tmp_path)).item_ids.to_pylist() == [1, 2, 3]


VECTORS = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1, 2], "embedding": VECTORS}, "column 'item_id' is missing"),
        ({"item_id": [1, 2], "vector": VECTORS}, "column 'embedding' is missing"),
        ({"item_id": [1, 2], "embedding": [1.0, 2.0]}, "cannot hold vectors"),
        ({"item_id": [1, 2], "embedding": [[1, 2], [3, 4]]}, "cannot hold vectors"),
        ({"item_id": [1.5, 2.5], "embedding": VECTORS}, "cannot hold item ids"),
        ({"item_id": [1, None], "embedding": VECTORS}, "1 null item ids"),
        ({"item_id": [7, 7], "embedding": VECTORS}, "item 7 in 2 rows"),
        ({"item_id": [1, 2], "embedding": [[1.0, 2.0], [3.0]]}, "of item 2 is not a usable vector"),
        ({"item_id": [1, 2], "embedding": [[1.0, 2.0], [3.0, None]]}, "a null among its values"),
        ({"item_id": [1, 2], "embedding": [[1.0, 2.0], [3.0, float("nan")]]}, "NaN or infinity"),
        ({"item_id": [1, 2], "embedding": [[1.0, 2.0], [3.0, 1e300]]}, "NaN or infinity"),
        ({"item_id": [1, 2], "embedding": pa.array([None, None], pa.list_(pa.float32()))}, "no item with a vector"),
        ({"item_id": [1, 2], "embedding": VECTORS, "text": [[1], [2]]}, "cannot hold text"),
    ],
)
def test_files_that_break_the_contract_are_refused(tmp_path, columns, message):
    path = write_raw(tmp_path / "bad.parquet", columns)
    with pytest.raises(IadsrError, match=message) as error:
        read_embeddings(path)
    assert "bad.parquet" in str(error.value)


def test_a_null_fixed_size_list_is_explained(tmp_path):
    # pyarrow writes these and cannot read them; if this test fails because it now can, nulls may replace our zeros.
    path = write_raw(
        tmp_path / "null.parquet", {"item_id": [1, 2], "embedding": pa.array([[1, 2], None], pa.list_(pa.float32(), 2))}
    )
    with pytest.raises(ArtifactError, match="leave out the items without a vector"):
        read_embeddings(path)


def test_empty_missing_and_damaged_files_are_refused(tmp_path):
    empty = {"item_id": pa.array([], pa.int64()), "embedding": pa.array([], pa.list_(pa.float32(), 2))}
    with pytest.raises(ArtifactError, match="no item with a vector"):
        read_embeddings(write_raw(tmp_path / "empty" / "a.parquet", empty))
    with pytest.raises(InputError, match="No file found"):
        read_embeddings(str(tmp_path / "nowhere"))
    write_embeddings(table_of(list(range(9))), str(tmp_path / "cut"))
    path = tmp_path / "cut" / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"part-00000\.parquet"):
        read_embeddings(str(tmp_path / "cut"))


def test_a_damaged_page_is_refused(tmp_path):
    write_embeddings(table_of(["a", "b"], texts=True), str(tmp_path))
    path = tmp_path / "part-00000.parquet"
    data = bytearray(path.read_bytes())
    data[4:40] = bytes(36)
    path.write_bytes(data)
    with pytest.raises(IadsrError, match=r"part-00000\.parquet"):
        read_embeddings(str(tmp_path))


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    write_embeddings(table_of([1, 2]), str(tmp_path / "a"))
    write_embeddings(table_of([3], dimension=4), str(tmp_path / "b"))
    with pytest.raises(ArtifactError, match="vectors of another length") as error:
        read_embeddings(str(tmp_path))
    assert error.value.found == "4 values per vector"
    write_embeddings(table_of([3], metadata=replace(METADATA, encoder="smollm2")), str(tmp_path / "b"))
    with pytest.raises(ArtifactError, match="not made by the same encoder"):
        read_embeddings(str(tmp_path))
    write_raw(tmp_path / "b" / "part-00000.parquet", {"item_id": [3], "embedding": pa.array([[1.0, 2, 3]])})
    with pytest.raises(ArtifactError, match="not made by the same encoder"):
        read_embeddings(str(tmp_path))
    write_embeddings(table_of(["c"]), str(tmp_path / "b"))
    with pytest.raises(ArtifactError, match="different types in different files"):
        read_embeddings(str(tmp_path))
    write_embeddings(table_of([2]), str(tmp_path / "b"))
    with pytest.raises(ArtifactError, match="item 2 in 2 rows"):
        read_embeddings(str(tmp_path))


def test_missing_and_mixed_parts_are_found(tmp_path):
    write_embeddings(table_of(list(range(6))), str(tmp_path), rows_per_file=2)
    (tmp_path / "part-00001.parquet").unlink()
    with pytest.raises(ArtifactError, match="2 of 3 parts"):
        read_embeddings(str(tmp_path))


def test_damaged_and_contradicting_metadata_is_refused(tmp_path):
    columns = {"item_id": [1, 2], "embedding": VECTORS}
    for metadata in (b"{", b"[]", {"kind": "semantic"}, METADATA.to_dict() | {"kind": "acoustic"}):
        with pytest.raises(ArtifactError, match="metadata is damaged"):
            read_embeddings(write_raw(tmp_path / "bad.parquet", columns, metadata))
    with pytest.raises(ArtifactError, match="the metadata and the column 'embedding' disagree"):
        read_embeddings(write_raw(tmp_path / "bad.parquet", columns, METADATA.to_dict()))


def test_the_other_kind_is_refused(tmp_path):
    collaborative = EmbeddingMetadata("collaborative", "gru4rec", "f00", "none", 3)
    write_embeddings(table_of([1], metadata=collaborative), str(tmp_path))
    with pytest.raises(ArtifactError, match="holds collaborative embeddings") as error:
        read_embeddings(str(tmp_path))
    assert error.value.found == "collaborative vectors of gru4rec (revision f00, 3 dimensions)"
    assert read_embeddings(str(tmp_path), kind="collaborative").metadata == collaborative


def test_metadata_is_read_without_the_vectors(tmp_path):
    write_embeddings(table_of([1, 2]), str(tmp_path / "ints"))
    assert read_metadata(str(tmp_path / "ints")) == (METADATA, pa.int64())
    path = write_raw(tmp_path / "mine.parquet", {"item_id": ["a", "b"], "embedding": VECTORS})
    metadata, type_ = read_metadata(path)
    assert (metadata.encoder, metadata.dimension, type_) == ("unknown", 2, pa.string())
    with pytest.raises(ArtifactError, match="holds semantic embeddings"):
        read_metadata(str(tmp_path / "ints"), kind="collaborative")
