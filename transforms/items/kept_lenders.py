"""Keeps for the next run from which items those without a collaborative vector borrow one, as finding them takes time.

Whom an item borrows from follows from its text vector, and from those of all items that lend. So it is found again as
long as these are the same. Some are looked for again all the same, to see if this machine finds the same.
"""

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ..files.kept_arrays import read_kept_arrays, write_kept_arrays
from ..files.run_paths import StagingPaths

if TYPE_CHECKING:
    from ...models.vectors.neighbours import Lenders

CHECKED_ITEMS = 64
"""So many items are looked for again."""

_ARRAYS = ("lending", "borrowing", "nearest", "weights")


@dataclasses.dataclass(frozen=True)
class LenderKeeping:
    """Where a run keeps the lenders, and where it finds those of an earlier run."""

    path: str
    """File to write."""
    earlier: str | None = None
    """File of the earlier run; None if there is none."""
    paths: StagingPaths | None = None
    """Those of the run, which tell whether it goes on."""

    def find(self, semantic_known: np.ndarray, semantic_new: np.ndarray) -> "Lenders":
        """Finds the known items that each new item borrows from, and keeps them.

        Args:
            semantic_known: Text vectors of the known items, [K, D].
            semantic_new: Text vectors of the new ones, [M, D].

        Raises:
            InputError: They cannot be kept.
        """
        lending, borrowing = _fingerprint(semantic_known), np.stack([_fingerprint(vector) for vector in semantic_new])
        lenders = self._find(semantic_known, semantic_new, lending, borrowing)
        arrays = dict(zip(_ARRAYS, (lending, borrowing, *lenders), strict=True))
        if self.paths is not None:
            self.paths.check_still_ours()
        write_kept_arrays(self.path, **arrays)
        return lenders

    def _find(
        self, semantic_known: np.ndarray, semantic_new: np.ndarray, lending: np.ndarray, borrowing: np.ndarray
    ) -> "Lenders":
        from ...models.vectors.neighbours import Lenders, lenders_of

        kept = None if self.earlier is None else _read(self.earlier)
        if kept is None or not np.array_equal(kept[0], lending):
            return lenders_of(semantic_known, semantic_new)
        place_of = {key.tobytes(): place for place, key in enumerate(kept[1])}
        places = np.array([place_of.get(key.tobytes(), -1) for key in borrowing])
        found = Lenders(kept[2][places], kept[3][places])
        known = np.flatnonzero(places >= 0)
        again = np.append(np.flatnonzero(places < 0), known[:: max(len(known) // CHECKED_ITEMS, 1)][:CHECKED_ITEMS])
        fresh = lenders_of(semantic_known, semantic_new[again])
        checked = places[again] >= 0
        if any(
            mine[checked].tobytes() != theirs[again[checked]].tobytes()
            for mine, theirs in zip(fresh, found, strict=True)
        ):
            return lenders_of(semantic_known, semantic_new)
        for to, values in zip(found, fresh, strict=True):
            to[again] = values
        return found


def _fingerprint(vectors: np.ndarray) -> np.ndarray:
    """Returns a fingerprint of some vectors in their order, uint64 [2]."""
    digest = hashlib.blake2b(f"{vectors.dtype} {vectors.shape}".encode(), digest_size=16)
    digest.update(vectors.tobytes())
    return np.frombuffer(digest.digest(), np.uint64)


def _read(path: str) -> list[np.ndarray] | None:
    """Reads the arrays of a file; None if it is missing or damaged."""
    arrays = read_kept_arrays(path, _ARRAYS)
    if arrays is None:
        return None
    items = len(arrays[1])
    if not items or any(values.ndim != 2 or len(values) != items for values in arrays[1:]):
        return None
    return arrays
