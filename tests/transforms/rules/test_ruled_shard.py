import numpy as np

from iadsr.transforms.rules.rule_log import count_open_items
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.rules.rule_set import make_rules
from iadsr.transforms.rules.ruled_shard import (
    RuledShard,
    apply_rules,
    ruled_shard_from_table,
    ruled_shard_to_table,
)

from .conftest import BEHAVIOURS, COLUMNS, ordered_log

ROWS = [("u", "a", 0), ("u", "a", 0), ("u", "a", 5), ("u", "b", 500), ("v", "c", 0), ("v", "c", 0)]


def ruled(options: RuleOptions) -> tuple[RuledShard, tuple[str, ...]]:
    ordered, clock = ordered_log(ROWS)
    rules = make_rules(options, "item_id", ordered.item_ids.type)
    return apply_rules(RuledShard.untouched(ordered), rules, rules.of_shard, COLUMNS, clock), rules.codes


def test_what_a_rule_drops_the_next_ones_do_not_see():
    shard, codes = ruled(RuleOptions(repeats="drop"))
    duplicate, repeat = codes.index("duplicate"), codes.index("repeat")
    assert shard.taken.tolist() == [-1, duplicate, repeat, -1, -1, duplicate]
    assert shard.open.tolist() == [True, False, False, True, True, False]
    assert shard.open_offsets.tolist() == [0, 2, 3]


def test_what_a_rule_counts_stays_open_and_is_remembered():
    shard, codes = ruled(RuleOptions(duplicates="count"))
    assert shard.open.all()
    assert np.flatnonzero(shard.found_by(codes.index("duplicate"))).tolist() == [1, 5]
    assert np.flatnonzero(shard.found_by(codes.index("repeat"))).tolist() == [1, 2, 5]
    assert not shard.found_by(codes.index("burst")).any()


def test_open_interactions_alone_are_a_shard_too():
    shard, _ = ruled(RuleOptions(value_column=None, first_interactions=1))
    alone = shard.evidence_alone()
    assert alone.table.to_pydict()["item_id"] == ["a", "c"]
    assert alone.item_ids.to_pylist() == ["a", "c"]
    assert alone.items.tolist() == [0, 1]
    assert alone.offsets.tolist() == [0, 1, 2]
    assert alone.rows.tolist() == shard.ordered.rows[shard.open].tolist()


def test_copies_that_stay_are_no_evidence_and_have_a_witness():
    shard, _ = ruled(RuleOptions(duplicates="count"))
    assert shard.witnesses.tolist() == [0, 0, 2, 3, 4, 4]
    assert shard.evidence.tolist() == [True, False, True, True, True, False]
    assert shard.evidence_alone().rows.tolist() == [0, 2, 3, 4]
    taken = RuledShard(shard.ordered, np.array([0, -1, -1, -1, -1, -1], np.int8), shard.counted)
    assert taken.witnesses.tolist() == [0, 1, 2, 3, 4, 4]  # what is taken vouches for nothing


def test_no_rule_sees_what_is_held_out_and_short_users_keep_all_for_training():
    ordered, clock = ordered_log([*ROWS, ("w", "c", 0)])
    rules = make_rules(RuleOptions(), "item_id", ordered.item_ids.type)
    shard = apply_rules(RuledShard.untouched(ordered, 2), rules, rules.of_shard, COLUMNS, clock)
    duplicate = rules.codes.index("duplicate")
    assert shard.taken.tolist() == [-1, duplicate, -2, -2, -1, duplicate, -1]
    assert shard.held_out.tolist() == [False, False, True, True, False, False, False]
    assert shard.split.tolist() == [0, 0, 1, 2, 0, 0, 0]
    assert ruled_shard_from_table(ruled_shard_to_table(shard)).split.tolist() == shard.split.tolist()


def test_users_of_whom_nothing_is_left_are_left_out():
    ordered, _ = ordered_log(ROWS)
    taken = np.array([0, 0, 0, 0, -1, -1], np.int8)
    alone = RuledShard(ordered, taken, np.zeros(6, np.uint16)).evidence_alone()
    assert alone.user_ids(COLUMNS).to_pylist() == ["v"]
    assert alone.offsets.tolist() == [0, 1]  # the second is a copy of the first


def test_a_shard_of_nothing_but_evidence_is_not_copied():
    ordered, _ = ordered_log([("u", "a", 0), ("u", "b", 0)])
    assert RuledShard.untouched(ordered).evidence_alone() is ordered


def test_a_shard_survives_its_table():
    shard, _ = ruled(RuleOptions())
    back = ruled_shard_from_table(ruled_shard_to_table(shard).combine_chunks())
    assert back.ordered.table.equals(shard.ordered.table)
    for name in ("offsets", "items", "rows", "time"):
        assert np.array_equal(getattr(back.ordered, name), getattr(shard.ordered, name))
    assert back.ordered.item_ids.equals(shard.ordered.item_ids)
    assert np.array_equal(back.taken, shard.taken)
    assert np.array_equal(back.counted, shard.counted)


def test_a_journey_alone_is_its_first_row_with_the_strongest_behaviour_that_is_left():
    rows = [
        ("u", "a", 0, "view"),
        ("u", "b", 1, "view"),
        ("u", "a", 2, "cart"),
        ("u", "a", 3, "cart"),
        ("u", "b", 4, "buy"),
        ("u", "b", 5, "buy"),
        ("v", "a", 0, "buy"),
    ]
    ordered, _ = ordered_log(rows, "event", columns=BEHAVIOURS)
    shard = RuledShard.untouched(ordered)
    alone = shard.journeys_alone()
    assert alone.rows.tolist() == [2, 4, 5, 6]
    assert RuledShard.untouched(alone).journeys_alone().rows.tolist() == [2, 4, 5, 6]
    taken = RuledShard(ordered, np.array([-1, -1, 0, -1, 0, 0, 0], np.int8), shard.counted)
    assert taken.journeys_alone().rows.tolist() == [1, 3]


def test_the_steps_of_a_journey_have_one_witness_and_what_a_rule_takes_is_no_step():
    rows = [("u", "a", 0, "view"), ("u", "b", 1, "view"), ("u", "a", 2, "cart"), ("u", "a", 3, "buy")]
    ordered, _ = ordered_log(rows, "event", columns=BEHAVIOURS)
    shard = RuledShard.untouched(ordered)
    assert shard.witnesses.tolist() == [0, 1, 0, 0]
    assert shard.evidence.tolist() == [True, True, False, False]
    assert shard.reached is not None
    assert shard.reached.tolist() == [0, 2, 0, 0]
    back = ruled_shard_from_table(ruled_shard_to_table(shard).combine_chunks())
    assert back.witnesses.tolist() == shard.witnesses.tolist()
    assert back.ordered.table.column_names == ordered.table.column_names
    assert count_open_items(shard).to_pydict() == {"item_id": ["a", "b"], "count": [1, 1]}
    alone = shard.evidence_alone()
    assert alone.behaviours is not None
    assert alone.behaviours.tolist() == [2, 2]
    taken = RuledShard(
        ordered, np.array([0, -1, -1, -2], np.int8), shard.counted
    )  # a view dropped, a purchase held out
    assert taken.witnesses.tolist() == [0, 1, 2, 3]
    assert taken.reached is not None
    assert taken.reached.tolist() == [2, 1]
