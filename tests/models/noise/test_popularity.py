import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.noise.popularity import bucket_edges, popularity_buckets


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60))
def test_buckets_hold_about_the_same_number_of_interactions(counts):
    counts = np.array(counts)
    edges = bucket_edges(counts)
    bucket = np.searchsorted(edges, counts)
    assert len(edges) <= 6
    assert set(bucket) == set(range(len(edges)))
    # The first count that fills a bucket is the last one in it. Without it, the bucket is within its share.
    for number in range(len(edges)):
        members = counts[bucket == number]
        assert members[members < members.max()].sum() <= counts.sum() / 6 + 1e-9


def test_bucket_edges_of_a_simple_log():
    assert bucket_edges(np.array([1] * 6 + [2] * 3 + [6] * 4)).tolist() == [1, 2, 6]


def test_without_items_there_is_no_bucket():
    assert bucket_edges(np.array([], np.int64)).tolist() == []


def test_items_without_interactions_are_in_the_first_bucket():
    counts = np.array([0, 1, 1, 1, 1, 1, 1, 3, 6])
    assert bucket_edges(counts[1:]).tolist() == [1, 3, 6]
    assert popularity_buckets(np.array([0, 1, 7, 8]), counts).tolist() == [0, 0, 1, 2]
