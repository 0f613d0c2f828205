from collections import Counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from iadsr.transforms.files.run_paths import StagingPaths
from iadsr.transforms.items.item_counts import CountItems, ItemCounts, read_item_counts


def test_counts_of_all_slices_are_added_up(tmp_path):
    items = ["b", "a", "b", "c", "b", "a"] * 40
    slices = [(i, pa.table({"item_id": items[i::30]})) for i in range(30)]
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        pipeline | beam.Create(slices) | CountItems("item_id", StagingPaths(str(tmp_path)))
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
