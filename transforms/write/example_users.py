"""Chooses the users whom the report shows, and describes what was decided about them."""

import dataclasses
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa

from ..contract.columns import InteractionColumns
from ..contract.hashing import hash_values
from ..contract.python_values import python_values
from ..items.joined_items import JoinedItems
from ..judge.judge_shard import JudgedShard

EXAMPLE_USERS = 10
EXAMPLE_LENGTH = 30
"""Examples are users of at most this length if there are any. Of longer users, a window of this length is shown."""


@dataclasses.dataclass(frozen=True)
class ExampleUser:
    """A user with at least one dropped interaction."""

    key: tuple[bool, int]
    """The users with the lowest keys are shown: whether the user is too long, then a hash of the id."""
    user_id: str
    """The user's id."""
    item_ids: pa.Array
    """Item of each interaction [n], by which `describe_examples` finds its text."""
    interactions: list[dict[str, Any]]
    """What the report shows of each interaction, except the item's text."""


def choose_examples(judged: JudgedShard, columns: InteractionColumns) -> list[ExampleUser]:
    """Returns up to EXAMPLE_USERS examples of a shard, in ascending order of key.

    A hash of the id chooses, so every run shows the same users.
    """
    ordered, keep = judged.ruled.ordered, judged.decisions.keep
    offsets = ordered.offsets
    dropped_before = np.append(0, np.cumsum(~keep))
    eligible = np.flatnonzero(np.diff(dropped_before[offsets]) > 0)
    user_ids = ordered.user_ids(columns).take(pa.array(eligible))
    hashed = hash_values(user_ids)
    too_long = np.diff(offsets)[eligible] > EXAMPLE_LENGTH
    chosen = np.lexsort((hashed, too_long))[:EXAMPLE_USERS]
    examples = []
    for number, user in zip(chosen, python_values(user_ids.take(chosen)), strict=True):
        start, stop = offsets[eligible[number]], offsets[eligible[number] + 1]
        if too_long[number]:
            last_dropped = start + np.flatnonzero(~keep[start:stop])[-1]
            start = max(start, min(last_dropped + 3, stop) - EXAMPLE_LENGTH)
            stop = min(start + EXAMPLE_LENGTH, stop)
        rows = slice(int(start), int(stop))
        item_ids = ordered.item_ids.take(pa.array(ordered.items[rows]))
        key = (bool(too_long[number]), int(hashed[number]))
        examples.append(ExampleUser(key, str(user), item_ids, _describe(judged, columns, item_ids, rows)))
    return examples


def describe_examples(examples: list[ExampleUser], joined_items: JoinedItems | None) -> list[dict[str, Any]]:
    """Returns examples as the report shows them, with the texts of their items if items are known."""
    if not examples:
        return []
    captions = repeat(None) if joined_items is None else _captions(examples, joined_items)
    return [
        {
            "user_id": example.user_id,
            # The report shows the text right after the id.
            "interactions": [
                {"item_id": interaction["item_id"], "text": next(captions)} | interaction
                for interaction in example.interactions
            ],
        }
        for example in examples
    ]


def _captions(examples: list[ExampleUser], joined_items: JoinedItems) -> Iterator[str | None]:
    # One look-up for all examples, because each reads all ids.
    found = joined_items.lookup(pa.concat_arrays([example.item_ids for example in examples]))
    texts = joined_items.texts.take(pa.array(np.maximum(found, 0))).to_pylist()
    return iter(text if row >= 0 else None for text, row in zip(texts, found, strict=True))


def _describe(
    judged: JudgedShard, columns: InteractionColumns, item_ids: pa.Array, rows: slice
) -> list[dict[str, Any]]:
    decisions = judged.decisions
    return [
        {
            "item_id": str(item_id),
            "timestamp": str(timestamp),
            "keep": bool(keep),
            "reason": reason,
            "noise_probability": None if probability is None else round(float(probability), 4),
        }
        for item_id, timestamp, keep, reason, probability in zip(
            python_values(item_ids),
            python_values(judged.ruled.ordered.table[columns.timestamp][rows]),
            decisions.keep[rows],
            decisions.reason[rows].to_pylist(),
            judged.scores.noise_probability[rows] if judged.scores is not None else repeat(None, len(item_ids)),
            strict=True,
        )
    ]
