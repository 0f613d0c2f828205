from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.core.errors import ArtifactError, InputError
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, align, check_fit, fingerprint
from iadsr.transforms.items.item_ids import normalise_item_ids

METADATA = EmbeddingMetadata("semantic", "minilm", "0.1.0", "mean", 3, ("title",))
PINNED_FINGERPRINT = "bf4e3221297fca57c5636eaea7bb71b0bf638f2a008fabc821dbf988109475af"


def test_a_model_and_embeddings_of_another_encoder_do_not_fit():
    check_fit(METADATA, replace(METADATA, text_columns=("name",)), model="m", embeddings="e")
    for other in (
        replace(METADATA, encoder="smollm2"),
        replace(METADATA, revision="0.2.0"),
        replace(METADATA, pooling="last"),
        replace(METADATA, dimension=4),
    ):
        with pytest.raises(ArtifactError, match="do not belong together") as error:
            check_fit(METADATA, other, model="m", embeddings="e")
        assert str(METADATA) in str(error.value)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, 2], pa.int8()), pa.array([1, 2], pa.int64())),
        (pa.chunked_array([[1], [2]], pa.uint64()), pa.array([1, 2], pa.int64())),
        (pa.array(["a"], pa.large_string()), pa.array(["a"])),
        (pa.chunked_array([["a"], ["b"]]).dictionary_encode(), pa.array(["a", "b"])),
        (pa.array([5, 5], pa.int16()).dictionary_encode(), pa.array([5, 5], pa.int64())),
    ],
)
def test_item_ids_are_normalised(column, expected):
    assert normalise_item_ids(column, file="f").equals(expected)


def test_item_ids_beyond_int64_are_refused():
    with pytest.raises(InputError, match="cannot be read as item ids"):
        normalise_item_ids(pa.array([2**63], pa.uint64()), file="f")


def test_fingerprint_changes_with_every_part_but_not_with_the_layout(table_of):
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


def test_fingerprint_is_pinned(table_of):
    assert fingerprint(table_of([1, 2])) == PINNED_FINGERPRINT


def test_vectors_are_aligned_with_other_items(table_of):
    vectors, present = align(table_of(["a", "b", "c"], absent=[1]), pa.array(["c", "x", "b", "a", "c"]))
    assert vectors.tolist() == [[7, 8, 9], [0, 0, 0], [0, 0, 0], [1, 2, 3], [7, 8, 9]]
    assert present.tolist() == [True, False, False, True, True]
