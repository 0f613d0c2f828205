"""Finds ids among very many, without going through all of them each time."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract.hashing import hash_values


@dataclasses.dataclass(frozen=True)
class HashIndex:
    """Where each of distinct ids is, by their hashes: pyarrow's `index_in` makes a hash table of all at each call."""

    hashes: np.ndarray
    """uint64 [V], ascending; may be memory-mapped."""
    rows: np.ndarray
    """int64 [V], the row that each belongs to; likewise."""

    @classmethod
    def of(cls, item_ids: pa.Array) -> "HashIndex":
        """Builds the index of distinct ids [V]."""
        hashes = hash_values(item_ids)
        rows = np.argsort(hashes, kind="stable")
        return cls(hashes[rows], rows)

    def lookup(self, wanted: pa.Array, item_ids: pa.Array) -> np.ndarray:
        """Returns the row of each of `wanted` [n] among `item_ids` [V], of the same type; int64 [n], -1 where none."""
        hashes, found = hash_values(wanted), np.full(len(wanted), -1)
        pending = np.argsort(hashes, kind="stable")  # neighbours in the index are asked for one after the other
        place = np.empty(len(wanted), np.int64)
        place[pending] = np.searchsorted(self.hashes, hashes[pending])
        while len(pending):
            pending = pending[place[pending] < len(self.hashes)]
            pending = pending[self.hashes[place[pending]] == hashes[pending]]
            rows = self.rows[place[pending]]
            same = pc.equal(wanted.take(pa.array(pending)), item_ids.take(pa.array(rows)))
            same = same.fill_null(False).to_numpy(zero_copy_only=False)
            found[pending[same]] = rows[same]
            pending = pending[~same]  # another id of the same hash
            place[pending] += 1
        return found
