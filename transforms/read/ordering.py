"""Orders one shard's interactions by user and time, with a total order so that no tie is left to chance."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.sequences import Sequences
from ..contract.arrow_types import one_chunk
from ..contract.columns import ROW, TIME, InteractionColumns
from ..contract.hashing import hash_values
from .timestamps import time_of


class OrderedShard(NamedTuple):
    """A shard's interactions, users in ascending order of id, each user's interactions in time order."""

    table: pa.Table
    """The rows, without the internal columns."""
    offsets: np.ndarray
    """int64 [users + 1]; user u owns rows offsets[u] to offsets[u + 1]."""
    item_ids: pa.Array
    """The shard's distinct items, ascending."""
    items: np.ndarray
    """int32 [rows]; index into item_ids."""
    rows: np.ndarray
    """int64 [rows]; number of each row in the whole input, or in the table where that does not say."""

    def user_ids(self, columns: InteractionColumns) -> pa.Array:
        """Returns the id of each user, [users]."""
        return one_chunk(self.table[columns.user].take(self.offsets[:-1]))

    def sequences(self, columns: InteractionColumns) -> Sequences:
        """Returns the interactions as models read them, each user under the hash of the id."""
        return Sequences(self.items, self.offsets, hash_values(self.user_ids(columns)))


def order_interactions(table: pa.Table, columns: InteractionColumns) -> OrderedShard:
    """Sorts by user, time, and then position where one is named, else item id; equal rows keep their input order.

    Args:
        table: Valid rows as `validate` gives them, in the order of the input.
        columns: The part that each column plays.
    """
    users, user_ids = _ranked(table[columns.user])
    items, item_ids = _ranked(table[columns.item])
    tie_break = table[columns.position].to_numpy() if columns.position else items
    order = _sort(users, time_of(table, columns), tie_break)
    offsets = np.zeros(len(user_ids) + 1, np.int64)
    np.cumsum(np.bincount(users, minlength=len(user_ids)), out=offsets[1:])
    rows = table[ROW].to_numpy()[order] if ROW in table.column_names else order
    data = table.drop_columns([name for name in (ROW, TIME) if name in table.column_names])
    return OrderedShard(data.take(order), offsets, item_ids, items[order], rows)


def _ranked(ids: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Returns int32 [rows] ranks and the distinct ids in ascending order."""
    # Chunk by chunk: plain strings of more than 2 GiB cannot be made one chunk, and others would be copied.
    encoded = ids.dictionary_encode().unify_dictionaries()
    distinct = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], ids.type)
    ascending = pc.array_sort_indices(distinct).to_numpy()
    rank = np.empty(len(ascending), np.int32)
    rank[ascending] = np.arange(len(ascending), dtype=np.int32)
    ranks = [rank[chunk.indices.to_numpy()] for chunk in encoded.chunks]
    return np.concatenate([rank[:0], *ranks]), distinct.take(ascending)


def _sort(users: np.ndarray, time: np.ndarray, tie_break: np.ndarray) -> np.ndarray:
    """Returns the order by (user, time, tie_break, place in the input), int64 [rows].

    Sorts by time first, which takes one look at a log that is in order of time already, and then by user, which for
    16 bits at a time is a matter of counting. The few rows of one user and one time are put in order last.
    """
    order = np.argsort(time, kind="stable")
    for shift in range(0, int(users.max(initial=0)).bit_length(), 16):
        digit = (users >> shift).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    ordered_users, ordered_time = users[order], time[order]
    as_before = (ordered_users[1:] == ordered_users[:-1]) & (ordered_time[1:] == ordered_time[:-1])
    tied = np.flatnonzero(np.append(as_before, False) | np.append(False, as_before))
    run = np.cumsum(~np.append(False, as_before))[tied]
    order[tied] = order[tied][np.lexsort((tie_break[order[tied]], run))]
    return order
