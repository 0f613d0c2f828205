import pyarrow as pa
import pytest

from iadsr.transforms.contract.arrow_types import one_chunk, plain_type


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (pa.list_(pa.float32(), 2), pa.list_(pa.float32())),
        (pa.list_(pa.list_(pa.float32(), 2)), pa.list_(pa.list_(pa.float32()))),
        (pa.large_list(pa.list_(pa.int8(), 3)), pa.large_list(pa.list_(pa.int8()))),
        (pa.list_(pa.string_view()), pa.list_(pa.large_string())),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), pa.list_(pa.string())),
        (pa.list_view(pa.string_view()), pa.list_view(pa.string_view())),
        (
            pa.struct([("a", pa.string_view()), ("b", pa.int8())]),
            pa.struct([("a", pa.large_string()), ("b", pa.int8())]),
        ),
        (pa.map_(pa.string(), pa.binary_view()), pa.map_(pa.string(), pa.large_binary())),
        (pa.fixed_shape_tensor(pa.float32(), (2,)), pa.list_(pa.float32())),
        (pa.uuid(), pa.uuid()),
        (pa.list_(pa.field("element", pa.string(), nullable=False)), pa.list_(pa.string())),
    ],
)
def test_types_become_plain_at_every_depth(given, plain):
    assert plain_type(given) == plain


def test_a_column_of_one_chunk_is_not_copied():
    array = pa.array([1, 2, 3])
    assert one_chunk(array) is array
    assert one_chunk(pa.chunked_array([array])).buffers()[1].address == array.buffers()[1].address
    assert one_chunk(pa.chunked_array([[1], [2, 3]])).equals(array)
