"""Properties of reading, shuffling and ordering that hold for logs of every schema, type, order and size."""

import datetime
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iadsr.transforms.contract.columns import ROW, InteractionColumns
from iadsr.transforms.contract.python_values import python_values
from iadsr.transforms.contract.sharding import Sharding, split_by_shard
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.ordering import OrderedShard, order_interactions
from iadsr.transforms.read.read_splits import read_split, row_checksum
from iadsr.transforms.read.timestamps import parse_time
from iadsr.transforms.shuffle.slices import Slice, collect, ship

COLUMNS = InteractionColumns()
SETTINGS = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6)
INTEGERS = {
    type_: st.integers(low, high)
    for type_, low, high in (
        (pa.int8(), -128, 127),
        (pa.uint16(), 0, 2**16 - 1),
        (pa.int32(), -(2**31), 2**31 - 1),
        (pa.int64(), -(2**63), 2**63 - 1),
        (pa.uint64(), 0, 2**63 - 1),
    )
}
IDS = {**INTEGERS, **dict.fromkeys((pa.string(), pa.large_string()), text)}
MOMENTS = st.integers(-(2**62), 2**62)
TIMES = {
    **INTEGERS,
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.string(): st.one_of(st.datetimes().map(datetime.datetime.isoformat), text),
    pa.date32(): st.integers(-(2**31), 2**31 - 1),
    pa.timestamp("ns"): MOMENTS,
    pa.timestamp("us", "UTC"): MOMENTS,
    pa.timestamp("s", "Europe/Berlin"): st.integers(-(2**40), 2**40),
}
CARRIED = {
    **INTEGERS,
    pa.bool_(): st.booleans(),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.binary(): st.binary(max_size=4),
    pa.list_(pa.int32()): st.lists(st.integers(0, 9), max_size=3),
    pa.struct([("a", pa.string()), ("b", pa.int64())]): st.fixed_dictionaries({"a": text, "b": st.integers(0, 9)}),
    pa.dictionary(pa.int32(), pa.string()): text,
    pa.null(): st.none(),
}


@st.composite
def logs(draw, *, nulls: bool = True) -> pa.Table:
    """Draws a table with the required columns, of any usable type, and one more column of nearly any type."""
    rows = draw(st.integers(1, 25))
    columns = {}
    for name, types in (("user_id", IDS), ("item_id", IDS), ("timestamp", TIMES), ("extra", CARRIED)):
        type_ = draw(st.sampled_from(list(types)))
        values = types[type_]
        if name in ("user_id", "item_id"):  # only a few different ids, so that users have several rows
            values = st.sampled_from(draw(st.lists(values, min_size=1, max_size=4)))
        choices = st.one_of(values, values, values, st.none()) if nulls else values
        columns[name] = pa.array(draw(st.lists(choices, min_size=rows, max_size=rows)), type_)
    return pa.table(columns)


def write(directory: Path, table: pa.Table, cuts: list[int], group: int) -> None:
    """Writes a table as several files, cut at the given rows."""
    bounds = [0, *sorted(cut % (len(table) + 1) for cut in cuts), len(table)]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        pq.write_table(table.slice(start, stop - start), directory / f"{number:03d}.parquet", row_group_size=group)


def read(directory: Path):
    """Reads all splits of a directory. Returns the plan, the valid rows and the rejected rows."""
    plan = plan_input(LogSource(str(directory), COLUMNS))
    parts = [read_split(split, COLUMNS, plan.schema) for split in plan.splits]
    return plan, [part.valid for part in parts], pa.concat_tables(part.rejected for part in parts)


def shuffle(tables: list[pa.Table], sharding: Sharding) -> list[OrderedShard]:
    slices: dict[int, list[Slice]] = {}
    for split, table in enumerate(tables):
        if len(table):
            for shard, part in ship(split_by_shard(table, "user_id", sharding), split, "", "bytes"):
                slices.setdefault(shard, []).append(part)
    return [order_interactions(collect(parts), COLUMNS) for _, parts in sorted(slices.items())]


@SETTINGS
@given(log=logs(), cuts=st.lists(st.integers(0, 30), max_size=3), group=st.integers(1, 30))
def test_every_row_comes_out_valid_or_rejected_exactly_once_with_its_values(log, cuts, group):
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory), log, cuts, group)
        plan, valid, rejected = read(Path(directory))
    numbers = pa.chunked_array([table[ROW] for table in valid] or [[]], pa.int64()).to_pylist()
    first = dict(zip(plan.rows_by_file, np.cumsum([0, *plan.rows_by_file.values()]).tolist(), strict=False))
    refused = [
        first[file] + row for file, row in zip(*(rejected[c].to_pylist() for c in ("file", "row_number")), strict=True)
    ]
    assert sorted(numbers + refused) == list(range(len(log)))
    for table in valid:
        for name in log.column_names:
            # Compare text, because NaN is not equal to itself and Python has no times after the year 9999.
            # Cast first, because Parquet stores seconds as milliseconds, and the two are written differently.
            expected = log[name].take(table[ROW]).cast(table[name].type)
            assert str(python_values(table[name])) == str(python_values(expected))
    assert plan.rows == len(log)


@SETTINGS
@given(log=logs(), shards=st.integers(1, 5))
def test_the_shuffle_loses_and_exchanges_no_rows_and_keeps_users_together(log, shards):
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory), log, [7, 15], 4)
        _, valid, _ = read(Path(directory))
    ordered = shuffle(valid, Sharding(shards, 8))
    before = sum(row_checksum(table[ROW]) for table in valid) % 2**64
    assert sum(row_checksum(pa.array(shard.rows)) for shard in ordered) % 2**64 == before
    users = [user for shard in ordered for user in shard.table["user_id"].take(shard.offsets[:-1]).to_pylist()]
    assert len(users) == len(set(users))
    for shard in ordered:
        per_user = np.repeat(np.arange(len(shard.offsets) - 1), np.diff(shard.offsets))
        time = parse_time(shard.table["timestamp"]).to_numpy()
        keys = list(zip(per_user.tolist(), time.tolist(), shard.items.tolist(), shard.rows.tolist(), strict=True))
        assert keys == sorted(keys)


@SETTINGS
@given(
    log=logs(nulls=False),
    order=st.randoms(use_true_random=False),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    shards=st.integers(1, 3),
)
def test_the_order_of_files_and_rows_matters_only_for_ties(log, order, cuts, shards):
    rows = list(range(len(log)))
    order.shuffle(rows)
    results = []
    for table, places in ((log, []), (log.take(rows), cuts)):
        with tempfile.TemporaryDirectory() as directory:
            write(Path(directory), table, places, 5)
            _, valid, _ = read(Path(directory))
        results.append(shuffle(valid, Sharding(shards, 8)))
    first, second = results
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.item_ids.equals(other.item_ids)
        assert np.array_equal(one.offsets, other.offsets)
        assert np.array_equal(one.items, other.items)
        for name in ("user_id", "timestamp"):
            left, right = one.table[name].combine_chunks(), other.table[name].combine_chunks()
            assert parse_time(one.table["timestamp"]).equals(parse_time(other.table["timestamp"]))
            assert left.equals(right) or name == "timestamp"  # the same time may be written in several ways
