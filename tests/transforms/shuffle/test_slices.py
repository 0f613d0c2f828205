import random

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that

from iadsr.transforms.contract.sharding import Sharding, user_shard
from iadsr.transforms.files.run_paths import StagingPaths
from iadsr.transforms.shuffle.slices import SliceByUserShard, collect


@pytest.mark.parametrize("shuffle", ["claim-check", "bytes"])
def test_both_shuffles_bring_every_row_to_its_users_shard_in_input_order(shuffle, tmp_path):
    numbers = list(range(1000))
    random.Random(1).shuffle(numbers)
    whole = pa.table({"user_id": [f"u{n % 37}" for n in numbers], "n": range(1000)})
    splits = [(i, whole.slice(i * 250, 250)) for i in range(4)]

    def check(groups):
        seen = []
        for shard, slices in groups:
            table = collect(slices)
            assert table["n"].to_pylist() == sorted(table["n"].to_pylist()) != []
            assert (user_shard(table["user_id"], Sharding(5, 5)) == shard).all()
            users = table["user_id"].to_pylist()
            for user in set(users):
                rows = [r for u, r in zip(users, table["n"].to_pylist(), strict=True) if u == user]
                assert rows == sorted(rows)
            seen += table["n"].to_pylist()
        assert sorted(seen) == list(range(1000))

    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        cut = SliceByUserShard("user_id", Sharding(5, 5), shuffle, StagingPaths(str(tmp_path)))
        slices = pipeline | beam.Create(splits) | cut
        assert_that(slices | beam.GroupByKey(), check)
    assert bool(list(tmp_path.iterdir())) == (shuffle == "claim-check")
