import random

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract.hashing import hash_values
from iadsr.transforms.contract.sharding import Sharding, split_by_shard, user_shard
from iadsr.transforms.files.run_paths import StagingPaths
from iadsr.transforms.shuffle.slices import SliceByUserShard, collect


def test_no_shard_cuts_a_cell():
    ids = pa.chunked_array([pa.array([f"u{i}" for i in range(200)])])
    cell = user_shard(ids, Sharding(8, 8))
    shard = user_shard(ids, Sharding(3, 8))
    assert set(zip(cell.tolist(), shard.tolist(), strict=True)) == {(number, number % 3) for number in range(8)}


def test_the_hash_is_the_same_in_every_release():
    # Shards decide file contents: a change here is a change of every output.
    strings = pa.chunked_array([["u1", "u2", "", "ü", "a long user id"]])
    assert user_shard(strings, Sharding(1000, 1000)).tolist() == [430, 742, 535, 725, 824]
    for integer in (pa.int8(), pa.int64()):
        assert user_shard(pa.chunked_array([pa.array([0, 1, -1], integer)]), Sharding(1000, 1000)).tolist() == [
            535,
            465,
            936,
        ]


@given(st.lists(st.text(max_size=6), min_size=1), st.integers(0, 5))
def test_a_users_shard_depends_on_nothing_but_the_id(ids, start):
    whole = user_shard(pa.chunked_array([ids]), Sharding(7, 7))
    sliced = pa.array(ids).slice(min(start, len(ids) - 1))
    chunks = pa.chunked_array([sliced, pa.array(ids, pa.string())])
    found = user_shard(chunks, Sharding(7, 7))
    assert found.tolist() == [*whole[len(ids) - len(sliced) :], *whole]


def test_strings_spread_evenly_and_anagrams_differ():
    ids = pa.array([f"user-{n}" for n in range(20_000)])
    counts = np.bincount((hash_values(ids) % np.uint64(16)).astype(int), minlength=16)
    assert counts.min() > 1100
    assert counts.max() < 1400
    assert len(np.unique(hash_values(pa.array(["ab", "ba", "a", "b", "", "aa"])))) == 6


def test_slices_hold_all_rows_and_only_their_own_bytes():
    table = pa.table({"user_id": [f"u{n}" for n in range(10_000)], "n": range(10_000), "pad": ["x" * 50] * 10_000})
    parts = dict(split_by_shard(table, "user_id", Sharding(8, 8)))
    assert sum(len(part) for part in parts.values()) == 10_000
    assert parts[3].nbytes < 1.5 * table.nbytes / 8


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
