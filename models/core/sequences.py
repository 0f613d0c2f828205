"""The interactions of many users, stored as flat arrays.

`Sequences` is how every model, trainer and benchmark here receives a log: no Python list per user, no table, only
numbers. Item ids have become row numbers by then. `windows.py` cuts sequences into the batches that models read.
"""

from dataclasses import dataclass

import numpy as np

from .mix_bits import mix_bits


@dataclass(frozen=True)
class Sequences:
    """The N interactions of U users: one user after the other, each user's interactions in time order.

    Attributes:
        items: int32 [N], the item of each interaction, as a row number in the item vectors.
        offsets: int64 [U + 1]. User u has the interactions from offsets[u] up to, but not including, offsets[u + 1].
        keys: uint64 [U], a hash of each user's id. It decides the user's fold. A model that scores users it was trained
            on must be given the same keys again. The default is 0, 1, 2, ..., which is safe only if the users and their
            order stay the same.
        times: int64 [N], the time of each interaction: any integers that sort like the times. None if there are none.
    """

    items: np.ndarray
    offsets: np.ndarray
    keys: np.ndarray | None = None
    times: np.ndarray | None = None

    def __post_init__(self):
        if self.keys is None:
            object.__setattr__(self, "keys", np.arange(len(self.offsets) - 1, dtype=np.uint64))
        elif self.keys.shape != (len(self.offsets) - 1,):
            raise ValueError(f"keys: expected one for each of {len(self.offsets) - 1} users, found {self.keys.shape}")
        if self.offsets.ndim != 1 or len(self.offsets) == 0:
            raise ValueError(f"offsets: expected a vector of users + 1 entries, found shape {self.offsets.shape}")
        if self.times is not None and self.times.shape != self.items.shape:
            raise ValueError(
                f"times: expected one for each of {len(self.items)} interactions, found {self.times.shape}"
            )
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.items) or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets: expected to rise from 0 to {len(self.items)}, the number of interactions")

    @classmethod
    def from_lengths(
        cls, items: np.ndarray, lengths: np.ndarray, keys: np.ndarray | None = None, times: np.ndarray | None = None
    ) -> "Sequences":
        """Builds sequences from the flat items [N], the number of interactions per user [U], keys [U] and times [N]."""
        return cls(np.asarray(items, np.int32), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), keys, times)

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

    def shuffled(self, users: np.ndarray, stream: np.random.SeedSequence) -> np.ndarray:
        """Returns some users, int64 [n], in an order by a hash of their keys and a seed.

        Two of them stand in the same order whoever else is in the log.
        """
        assert self.keys is not None
        word = stream.generate_state(1, np.uint64)[0]
        return users[np.argsort(mix_bits(self.keys[users] ^ word), kind="stable")]

    def restrict(self, keep: np.ndarray) -> "Sequences":
        """Returns the same users, but only the interactions for which `keep` (bool [N]) is true."""
        if keep.all():
            return self
        lengths = np.bincount(self.users[keep], minlength=len(self))
        times = None if self.times is None else self.times[keep]
        return Sequences.from_lengths(self.items[keep], lengths, self.keys, times)

    def take(self, users: np.ndarray) -> tuple["Sequences", np.ndarray]:
        """Returns the sequences of some users.

        Args:
            users: int64 [u], the users to take, in the order wanted.

        Returns:
            Their sequences, with n interactions together; and where each of these was before, int64 [n].
        """
        assert self.keys is not None
        lengths = self.lengths[users]
        begins = np.cumsum(lengths) - lengths
        rows = np.arange(lengths.sum()) + np.repeat(self.offsets[users] - begins, lengths)
        times = None if self.times is None else self.times[rows]
        return Sequences.from_lengths(self.items[rows], lengths, self.keys[users], times), rows

    def folds(self, count: int) -> np.ndarray:
        """Returns the fold of each user, int64 [U]. It depends on nothing but the user's key.

        Args:
            count: Number of folds. All are of about equal size.
        """
        assert self.keys is not None
        # A multiplicative hash, of which only the upper bits are used. The lower bits of the key decide the shard, and
        # every shard must hold users of all folds.
        mixed = (self.keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
        return (mixed % np.uint64(count)).astype(np.int64)
