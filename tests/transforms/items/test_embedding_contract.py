from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.core.errors import ArtifactError, IadsrError, InputError
from iadsr.transforms.items.embedding_files import read_embeddings, write_embeddings
from iadsr.transforms.items.embedding_table import EmbeddingMetadata

METADATA = EmbeddingMetadata("semantic", "minilm", "0.1.0", "mean", 3, ("title",))
VECTORS = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))


@pytest.mark.parametrize(
    "vectors",
    [
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float64())),
        pa.array([[1, 2], None, [3, 4]], pa.large_list(pa.float32())),
        pa.array([[1, 2], [0, 0], [3, 4]], pa.list_(pa.float16(), 2)),
    ],
    ids=["list of double", "large list", "half precision"],
)
def test_vectors_of_other_programs_are_read(tmp_path, vectors, write_raw):
    ids = pa.array(["a", "b", "a2"]).dictionary_encode()
    path = write_raw(tmp_path / "mine.parquet", {"embedding": vectors, "item_id": ids, "extra": [1, 2, 3]})
    table = read_embeddings(path)
    assert table.item_ids.equals(pa.array(["a", "b", "a2"]))
    np.testing.assert_array_equal(table.vectors, np.array([[1, 2], [0, 0], [3, 4]], np.float32))
    np.testing.assert_array_equal(table.present, [True, False, True])
    assert table.texts is None
    assert table.metadata == EmbeddingMetadata("semantic", "unknown", "unknown", "unknown", 2)
    assert read_embeddings(path, kind="collaborative").metadata.kind == "collaborative"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1, 2], "embedding": VECTORS}, "column 'item_id' is missing"),
        ({"item_id": [1, 2], "vector": VECTORS}, "column 'embedding' is missing"),
        ({"item_id": [1, 2], "embedding": [1.0, 2.0]}, "cannot hold vectors"),
        ({"item_id": [1, 2], "embedding": [[1, 2], [3, 4]]}, "cannot hold vectors"),
        ({"item_id": [1.5, 2.5], "embedding": VECTORS}, "cannot hold item ids"),
        ({"item_id": [1, None], "embedding": VECTORS}, "1 unusable item ids"),
        ({"item_id": [7, 7], "embedding": VECTORS}, "item 7 in 2 rows"),
        ({"item_id": [1, 2], "embedding": [[1.0, 2.0], [3.0]]}, "of item 2 is not a usable vector"),
        ({"item_id": [1, 2], "embedding": [[1.0, 2.0], [3.0, None]]}, "a null among its values"),
        ({"item_id": [1, 2], "embedding": [[1.0, 2.0], [3.0, float("nan")]]}, "NaN or infinity"),
        ({"item_id": [1, 2], "embedding": [[1.0, 2.0], [3.0, 1e300]]}, "NaN or infinity"),
        ({"item_id": [1, 2], "embedding": pa.array([None, None], pa.list_(pa.float32()))}, "no item with a vector"),
        ({"item_id": [1, 2], "embedding": VECTORS, "text": [[1], [2]]}, "cannot hold text"),
    ],
)
def test_files_that_break_the_contract_are_refused(tmp_path, columns, message, write_raw):
    path = write_raw(tmp_path / "bad.parquet", columns)
    with pytest.raises(IadsrError, match=message) as error:
        read_embeddings(path)
    assert "bad.parquet" in str(error.value)


def test_a_null_fixed_size_list_is_explained(tmp_path, write_raw):
    # pyarrow can write them but not read them. If a new pyarrow can, this test fails, and nulls can replace our zeros.
    path = write_raw(
        tmp_path / "null.parquet", {"item_id": [1, 2], "embedding": pa.array([[1, 2], None], pa.list_(pa.float32(), 2))}
    )
    with pytest.raises(ArtifactError, match="leave out the items without a vector"):
        read_embeddings(path)


def test_empty_missing_and_damaged_files_are_refused(tmp_path, table_of, write_raw):
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


def test_a_damaged_page_is_refused(tmp_path, table_of):
    write_embeddings(table_of(["a", "b"], texts=True), str(tmp_path))
    path = tmp_path / "part-00000.parquet"
    data = bytearray(path.read_bytes())
    data[4:40] = bytes(36)
    path.write_bytes(data)
    with pytest.raises(IadsrError, match=r"part-00000\.parquet"):
        read_embeddings(str(tmp_path))


def test_files_that_do_not_belong_together_are_refused(tmp_path, table_of, write_raw):
    write_embeddings(table_of([1, 2]), str(tmp_path / "a"))
    write_embeddings(table_of([3], dimension=4), str(tmp_path / "b"))
    with pytest.raises(ArtifactError, match="another length") as error:
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


def test_missing_and_mixed_parts_are_found(tmp_path, table_of):
    write_embeddings(table_of(list(range(6))), str(tmp_path), rows_per_file=2)
    (tmp_path / "part-00001.parquet").unlink()
    with pytest.raises(ArtifactError, match="2 of 3 parts"):
        read_embeddings(str(tmp_path))


def test_damaged_and_contradictory_metadata_is_refused(tmp_path, write_raw):
    columns = {"item_id": [1, 2], "embedding": VECTORS}
    for metadata in (b"{", b"[]", {"kind": "semantic"}, METADATA.to_dict() | {"kind": "acoustic"}):
        with pytest.raises(ArtifactError, match="metadata is damaged"):
            read_embeddings(write_raw(tmp_path / "bad.parquet", columns, metadata))
    with pytest.raises(ArtifactError, match="the metadata and the column 'embedding' disagree"):
        read_embeddings(write_raw(tmp_path / "bad.parquet", columns, METADATA.to_dict()))


def test_the_other_kind_is_refused(tmp_path, table_of):
    collaborative = EmbeddingMetadata("collaborative", "gru4rec", "f00", "none", 3)
    write_embeddings(table_of([1], metadata=collaborative), str(tmp_path))
    with pytest.raises(ArtifactError, match="holds collaborative embeddings") as error:
        read_embeddings(str(tmp_path))
    assert error.value.found == "collaborative vectors of gru4rec (revision f00, 3 dimensions)"
    assert read_embeddings(str(tmp_path), kind="collaborative").metadata == collaborative
