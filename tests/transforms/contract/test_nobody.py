import pyarrow as pa
import pytest

from iadsr.transforms.contract.nobody import is_nobody


@pytest.mark.parametrize(
    "text", ["nan", "NaN", "None", "NULL", " null ", "", "\u00a0 ", "undefined", "N/A", "-1", "\\N", "<NA>", "0" * 32]
)
def test_texts_that_programs_write_for_no_user_are_nobody(text):
    ids = pa.chunked_array([[text, "u1"], ["nancy", "0", None]], pa.string())
    assert is_nobody(ids).tolist() == [True, False, False, False, True]


def test_text_that_is_not_utf8_is_somebody():
    values = pa.array([b"\xff", b" NULL ", b"u1", None], pa.binary())
    ids = pa.Array.from_buffers(pa.string(), 4, values.buffers())
    assert is_nobody(ids).tolist() == [False, True, False, True]


def test_a_nil_uuid_is_nobody_and_another_is_not():
    nil = "00000000-0000-0000-0000-000000000000"
    ids = pa.array([nil, nil[:-1] + "1", f"{{{nil}}}"], pa.large_string())
    assert is_nobody(ids).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([-1, 0, 1, -2, None, -(2**63)], pa.int64()), [True, False, False, False, True, True]),
        (pa.array([-1, 0, 1], pa.int8()), [True, False, False]),
        (pa.array([2**64 - 1, 2**63, 0], pa.uint64()), [True, False, False]),
        (pa.array([2**32 - 1, 0], pa.uint32()), [False, False]),
    ],
)
def test_codes_of_missing_integers_are_nobody_and_zero_is_a_user(ids, expected):
    assert is_nobody(ids).tolist() == expected
