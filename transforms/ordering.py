"""Orders one shard's interactions by user and time, with a total order so that no tie is left to chance."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..models.sequences import Sequences
from .grouping import hash_values
from .schema import ROW, TIME, InteractionColumns


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
    """int64 [rows]; number of each row in the whole input."""

    def sequences(self, columns: InteractionColumns) -> Sequences:
        """Returns the interactions as models read them, each user under the hash of the id."""
        users = self.table[columns.user].take(self.offsets[:-1]).combine_chunks()
        return Sequences(self.items, self.offsets, hash_values(users))


def order_interactions(table: pa.Table, columns: InteractionColumns) -> OrderedShard:
    """Sorts by user, time, and then position where one is named, else item id; equal rows keep their input order.

    Args:
        table: Valid rows with the internal columns ROW and TIME.
        columns: The part that each column plays.
    """
    users, user_ids = _ranked(table[columns.user])
    items, item_ids = _ranked(table[columns.item])
    time = table[TIME].to_numpy()
    tie_break = table[columns.position].to_numpy() if columns.position else items
    rows = table[ROW].to_numpy()
    order = _sort(users, time, tie_break, rows)
    offsets = np.zeros(len(user_ids) + 1, np.int64)
    np.cumsum(np.bincount(users, minlength=len(user_ids)), out=offsets[1:])
    return OrderedShard(table.drop_columns([ROW, TIME]).take(order), offsets, item_ids, items[order], rows[order])


def _ranked(ids: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Returns int32 [rows] ranks and the distinct ids in ascending order."""
    encoded = ids.combine_chunks().dictionary_encode()
    ascending = pc.array_sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(ascending), np.int32)
    rank[ascending] = np.arange(len(ascending), dtype=np.int32)
    return rank[encoded.indices.to_numpy()], encoded.dictionary.take(ascending)


def _sort(users: np.ndarray, time: np.ndarray, tie_break: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Returns the order by (user, time, tie_break, row), int64 [rows].

    One sort of a packed 64-bit key does the work, a second the tied rows; a key that does not fit takes four passes.
    """
    if not len(users):
        return np.zeros(0, np.int64)
    span = int(time.max()) - int(time.min()) + 1
    if (int(users.max()) + 1) * span >= 1 << 63:
        return np.lexsort((row, tie_break, time, users))
    key = users.astype(np.int64) * span + (time - time.min())
    order = np.argsort(key)
    ordered_key = key[order]
    same_as_next = ordered_key[1:] == ordered_key[:-1]
    tied = np.flatnonzero(np.append(same_as_next, False) | np.append(False, same_as_next))
    rows = order[tied]
    order[tied] = rows[np.lexsort((row[rows], tie_break[rows], key[rows]))]
    return order
