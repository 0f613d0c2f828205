from collections import Counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.popularity import CountItems, bucket_edges, read_item_counts


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60))
def test_buckets_cover_all_counts_and_none_holds_far_more_than_its_share(counts):
    counts = np.array(counts)
    edges = bucket_edges(counts)
    bucket = np.searchsorted(edges, counts)
    assert len(edges) <= 6
    assert set(bucket) == set(range(len(edges)))
    # A bucket ends with the first distinct count that fills it: without that one it is within its share.
    for number in range(len(edges)):
        members = counts[bucket == number]
        assert members[members < members.max()].sum() <= counts.sum() / 6 + 1e-9


def test_equal_mass_buckets_of_a_plain_case():
    assert bucket_edges(np.array([1] * 6 + [2] * 3 + [6] * 4)).tolist() == [1, 2, 6]


def test_counts_of_all_slices_are_added_up(tmp_path):
    items = ["b", "a", "b", "c", "b", "a"] * 40
    slices = [(i, pa.table({"item_id": items[i::30]})) for i in range(30)]
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        pipeline | beam.Create(slices) | CountItems("item_id", str(tmp_path))
    counts = read_item_counts(str(tmp_path / "item_counts.arrow"))
    assert counts.item_ids.to_pylist() == ["a", "b", "c"]
    assert dict(zip("abc", counts.counts.tolist(), strict=True)) == Counter(items)
    assert counts.bucket_ranges() == [(40, 40, 1), (80, 80, 1), (120, 120, 1)]
    assert counts.bucket(pa.array(["c", "b", "a"])).tolist() == [0, 2, 1]
