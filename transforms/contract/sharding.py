"""Divides users into shards by the hash of their ids.

A shard is the group of users that one worker holds at a time. You need this to learn which shard a user belongs to. It
depends on the user's id only, never on the number of workers or on what else is in the log.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from .hashing import hash_values

_ROWS_PER_BLOCK = 1 << 17
"""How many rows are divided at a time. They are few enough to fit the processor's cache."""


@dataclasses.dataclass(frozen=True)
class Sharding:
    """Into how many groups users are divided."""

    shards: int
    """Number of groups of users. One worker holds one such group at a time."""
    cells: int
    """Number of smaller groups, which are scored apart. No cell is divided between shards if there are at least as many
    cells as shards."""


def user_shard(user_ids: pa.ChunkedArray, sharding: Sharding) -> np.ndarray:
    """Returns the shard of each user, int64 [rows] in [0, shards)."""
    hashes = np.concatenate([np.zeros(0, np.uint64), *(hash_values(chunk) for chunk in user_ids.chunks)])
    return (hashes % np.uint64(sharding.cells) % np.uint64(sharding.shards)).astype(np.int64)


def split_by_shard(table: pa.Table, user_column: str, sharding: Sharding) -> Iterator[tuple[int, pa.Table]]:
    """Yields the number and the rows of every shard that has rows, in ascending order of shards.

    Args:
        table: The rows of any users.
        user_column: The column of the users' ids.
        sharding: Into how many shards users are divided.
    """
    parts: dict[int, list[pa.Table]] = defaultdict(list)
    for start in range(0, len(table), _ROWS_PER_BLOCK):
        block = table.slice(start, _ROWS_PER_BLOCK)
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
