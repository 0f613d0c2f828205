"""A sample of the vectors that a model was trained with, small enough to be kept in its configuration.

By it `clean` knows whether the vectors that it is given are those: items keep their vectors when a catalogue grows, and
other vectors of the same length are found out. Vectors are compared by a few projections rather than by hashes, because
the same vectors may have been computed or rounded in another way.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..contract.hashing import hash_values
from .embedding_files import read_vectors_of

SAMPLED_ITEMS = 128
"""Items in a sample: those of the lowest hashes, so that the order of the items does not matter."""

PROJECTIONS = 8
"""Numbers that stand for a vector."""

MAX_DIFFERENCE = 0.1
"""How far a vector may be from the one of the training and count as the same, as a share of the length of that one."""


class Compared(NamedTuple):
    """What the comparison of vectors with a sample has shown."""

    common: int
    """Items of the sample that have a vector now."""
    same: int
    """How many of them have the vector that they had in training."""


@dataclass(frozen=True)
class VectorSample:
    """The vectors of some items, as projections."""

    hashes: np.ndarray
    """Hashes of the item ids, uint64 [n], ascending."""
    projections: np.ndarray
    """float32 [n, PROJECTIONS]."""

    @classmethod
    def of(cls, item_ids: pa.Array, vectors: np.ndarray, present: np.ndarray) -> "VectorSample":
        """Takes the sample of items [V] and their vectors, float32 [V, D]; items that have no vector are left out."""
        rows = np.flatnonzero(present)
        hashes = hash_values(item_ids.take(pa.array(rows)))
        lowest = np.argsort(hashes, kind="stable")[:SAMPLED_ITEMS]
        return cls(hashes[lowest], project(vectors[rows[lowest]]))

    def to_list(self) -> list[str]:
        """Returns one string per item: its hash and its projections, as hexadecimal numbers."""
        return [
            f"{int(hash_):016x}:{row.astype('<f4').tobytes().hex()}"
            for hash_, row in zip(self.hashes, self.projections, strict=True)
        ]

    @classmethod
    def from_list(cls, values: Any) -> "VectorSample":
        """Builds a sample from what `to_list` returned.

        Raises:
            ValueError: It is something else.
        """
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ValueError("not a list of strings")
        pairs = [value.split(":") for value in values]
        if not all(len(pair) == 2 and len(pair[1]) == 8 * PROJECTIONS for pair in pairs):
            raise ValueError("not pairs of hash and projections")
        numbers = b"".join(bytes.fromhex(numbers) for _, numbers in pairs)
        try:
            hashes = np.array([int(hash_, 16) for hash_, _ in pairs], np.uint64)
        except OverflowError as error:
            raise ValueError(str(error)) from error
        return cls(hashes, np.frombuffer(numbers, "<f4").reshape(-1, PROJECTIONS))

    def compare_files(self, path: str) -> Compared:
        """Compares the vectors in files with the sample, reading only a part of them.

        Raises:
            InputError: A file cannot be read.
            ArtifactError: A file breaks the contract of embeddings.
        """
        hashes, vectors = read_vectors_of(path, self.hashes)
        rows = np.flatnonzero(vectors.any(axis=1))
        order = np.argsort(self.hashes)
        expected = self.projections[order[np.searchsorted(self.hashes, hashes[rows], sorter=order)]]
        distance = np.linalg.norm(project(vectors[rows]) - expected, axis=1)
        same = distance <= MAX_DIFFERENCE * np.linalg.norm(expected, axis=1)
        return Compared(len(rows), int(same.sum()))


def project(vectors: np.ndarray) -> np.ndarray:
    """Projects vectors [n, D] onto directions that are the same in every release, float32 [n, PROJECTIONS]."""
    numbers = pa.array(np.arange(vectors.shape[1] * PROJECTIONS))
    signs = np.where(hash_values(numbers) >> np.uint64(63), 1.0, -1.0).reshape(-1, PROJECTIONS)
    return (vectors.astype(np.float64) @ signs / np.sqrt(PROJECTIONS)).astype(np.float32)
