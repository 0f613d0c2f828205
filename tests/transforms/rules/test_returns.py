import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.rules.duplicates import Duplicates
from iadsr.transforms.rules.repeats import Repeats
from iadsr.transforms.rules.returns import Returns, taken_behaviours
from iadsr.transforms.rules.rule import RuleInput
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.rules.rule_set import make_rules

from .conftest import BEHAVIOURS, COLUMNS, found, ordered_log

RULE = Returns("event", ("cancel", "return"))


def test_a_return_takes_the_latest_interaction_that_is_still_there(shard):
    rows = [
        ("u", "a", 0, "buy"),
        ("u", "a", 1, "buy"),
        ("u", "b", 2, "buy"),
        ("u", "a", 3, "cancel"),
        ("u", "a", 4, "return"),
        ("u", "a", 5, "return"),
        ("u", "a", 6, "buy"),
        ("v", "a", 7, "buy"),
    ]
    assert found(RULE, shard(rows, "event")) == [0, 1, 3, 4, 5]


def test_no_return_no_effect(shard):
    assert found(RULE, shard([("u", "a", 0, "buy"), ("u", "a", 1, None)], "event")) == []


def test_numbers_and_flags_can_say_it_too(shard):
    rows = [("u", "a", 0, 1), ("u", "a", 1, -1)]
    assert found(Returns("event", ("-1",)), shard(rows, "event")) == [0, 1]
    rows = [("u", "a", 0, False), ("u", "a", 1, True)]
    assert found(Returns("event", ("true",)), shard(rows, "event")) == [0, 1]


@given(st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from("ab"), st.booleans()), min_size=1, max_size=30))
def test_it_is_the_same_as_one_event_after_the_other(events):
    rows = [(user, item, second, "return" if back else "buy") for second, (user, item, back) in enumerate(events)]
    ordered, clock = ordered_log(rows, "event")
    view = RuleInput(ordered, COLUMNS, clock, np.ones(len(rows), bool))
    bought: dict[tuple[str, str], list[int]] = {}
    taken = set()
    for row, event in enumerate(ordered.table.to_pylist()):
        stack = bought.setdefault((event["user_id"], event["item_id"]), [])
        if event["event"] == "buy":
            stack.append(row)
        else:
            taken.add(row)
            if stack:
                taken.add(stack.pop())
    assert found(RULE, view) == sorted(taken)


def test_with_behaviours_an_event_takes_back_the_one_that_it_names(shard):
    rows = [
        ("u", "a", 0, "view"),
        ("u", "a", 1, "cart"),
        ("u", "a", 2, "remove"),
        ("u", "a", 3, "cart"),
        ("u", "a", 4, "buy"),
        ("u", "a", 5, "view"),
        ("u", "a", 6, "return"),
        ("u", "a", 7, "return"),
    ]
    rule = Returns("event", ("return=buy", "remove=cart"))
    assert found(rule, shard(rows, "event", columns=BEHAVIOURS)) == [1, 2, 4, 6, 7]


def test_an_event_need_not_name_the_only_behaviour_and_must_name_one_of_several():
    alone = InteractionColumns(behaviour="event", behaviours=("buy",))
    assert taken_behaviours(("a=b", "return", "x=buy"), alone) == {"a=b": "buy", "return": "buy", "x": "buy"}
    assert taken_behaviours(("a=b",), InteractionColumns(behaviour="event")) == {"a=b": None}
    for event in ("return", "return=gift", "=buy"):
        with pytest.raises(ValueError, match=event):
            taken_behaviours((event,), BEHAVIOURS)


CANCEL = Returns("kind", ("cancel",))


@pytest.mark.parametrize("rule", [Duplicates(returns=CANCEL), Repeats("drop", returns=CANCEL)])
def test_a_cancellation_repeats_nothing_but_another_cancellation(shard, rule):
    events = [("a", 0, "buy"), ("a", 0, "cancel"), ("a", 0, "cancel"), ("b", 9, "buy"), ("b", 9, "buy")]
    view = shard([("u", *event) for event in events], "kind")
    kinds = view.ordered.table["kind"].to_pylist()
    assert [kinds[row] for row in found(rule, view)] == ["cancel", "buy"]
    assert [kinds[row] for row in found(dataclasses.replace(rule, returns=None), view)] == ["cancel", "cancel", "buy"]


def test_what_is_cancelled_at_once_is_returned(shard):
    view = shard([("u", "a", 0, "buy"), ("u", "a", 0, "cancel"), ("u", "b", 9, "buy")], "kind")
    options = RuleOptions(returned_column="kind", returned_values=("cancel",), repeats="drop")
    for rule in make_rules(options, "item_id", pa.string()).rules:
        taken = rule.find(view)
        assert np.flatnonzero(taken).tolist() == ([0, 1] if isinstance(rule, Returns) else []), rule
        view = view.without(taken)
