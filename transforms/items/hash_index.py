"""Finds ids among very many without reading all of them each time."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract.hashing import hash_values


@dataclasses.dataclass(frozen=True)
class HashIndex:
    """The rows of distinct ids, found by the hashes of the ids.

    pyarrow's `index_in` would build a hash table of all ids at each call.
    """

    hashes: np.ndarray
    """uint64 [V], ascending. May be memory-mapped."""
    rows: np.ndarray
    """int64 [V], the row that each hash belongs to. May be memory-mapped."""

    @classmethod
    def of(cls, item_ids: pa.Array) -> "HashIndex":
        """Builds the index of distinct ids [V]."""
        hashes = hash_values(item_ids)
        rows = np.argsort(hashes, kind="stable")
        return cls(hashes[rows], rows)

    def lookup(self, wanted: pa.Array, item_ids: pa.Array) -> np.ndarray:
        """Returns the row of each id in `wanted` [n], int64 [n]; -1 if there is none.

        Args:
            wanted: The ids to find, of the same type as `item_ids`.
            item_ids: The ids that the index was built of, [V].
        """
        hashes, found = hash_values(wanted), np.full(len(wanted), -1)
        pending = np.argsort(hashes, kind="stable")  # in the order of the index, which is kind to the cache
        place = np.empty(len(wanted), np.int64)
        place[pending] = np.searchsorted(self.hashes, hashes[pending])
        while len(pending):
            pending = pending[place[pending] < len(self.hashes)]
            pending = pending[self.hashes[place[pending]] == hashes[pending]]
            rows = self.rows[place[pending]]
            same = pc.equal(wanted.take(pa.array(pending)), item_ids.take(pa.array(rows)))
            same = same.fill_null(False).to_numpy(zero_copy_only=False)
            found[pending[same]] = rows[same]
            pending = pending[~same]  # another id has the same hash: try the next row
            place[pending] += 1
        return found
