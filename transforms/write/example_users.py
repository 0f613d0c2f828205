"""Chooses the users whom the report shows, and describes what was decided about them."""

from typing import Any

import numpy as np
import pyarrow as pa

from ..contract.columns import InteractionColumns
from ..contract.hashing import hash_values
from ..contract.python_values import python_values
from ..items.joined_items import JoinedItems
from ..judge.decide import Decisions
from ..judge.scored_shard import ScoredShard

EXAMPLE_USERS = 10


EXAMPLE_LENGTH = 30
"""Examples are users of at most this length where there are any, and a window of this length of others."""


def _examples(
    scored: ScoredShard,
    decisions: Decisions,
    columns: InteractionColumns,
    catalogue: JoinedItems,
) -> list:
    """Users with at least one dropped interaction; a hash of the id chooses, so that every run shows the same."""
    ordered = scored.ordered
    offsets = ordered.offsets
    dropped_before = np.append(0, np.cumsum(~decisions.keep))
    eligible = np.flatnonzero(np.diff(dropped_before[offsets]) > 0)
    user_ids = ordered.user_ids(columns).take(pa.array(eligible))
    hashed = hash_values(user_ids)
    too_long = np.diff(offsets)[eligible] > EXAMPLE_LENGTH
    chosen = np.lexsort((hashed, too_long))[:EXAMPLE_USERS]
    windows = []
    for number in chosen:
        start, stop = offsets[eligible[number]], offsets[eligible[number] + 1]
        if too_long[number]:
            last_dropped = start + np.flatnonzero(~decisions.keep[start:stop])[-1]
            start = max(start, min(last_dropped + 3, stop) - EXAMPLE_LENGTH)
            stop = min(start + EXAMPLE_LENGTH, stop)
        windows.append(slice(int(start), int(stop)))
    texts = _texts(scored, catalogue, windows)
    users = python_values(user_ids.take(chosen))
    return [
        (
            (bool(too_long[number]), int(hashed[number])),
            {"user_id": str(user), "interactions": _describe(scored, decisions, columns, texts, rows)},
        )
        for number, user, rows in zip(chosen, users, windows, strict=True)
    ]


def _texts(scored: ScoredShard, catalogue: JoinedItems, windows: list[slice]) -> dict[int, str | None]:
    """Returns the texts of the items in some rows, by index of the item; one look-up, since each reads all ids."""
    shown = np.unique(np.concatenate([scored.ordered.items[:0], *(scored.ordered.items[rows] for rows in windows)]))
    found = catalogue.lookup(scored.ordered.item_ids.take(shown))
    texts = catalogue.texts.take(np.maximum(found, 0)).to_pylist()
    return {int(item): text if row >= 0 else None for item, text, row in zip(shown, texts, found, strict=True)}


def _describe(
    scored: ScoredShard,
    decisions: Decisions,
    columns: InteractionColumns,
    texts: dict[int, str | None],
    rows: slice,
) -> list[dict[str, Any]]:
    ordered = scored.ordered
    items = ordered.items[rows]
    return [
        {
            "item_id": str(item_id),
            "text": texts[int(item)],
            "timestamp": str(timestamp),
            "keep": bool(keep),
            "reason": reason,
            "noise_probability": round(float(probability), 4),
        }
        for item_id, item, timestamp, keep, reason, probability in zip(
            python_values(ordered.item_ids.take(items)),
            items,
            python_values(ordered.table[columns.timestamp][rows]),
            decisions.keep[rows],
            decisions.reason[rows].to_pylist(),
            scored.scores.noise_probability[rows],
            strict=True,
        )
    ]
