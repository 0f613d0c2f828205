import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract import hashing
from iadsr.transforms.contract.hashing import hash_values

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
