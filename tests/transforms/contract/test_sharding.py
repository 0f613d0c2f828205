import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract.sharding import Sharding, split_by_shard, user_shard


def test_no_shard_cuts_a_cell():
    ids = pa.chunked_array([pa.array([f"u{i}" for i in range(200)])])
    cell = user_shard(ids, Sharding(8, 8))
    shard = user_shard(ids, Sharding(3, 8))
    assert set(zip(cell.tolist(), shard.tolist(), strict=True)) == {(number, number % 3) for number in range(8)}


def test_a_users_shard_is_the_same_in_every_release():
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


def test_the_parts_hold_all_rows_and_only_their_own_bytes():
    table = pa.table({"user_id": [f"u{n}" for n in range(10_000)], "n": range(10_000), "pad": ["x" * 50] * 10_000})
    parts = dict(split_by_shard(table, "user_id", Sharding(8, 8)))
    assert sum(len(part) for part in parts.values()) == 10_000
    assert parts[3].nbytes < 1.5 * table.nbytes / 8
