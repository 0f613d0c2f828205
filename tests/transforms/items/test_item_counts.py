from collections import Counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from iadsr.transforms.files.run_paths import StagingPaths
from iadsr.transforms.items.item_counts import CountItems, ItemCounts, read_item_counts


def test_counts_of_all_shards_are_added_up(tmp_path):
    items = ["b", "a", "b", "c", "b", "a"] * 40
    shards = [pc.value_counts(pa.array(items[shard::30])) for shard in range(30)]
    tables = [pa.table({"item_id": counts.field("values"), "count": counts.field("counts")}) for counts in shards]
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        pipeline | beam.Create(tables) | CountItems(StagingPaths(str(tmp_path)))
    counts = read_item_counts(str(tmp_path / "item_counts.arrow"))
    assert counts.item_ids.to_pylist() == ["a", "b", "c"]
    assert dict(zip("abc", counts.counts.tolist(), strict=True)) == Counter(items)
    assert counts.bucket_ranges() == [(40, 40, 1), (80, 80, 1), (120, 120, 1)]
    assert counts.bucket(pa.array(["c", "b", "a"])).tolist() == [0, 2, 1]


def test_an_item_that_was_not_counted_has_no_bucket():
    counts = ItemCounts(pa.array(["a", "b"]), np.array([1, 2]), np.array([1, 2]))
    assert counts.bucket(pa.array(["b", "a"])).tolist() == [1, 0]
    with pytest.raises(ValueError, match="1 of 2 items have not been counted"):
        counts.bucket(pa.array(["a", "c"]))


def test_an_item_of_which_nothing_is_left_is_in_a_bucket_and_in_no_range():
    counts = ItemCounts.of(pa.table({"item_id": ["a", "b", "c"], "count": [0, 3, 1]}))
    assert counts.bucket_ranges() == [(1, 1, 1), (3, 3, 1)]
    assert counts.bucket(pa.array(["a", "b", "c"])).tolist() == [0, 1, 0]


def test_a_log_of_which_nothing_is_left_has_no_buckets():
    counts = ItemCounts.of(pa.table({"item_id": ["a"], "count": [0]}))
    assert (len(counts.edges), counts.bucket_ranges()) == (0, [])
