import dataclasses
import pickle

import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.core.item_vectors import PackedItemVectors
from iadsr.models.detector.scoring import Scores
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items.joined_items import JoinedItems
from iadsr.transforms.judge.decide import Decisions
from iadsr.transforms.judge.judge_shard import JudgedShard
from iadsr.transforms.read.ordering import OrderedShard
from iadsr.transforms.rules.ruled_shard import RuledShard
from iadsr.transforms.write.example_users import EXAMPLE_LENGTH, EXAMPLE_USERS, choose_examples, describe_examples

COLUMNS = InteractionColumns()


def judged(lengths: dict[str, int], dropped: set[int]) -> JudgedShard:
    """Users of some lengths, whose interactions are of the items 0, 1, 2, 0, 1, ...; numbered rows are dropped."""
    rows = sum(lengths.values())
    users = np.repeat(list(lengths), list(lengths.values()))
    items = (np.arange(rows) % 3).astype(np.int32)
    item_ids = pa.array([10, 20, 30])
    table = pa.table({"user_id": users, "item_id": item_ids.take(pa.array(items)), "timestamp": np.arange(rows)})
    offsets = np.append(0, np.cumsum(list(lengths.values())))
    keep = ~np.isin(np.arange(rows), list(dropped))
    scores = Scores(
        np.where(keep, 0.25, 0.75).astype(np.float32),
        np.zeros((rows, 3)),
        np.ones(rows, bool),
        np.zeros(rows),
        np.zeros(rows),
    )
    ruled = RuledShard.untouched(OrderedShard(table, offsets, item_ids, items, np.arange(rows), np.arange(rows)))
    reason = pa.array([None if kept else "noise:short_term" for kept in keep.tolist()]).dictionary_encode()
    return JudgedShard(0, ruled, scores, Decisions(keep, reason), np.ones(rows, np.float32), {})


@pytest.fixture
def items() -> JoinedItems:
    """Knows items 10 and 30."""
    none, flags = np.zeros((2, 0), np.float32), np.ones(2, bool)
    texts = pa.array(["Ten", None], pa.large_string())
    return JoinedItems(pa.array([10, 30]), texts, PackedItemVectors(none, none, flags, flags), ~flags, {})


def test_an_example_says_what_was_decided_about_each_interaction_and_gets_its_texts_last(items):
    (example,) = choose_examples(judged({"a": 2, "b": 3, "c": 1}, {3}), COLUMNS)
    assert (example.user_id, example.item_ids.to_pylist()) == ("b", [30, 10, 20])
    assert "text" not in example.interactions[0]
    (described,) = describe_examples([pickle.loads(pickle.dumps(example))], items)
    kept = {"keep": True, "reason": None, "noise_probability": 0.25}
    gone = {"keep": False, "reason": "noise:short_term", "noise_probability": 0.75}
    assert described == {
        "user_id": "b",
        "interactions": [
            {"item_id": "30", "text": None, "timestamp": "2", **kept},
            {"item_id": "10", "text": "Ten", "timestamp": "3", **gone},
            {"item_id": "20", "text": None, "timestamp": "4", **kept},  # the joined items do not know it
        ],
    }
    assert list(described["interactions"][0])[:3] == ["item_id", "text", "timestamp"]


def test_texts_of_all_examples_are_looked_up_at_once(items, monkeypatch):
    examples = choose_examples(judged({"a": 2, "b": 3, "c": 1}, {0, 3, 5}), COLUMNS)
    looked_up = []
    lookup = JoinedItems.lookup
    monkeypatch.setattr(JoinedItems, "lookup", lambda self, ids: looked_up.append(len(ids)) or lookup(self, ids))
    described = describe_examples(examples, items)
    assert looked_up == [6]
    texts = {example["user_id"]: [row["text"] for row in example["interactions"]] for example in described}
    assert texts == {"a": ["Ten", None], "b": [None, "Ten", None], "c": [None]}
    assert describe_examples([], items) == []


def test_short_users_come_first_and_a_long_one_shows_a_window_around_its_last_drop():
    long = EXAMPLE_LENGTH + 20
    examples = choose_examples(judged({"long": long, "b": 1, "c": 2}, {0, 25, long}), COLUMNS)
    assert [example.user_id for example in examples] == ["b", "long"]
    assert [example.key[0] for example in examples] == [False, True]
    times = [int(row["timestamp"]) for row in examples[1].interactions]
    assert times == list(range(EXAMPLE_LENGTH))  # row 25 and two more, at the beginning of the user
    later = choose_examples(judged({"long": long}, {0, 40}), COLUMNS)
    assert [int(row["timestamp"]) for row in later[0].interactions] == list(range(13, 43))


def test_the_lowest_hashes_are_chosen_whatever_else_the_shard_holds():
    lengths = {f"u{n}": 1 for n in range(40)}
    chosen = choose_examples(judged(lengths, set(range(40))), COLUMNS)
    assert len(chosen) == EXAMPLE_USERS
    assert [e.key for e in chosen] == sorted(e.key for e in chosen)
    names = [example.user_id for example in chosen]
    again = choose_examples(judged(dict.fromkeys(reversed(names), 1), set(range(10))), COLUMNS)
    assert [dataclasses.replace(e, interactions=[], item_ids=pa.nulls(0)) for e in again] == [
        dataclasses.replace(e, interactions=[], item_ids=pa.nulls(0)) for e in chosen
    ]
