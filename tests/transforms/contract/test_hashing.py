import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract import hashing
from iadsr.transforms.contract.hashing import hash_rows, hash_values

STRINGS = ["u1", "u2", "", "ü", "a long user id"]
PINNED_STRINGS = [
    11572445235350278430,
    7109732923741274742,
    16294208416658607535,
    13337157112427824725,
    15542800334755403824,
]
PINNED_INTEGERS = [16294208416658607535, 10451216379200822465, 16490336266968443936]


def test_hashes_are_the_same_in_every_release():
    # Hashes decide who is in which shard and fold: another value here would change every output.
    assert hash_values(pa.array(STRINGS)).tolist() == PINNED_STRINGS
    assert hash_values(pa.array([0, 1, -1])).tolist() == PINNED_INTEGERS
    assert hash_values(pa.array(STRINGS)).dtype == np.uint64


@pytest.mark.parametrize("type_", [pa.int8(), pa.int32(), pa.uint64()])
def test_the_width_of_integers_does_not_matter(type_):
    assert hash_values(pa.array([0, 1], type_)).tolist() == PINNED_INTEGERS[:2]


@given(st.lists(st.text(max_size=6)), st.integers(0, 5), st.sampled_from([pa.string(), pa.large_string()]))
def test_a_string_has_one_hash_wherever_it_stands(strings, start, type_):
    alone = [hash_values(pa.array([text])).item() for text in strings]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_STRINGS_PER_BLOCK", 3)
        assert hash_values(pa.array(strings, type_).slice(start)).tolist() == alone[start:]


def test_strings_spread_evenly_and_anagrams_differ():
    ids = pa.array([f"user-{n}" for n in range(20_000)])
    counts = np.bincount((hash_values(ids) % np.uint64(16)).astype(int), minlength=16)
    assert counts.min() > 1100
    assert counts.max() < 1400
    assert len(np.unique(hash_values(pa.array(["ab", "ba", "a", "b", "", "aa"])))) == 6


def test_rows_are_told_apart_by_every_column():
    table = pa.table({"user": ["u", "u", "v", "u"], "n": [1, 2, 1, 1], "tags": [["a"], ["a"], ["a"], ["b"]]})
    assert len(set(hash_rows(table).tolist())) == 4
    alone = [hash_rows(table.slice(row, 1)).item() for row in range(4)]
    assert hash_rows(table).tolist() == alone
    assert hash_rows(table).dtype == np.uint64


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(2), pa.dictionary(pa.int8(), pa.binary())])
def test_the_hash_of_bytes_does_not_depend_on_the_other_rows(kind):
    values = [b"aa", b"\xff\xfe", b"bb", None, b"aa"]
    table = pa.table({"blob": pa.array(values, kind.value_type if pa.types.is_dictionary(kind) else kind).cast(kind)})
    together = hash_rows(table).tolist()
    assert together == [hash_rows(table.slice(row, 1)).item() for row in range(5)]
    assert len(set(together)) == 4
    assert together[0] == hash_rows(pa.table({"blob": ["aa"]})).item()


def test_rows_are_told_apart_by_where_a_value_stands_and_where_one_is_missing():
    table = pa.table({"a": ["x", "y", None, "", "x"], "b": ["y", "x", "", None, "y"]})
    hashes = hash_rows(table).tolist()
    assert hashes[0] == hashes[4]
    assert len(set(hashes)) == 4


def test_the_hash_of_a_row_is_the_same_in_every_release_and_for_every_width():
    # It orders rows that tie in everything else: another value here would change what `clean_table` gives.
    narrow = pa.table({"user": ["u1"], "n": pa.array([7], pa.int8())})
    wide = pa.table({"user": pa.array(["u1"], pa.large_string()), "n": pa.array([7], pa.int64())})
    assert hash_rows(narrow).tolist() == hash_rows(wide).tolist() == [3080178304095617538]
