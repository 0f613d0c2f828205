"""Users' interaction sequences as two flat arrays, and the windows and padded batches that models read."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sequences:
    """Interactions of many users, user after user, each in time order.

    Attributes:
        items: int32 [N], the item of each interaction as a row of the catalogue.
        offsets: int64 [U + 1]; user u holds interactions offsets[u] up to offsets[u + 1].
        keys: uint64 [U], a hash of each user's id, by which users are dealt into folds. A model must be shown the users
            that it was trained on under the same keys. Default: 0, 1, 2, ..., right as long as the users are the same.
    """

    items: np.ndarray
    offsets: np.ndarray
    keys: np.ndarray | None = None

    def __post_init__(self):
        if self.keys is None:
            object.__setattr__(self, "keys", np.arange(len(self.offsets) - 1, dtype=np.uint64))
        elif self.keys.shape != (len(self.offsets) - 1,):
            raise ValueError(f"keys: expected one for each of {len(self.offsets) - 1} users, found {self.keys.shape}")
        if self.offsets.ndim != 1 or len(self.offsets) == 0:
            raise ValueError(f"offsets: expected a vector of users + 1 entries, found shape {self.offsets.shape}")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.items) or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets: expected to rise from 0 to {len(self.items)}, the number of interactions")

    @classmethod
    def from_lengths(cls, items: np.ndarray, lengths: np.ndarray, keys: np.ndarray | None = None) -> "Sequences":
        """Builds sequences from flat items [N], the number of interactions of each user [U] and the users' keys."""
        return cls(np.asarray(items, np.int32), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), keys)

    def __len__(self) -> int:
        """Returns the number of users."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Interactions per user, int64 [U]."""
        return np.diff(self.offsets)

    @property
    def users(self) -> np.ndarray:
        """The user of each interaction, int64 [N]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def restrict(self, keep: np.ndarray) -> "Sequences":
        """Returns the same users with only the interactions where `keep` (bool [N]) is true."""
        lengths = np.bincount(self.users[keep], minlength=len(self))
        return Sequences.from_lengths(self.items[keep], lengths, self.keys)

    def take(self, users: np.ndarray) -> tuple["Sequences", np.ndarray]:
        """Returns the sequences of some users, int64 [u], in that order, and where their interactions were, [n]."""
        assert self.keys is not None
        lengths = self.lengths[users]
        begins = np.cumsum(lengths) - lengths
        rows = np.arange(lengths.sum()) + np.repeat(self.offsets[users] - begins, lengths)
        return Sequences.from_lengths(self.items[rows], lengths, self.keys[users]), rows

    def folds(self, count: int) -> np.ndarray:
        """Deals users into `count` folds of about equal size, int64 [U]: a function of a user's key alone."""
        assert self.keys is not None
        # Upper bits of a multiplicative hash: shards, which are made of the lower bits, hold users of all folds.
        mixed = (self.keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
        return (mixed % np.uint64(count)).astype(np.int64)
