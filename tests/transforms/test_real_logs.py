"""Reads, shuffles and orders real logs, and compares the result with Arrow's own sort. Skipped without the logs."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.sharding import Sharding, split_by_shard
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.ordering import order_interactions
from iadsr.transforms.read.read_splits import read_split
from iadsr.transforms.shuffle.slices import Slice, collect, write_stream

DATA = Path(os.environ.get("IADSR_DATA", Path(__file__).parents[3] / "shared" / "data"))
COLUMNS = InteractionColumns(position="position")
SHARDS = 3


@pytest.mark.parametrize(
    "name", ["amazon_beauty_2014_5core", "movielens_100k", "online_retail_2011", "complete_journey_2017"]
)
def test_every_row_of_a_real_log_arrives_in_its_users_order(name):
    path = DATA / name / "interactions.parquet"
    if not path.exists():
        pytest.skip("no real logs: set IADSR_DATA to the folder that holds them")
    plan = plan_input(LogSource(str(path), COLUMNS))
    slices: dict[int, list[Slice]] = {shard: [] for shard in range(SHARDS)}
    for split in plan.splits:
        valid, rejected = read_split(split, COLUMNS, plan.schema)
        assert len(rejected) == 0
        for shard, part in split_by_shard(valid, "user_id", Sharding(SHARDS, SHARDS)):
            sink = pa.BufferOutputStream()
            write_stream(part, sink)
            slices[shard].append(Slice(split.index, sink.getvalue().to_pybytes()))
    shards = [order_interactions(collect(parts), COLUMNS) for parts in slices.values()]
    found = pa.concat_tables(shard.table for shard in shards)
    log = pq.read_table(path)
    keys = ["user_id", "timestamp", "position"]
    expected = log.sort_by([(key, "ascending") for key in keys])
    # Users are in different shards, so their order is the log's order only within a shard.
    assert found.select(keys).sort_by([(key, "ascending") for key in keys]).equals(expected.select(keys))
    for shard in shards:
        within = shard.table.select(keys).sort_by([(key, "ascending") for key in keys])
        assert shard.table.select(keys).equals(within)
        assert (np.diff(shard.offsets) > 0).all()
    assert len(found) == plan.rows == len(log)
