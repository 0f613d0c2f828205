import numpy as np
import pyarrow as pa
import pytest

from iadsr.transforms.items.text_values import holds_text, sample_values, text_values

LATIN = pa.Array.from_buffers(pa.string(), 3, pa.array([b"caf\xe9", b"soap", None], pa.binary()).buffers())


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a", None]), ["a", None]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array([b"a", None]), ["a", None]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([["a", None, " "], [], None]), ["a", None, None]),
        (pa.array([[["a"], ["b", None]], [None]]), ["a, b", None]),
        (pa.array([["a", "b"]], pa.list_(pa.string(), 2)), ["a, b"]),
        (pa.array([[1, 2]]), ["1, 2"]),
        (pa.array([1.5, None]), ["1.5", None]),
        (pa.nulls(2), [None, None]),
        (pa.array([[None], None]), [None, None]),
    ],
)
def test_columns_of_many_types_become_texts(array, expected):
    texts, broken = text_values(pa.chunked_array([array]))
    assert texts.type == pa.large_string()
    assert texts.to_pylist() == expected
    assert not broken.any()


@pytest.mark.parametrize(
    "array",
    [LATIN, LATIN.cast(pa.binary()), pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), LATIN.slice(0, 2))],
)
def test_text_that_is_not_utf8_is_marked_and_its_neighbours_are_kept(array):
    texts, broken = text_values(pa.chunked_array([array, array.slice(0, 0)]))
    assert texts.to_pylist() == [None, "soap", None]
    np.testing.assert_array_equal(broken, [True, False, False])
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), LATIN)
    assert text_values(pa.chunked_array([lists]))[1].tolist() == [True, False]


def test_structs_cannot_be_written_as_text():
    column = pa.chunked_array([pa.array([{"en": "a"}])])
    assert not holds_text(column.type)
    with pytest.raises(pa.ArrowNotImplementedError):
        text_values(column)


def test_samples_are_the_single_values_of_lists():
    assert sample_values(pa.array([["http://a", "http://b"], ["c"]])) == ["http://a", "http://b", "c"]
    assert sample_values(LATIN) == ["caf\ufffd", "soap"]
