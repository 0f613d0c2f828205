import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.transforms.items import hash_index
from iadsr.transforms.items.hash_index import HashIndex

ids = st.one_of(
    st.tuples(st.just(pa.int64()), st.lists(st.integers(-5, 5)), st.lists(st.integers(-5, 5))),
    st.tuples(st.just(pa.string()), st.lists(st.text(max_size=2)), st.lists(st.text(max_size=2))),
)


@settings(max_examples=200)
@given(ids, st.sampled_from([1, 3, (1 << 64) - 1]))
def test_an_index_finds_what_arrow_finds_even_if_hashes_are_the_same(drawn, different_hashes):
    kind, known, wanted = drawn
    item_ids, wanted = pa.array(sorted(set(known)), kind), pa.array(wanted, kind)
    hash_values = hash_index.hash_values
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_index, "hash_values", lambda values: hash_values(values) % np.uint64(different_hashes))
        found = HashIndex.of(item_ids).lookup(wanted, item_ids)
    assert found.tolist() == pc.index_in(wanted, value_set=item_ids).fill_null(-1).to_pylist()
