from dataclasses import replace

import pyarrow as pa
import pytest

from iadsr.models.core.errors import ArtifactError, InputError
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, check_fit, normalise_item_ids

METADATA = EmbeddingMetadata("semantic", "minilm", "0.1.0", "mean", 3, ("title",))


def test_check_fit():
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
