"""Orders the interactions of one shard by user and time.

You need this before interactions can be read as sequences. The order is total: no two rows compare equal, so no order
depends on chance or on the number of workers.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.sequences import Sequences
from ..contract.arrow_types import one_chunk
from ..contract.columns import ROW, TIME, InteractionColumns
from ..contract.hashing import hash_values
from .behaviours import behaviour_ranks
from .timestamps import time_of


class OrderedShard(NamedTuple):
    """The interactions of one shard. Users are in ascending order of id, and each user's interactions in time order."""

    table: pa.Table
    """The rows, without the internal columns."""
    offsets: np.ndarray
    """int64 [users + 1]; user u owns rows offsets[u] to offsets[u + 1]."""
    item_ids: pa.Array
    """The distinct items of the shard, in ascending order."""
    items: np.ndarray
    """int32 [rows]; the item of each row as an index into item_ids."""
    rows: np.ndarray
    """int64 [rows]; the number of each row in the whole input, or in the given table if that has no row numbers."""
    time: np.ndarray
    """int64 [rows]; the time of each row as an integer that sorts like it, see `time_of`."""
    behaviours: np.ndarray | None = None
    """int32 [rows]; how strong each row's behaviour is, see `behaviour_ranks`. None if the log has no behaviours."""

    @property
    def users(self) -> np.ndarray:
        """The user of each row, int64 [rows]."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def user_ids(self, columns: InteractionColumns) -> pa.Array:
        """Returns the id of each user, [users]."""
        return one_chunk(self.table[columns.user].take(self.offsets[:-1]))

    def only(self, chosen: np.ndarray) -> "OrderedShard":
        """Returns some of the rows, bool [rows]. Users and items without any are left out."""
        rows = np.flatnonzero(chosen)
        lengths = np.diff(np.append(0, np.cumsum(chosen))[self.offsets])
        occurs = np.bincount(self.items[rows], minlength=len(self.item_ids)) > 0
        return OrderedShard(
            self.table.take(pa.array(rows)),
            np.append(0, np.cumsum(lengths[lengths > 0])),
            self.item_ids.filter(pa.array(occurs)),
            (np.cumsum(occurs) - 1)[self.items[rows]].astype(self.items.dtype),
            self.rows[rows],
            self.time[rows],
            None if self.behaviours is None else self.behaviours[rows],
        )

    def sequences(self, columns: InteractionColumns) -> Sequences:
        """Returns the interactions in the form that models read. The key of a user is the hash of the user's id."""
        return Sequences(self.items, self.offsets, hash_values(self.user_ids(columns)), self.time)


def order_interactions(table: pa.Table, columns: InteractionColumns) -> OrderedShard:
    """Sorts by user, then time, then position, or item id if there is no position column, then number of the row.

    Without a position column, equal items of one time are in the order of `behaviours`, the weakest first.

    Args:
        table: Valid rows as `validate` returns them, in input order.
        columns: The names of the log's columns.
    """
    users, user_ids = _rank_ids(table[columns.user])
    items, item_ids = _rank_ids(table[columns.item])
    behaviours = behaviour_ranks(table[columns.behaviour], columns) if columns.behaviour else None
    if columns.position:
        tie_break = table[columns.position].to_numpy()
    elif behaviours is not None and columns.behaviours:
        tie_break = (items.astype(np.int64) + 1) * (int(behaviours.max(initial=0)) + 1) - behaviours
    else:
        tie_break = items
    numbers = table[ROW].to_numpy() if ROW in table.column_names else np.arange(len(table))
    time = time_of(table, columns)
    order = _sorted_order(users, time, tie_break, numbers)
    offsets = np.zeros(len(user_ids) + 1, np.int64)
    np.cumsum(np.bincount(users, minlength=len(user_ids)), out=offsets[1:])
    data = table.drop_columns([name for name in (ROW, TIME) if name in table.column_names])
    return OrderedShard(
        data.take(order),
        offsets,
        item_ids,
        items[order],
        numbers[order],
        time[order],
        None if behaviours is None else behaviours[order],
    )


def _rank_ids(ids: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Returns the rank of each row's id, int32 [rows], and the distinct ids in ascending order."""
    # Works chunk by chunk. Plain strings of more than 2 GiB do not fit in one chunk, and others would be copied.
    encoded = ids.dictionary_encode().unify_dictionaries()
    distinct = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], ids.type)
    ascending = pc.array_sort_indices(distinct).to_numpy()
    rank = np.empty(len(ascending), np.int32)
    rank[ascending] = np.arange(len(ascending), dtype=np.int32)
    ranks = [rank[chunk.indices.to_numpy()] for chunk in encoded.chunks]
    return np.concatenate([rank[:0], *ranks]), distinct.take(ascending)


def _sorted_order(users: np.ndarray, time: np.ndarray, tie_break: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Returns the order by (user, time, tie_break, number of the row), int64 [rows].

    Three steps are faster than one sort by all keys. The first sorts by time, which is quick because most logs are in
    order of time already. The second sorts by user, 16 bits at a time, because NumPy sorts so few bits by counting. The
    third puts the few rows in order that have the same user and the same time.
    """
    order = np.argsort(time, kind="stable")
    for shift in range(0, int(users.max(initial=0)).bit_length(), 16):
        digit = (users >> shift).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    ordered_users, ordered_time = users[order], time[order]
    same_as_previous = (ordered_users[1:] == ordered_users[:-1]) & (ordered_time[1:] == ordered_time[:-1])
    tied = np.flatnonzero(np.append(same_as_previous, False) | np.append(False, same_as_previous))
    group = np.cumsum(~np.append(False, same_as_previous))[tied]
    order[tied] = order[tied][np.lexsort((numbers[order[tied]], tie_break[order[tied]], group))]
    return order
