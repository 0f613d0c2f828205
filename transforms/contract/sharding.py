"""Deals users into shards by the hash of their ids."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from .hashing import hash_values

_ROWS_DEALT_TOGETHER = 1 << 17
"""Likewise."""


@dataclasses.dataclass(frozen=True)
class Sharding:
    """How users are dealt into shards, by the values of their ids alone."""

    shards: int
    """Groups of users that one worker holds at a time."""
    cells: int
    """Smaller groups that no shard cuts, if there are no fewer of them: users are scored cell by cell, so that the
    number of shards changes no bit of a score."""


def user_shard(user_ids: pa.ChunkedArray, sharding: Sharding) -> np.ndarray:
    """Returns the shard of each user, int64 [rows] in [0, shards)."""
    hashes = np.concatenate([np.zeros(0, np.uint64), *(hash_values(chunk) for chunk in user_ids.chunks)])
    return (hashes % np.uint64(sharding.cells) % np.uint64(sharding.shards)).astype(np.int64)


def split_by_shard(table: pa.Table, user_column: str, sharding: Sharding) -> Iterator[tuple[int, pa.Table]]:
    """Yields (shard, that shard's rows) for every shard that has rows, in ascending order of shard."""
    parts: dict[int, list[pa.Table]] = defaultdict(list)
    for start in range(0, len(table), _ROWS_DEALT_TOGETHER):
        block = table.slice(start, _ROWS_DEALT_TOGETHER)
        shard = user_shard(block[user_column], sharding)
        ordered = block.take(
            np.argsort(shard.astype(np.uint16 if sharding.shards <= 1 << 16 else np.int64), kind="stable")
        )
        counts = np.bincount(shard, minlength=sharding.shards)
        begins = np.cumsum(counts) - counts
        for number in np.flatnonzero(counts):
            parts[int(number)].append(ordered.slice(begins[number], counts[number]))
    for number in sorted(parts):
        yield number, pa.concat_tables(parts.pop(number))
