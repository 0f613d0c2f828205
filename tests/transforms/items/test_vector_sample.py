import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.transforms.items.vector_sample import SAMPLED_ITEMS, VectorSample


@pytest.fixture
def items() -> tuple[pa.Array, np.ndarray]:
    rng = np.random.default_rng(0)
    return pa.array([f"i{n}" for n in range(300)]), rng.normal(size=(300, 24)).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    def write(ids, vectors, groups=50) -> str:
        table = pa.table({"item_id": ids, "embedding": list(vectors)})
        pq.write_table(table, tmp_path / "vectors.parquet", row_group_size=groups)
        return str(tmp_path / "vectors.parquet")

    return write


def sample_of(ids, vectors) -> VectorSample:
    return VectorSample.of(ids, vectors, np.ones(len(ids), bool))


def test_a_catalogue_that_grew_or_was_put_in_another_order_has_the_same_vectors(items, write):
    ids, vectors = items
    sample = sample_of(ids.slice(0, 200), vectors[:200])
    order = np.random.default_rng(1).permutation(300)
    assert sample.compare_files(write(ids.take(pa.array(order)), vectors[order])) == (SAMPLED_ITEMS, SAMPLED_ITEMS)


def test_vectors_that_were_rounded_are_the_same(items, write):
    ids, vectors = items
    compared = sample_of(ids, vectors).compare_files(write(ids, vectors.astype(np.float16)))
    assert compared == (SAMPLED_ITEMS, SAMPLED_ITEMS)


def test_other_vectors_of_the_same_length_are_others(items, write):
    ids, vectors = items
    sample = sample_of(ids, vectors)
    for others in (vectors[::-1], vectors[:, ::-1], -vectors, vectors * 2, vectors + 1):
        assert sample.compare_files(write(ids, others)) == (SAMPLED_ITEMS, 0)


def test_items_that_changed_are_counted_and_items_that_are_gone_are_not(items, write):
    ids, vectors = items
    sample = sample_of(ids.slice(0, 10), vectors[:10])
    changed = vectors.copy()
    changed[:3] += 1
    changed[9] = 0
    assert sample.compare_files(write(ids.slice(0, 10), changed[:10])) == (9, 6)
    assert sample.compare_files(write(ids.slice(5, 50), vectors[5:55])) == (5, 5)
    assert sample.compare_files(write(ids.slice(100), vectors[100:])) == (0, 0)


def test_a_sample_survives_as_json(items):
    sample = sample_of(*items)
    again = VectorSample.from_list(json.loads(json.dumps(sample.to_list())))
    np.testing.assert_array_equal(again.hashes, sample.hashes)
    np.testing.assert_array_equal(again.projections, sample.projections)


@pytest.mark.parametrize(
    "values", ["x", [1], ["a:b"], ["zz:" + "0" * 64], ["f" * 17 + ":" + "0" * 64], ["1:" + "z" * 64]]
)
def test_what_is_no_sample_is_refused(values):
    with pytest.raises(ValueError, match=r"."):
        VectorSample.from_list(values)


def test_only_a_few_row_groups_are_read(items, write, monkeypatch):
    ids, vectors = items
    read = []
    original = pq.ParquetFile.read_row_group

    def record(self, group, columns=None):
        read.append(columns)
        return original(self, group, columns=columns)

    path = write(ids, vectors, groups=5)
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", record)
    compared = sample_of(ids, vectors).compare_files(path)
    assert compared.common == compared.same > 16
    # The first of them is read to learn the length of the vectors.
    assert sum("embedding" in columns for columns in read) == 17
