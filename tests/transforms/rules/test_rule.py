import dataclasses
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from iadsr.transforms.rules.bursts import Bursts
from iadsr.transforms.rules.duplicates import Duplicates
from iadsr.transforms.rules.non_items import NonItems
from iadsr.transforms.rules.returns import Returns
from iadsr.transforms.rules.rule import is_number, occurs_in, shows_seconds
from iadsr.transforms.rules.value_bounds import ValueBounds

from .conftest import found

LOG = [("u", "a", 0, 1), ("u", "b", 1, 2), ("v", "a", 2, 3)]


def test_a_rule_sees_open_interactions_only(shard):
    view = shard(LOG, "n", taken=(0,))
    assert view.users.tolist() == [0, 1]
    assert view.items.tolist() == [1, 0]
    assert view.seconds.tolist() == [1, 2]
    assert view.offsets.tolist() == [0, 1, 2]
    assert view.column("n").to_pylist() == [2, 3]
    assert view.spread(np.array([False, True])).tolist() == [False, False, True]
    assert view.spread_users(np.array([True, False])).tolist() == [False, True, False]


def test_parameters_are_recorded_without_what_is_large():
    assert Bursts().parameters == {"mode": "count", "min_interactions": 20}
    assert NonItems(np.zeros(3, np.uint64)).parameters == {}


def test_a_clock_of_ranks_shows_no_seconds(shard):
    assert shows_seconds(shard(LOG, "n").clock)
    assert not shows_seconds(shard(LOG, "n", start=0).clock)


def test_values_are_found_among_texts_numbers_and_flags():
    assert occurs_in(pa.array(["a", None, "b"]), ("b",)).tolist() == [False, False, True]
    assert occurs_in(pa.array([1, None, 2]), ("2.0",)).tolist() == [False, False, True]
    assert occurs_in(pa.array([True, None, False]), ("True",)).tolist() == [True, False, False]
    assert occurs_in(pa.array(["a", "b"]).dictionary_encode(), ("a",)).tolist() == [True, False]
    assert occurs_in(pa.array([True, None, False]), ("1",)).tolist() == [True, False, False]
    prices = pa.array(["1.00", None, "2.50"]).cast(pa.decimal128(5, 2))
    assert occurs_in(prices, ("2.5", "1")).tolist() == [True, False, True]
    assert occurs_in(pa.array([b"cancel", None, b"\xff"]), ("cancel",)).tolist() == [True, False, False]


def test_large_integers_are_not_taken_for_others():
    values = pa.array([2**63 + 5, 2**63 + 6, None, 1], pa.uint64())
    assert occurs_in(values, (str(2**63 + 6), "1.0", "-1", "1e30", "0.5")).tolist() == [False, True, False, True]


CODES = {
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16, b"a" * 16, None, b"b" * 16], pa.binary(16))),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1", "1", None, "2"])),
    "flags": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 1, None, 0], pa.int8())),
    "bytes": pa.array([b"1", b"1", None, b"2"], pa.binary(1)),
    "half": pa.array(np.array([1, 1, np.nan, 2], np.float16)),
    "decimal": pa.array([Decimal(1), Decimal(1), None, Decimal(2)], pa.decimal32(5, 2)),
    "large": pa.array([2**63 - 1, 2**63 - 1, None, 2**63 - 2], pa.int64()),
    "days": pa.array([1, 1, None, 2], pa.date32()),
    "durations": pa.array([1, 1, None, 2], pa.duration("s")),
    "nothing": pa.nulls(4),
}


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("taken", [(), (3,)])
def test_rules_read_columns_of_all_types(shard, name, taken):
    values = CODES[name]
    view = shard([("u", "a", 0), ("u", "b", 1), ("u", "c", 2), ("u", "d", 3)], taken=taken)
    table = view.ordered.table.append_column("code", values)
    view = dataclasses.replace(view, ordered=view.ordered._replace(table=table))
    assert found(Duplicates("drop", "code"), view) == ([] if name == "nothing" else [1])
    once = found(Returns("code", ("1",)), view)
    assert once == ([0, 1] if name in ("json", "flags", "bytes", "half", "decimal", "durations") else [])
    if is_number(values.type):
        assert found(ValueBounds("code", 1.5), view)[:2] == ([2] if name == "large" else [0, 1])


@pytest.mark.parametrize("worked_out", [(), ("users", "items", "time", "seconds"), ("seconds",)])
def test_the_next_rule_sees_what_is_left(shard, worked_out):
    rows = [("u", "a", 0), ("u", "b", 5), ("u", "c", 9), ("v", "a", 3), ("v", "c", 7)]
    view, expected = shard(rows, taken=(1,)), shard(rows, taken=(1, 2, 3))
    for name in worked_out:
        getattr(view, name)
    left = view.without(np.array([False, False, True, True, False]))
    for name in ("open", "rows", "users", "items", "time", "seconds", "offsets"):
        assert getattr(left, name).tolist() == getattr(expected, name).tolist(), name
