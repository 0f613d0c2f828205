"""Users' interaction sequences as two flat arrays, and the windows and padded batches that models read."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sequences:
    """Interactions of many users, user after user, each in time order.

    Attributes:
        items: int32 [N], the item of each interaction as a row of the catalogue.
        offsets: int64 [U + 1]; user u holds interactions offsets[u] up to offsets[u + 1].
    """

    items: np.ndarray
    offsets: np.ndarray

    def __post_init__(self):
        if self.offsets.ndim != 1 or len(self.offsets) == 0:
            raise ValueError(f"offsets: expected a vector of users + 1 entries, found shape {self.offsets.shape}")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.items) or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets: expected to rise from 0 to {len(self.items)}, the number of interactions")

    @classmethod
    def from_lengths(cls, items: np.ndarray, lengths: np.ndarray) -> "Sequences":
        """Builds sequences from flat items [N] and the number of interactions of each user [U]."""
        return cls(np.asarray(items, np.int32), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

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
        return Sequences.from_lengths(self.items[keep], lengths)


@dataclass(frozen=True)
class Windows:
    """Runs of at most `max_length` interactions that a model sees together.

    Attributes:
        starts: int64 [W], index of each window's first interaction.
        lengths: int64 [W].
        users: int64 [W], the user each window belongs to.
    """

    starts: np.ndarray
    lengths: np.ndarray
    users: np.ndarray

    def __len__(self) -> int:
        """Returns the number of windows."""
        return len(self.starts)

    def select(self, keep: np.ndarray) -> "Windows":
        """Returns the windows that `keep`, a bool mask or indices, picks."""
        return Windows(self.starts[keep], self.lengths[keep], self.users[keep])


def cut_windows(sequences: Sequences, max_length: int) -> Windows:
    """Cuts each sequence into the fewest windows of at most `max_length`, as even in size as can be.

    Every interaction falls into exactly one window. Even sizes matter: cut at multiples of `max_length`, a sequence
    one longer would leave an interaction alone with nothing to compare it with.
    """
    lengths = sequences.lengths
    pieces = -(-lengths // max_length)  # 0 for an empty sequence
    users = np.repeat(np.arange(len(sequences)), pieces)
    nth = np.arange(len(users)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = nth * lengths[users] // np.maximum(pieces[users], 1)
    end = (nth + 1) * lengths[users] // np.maximum(pieces[users], 1)
    return Windows(sequences.offsets[users] + begin, end - begin, users)


def batches(
    windows: Windows, batch_positions: int, generator: np.random.Generator | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields padded batches of windows of similar length, together holding every window once.

    Args:
        windows: What to batch.
        batch_positions: Most positions, padding included, in a batch; a batch holds at least one window.
        generator: Shuffles windows among their equals in length, and the batches. Without it the order is fixed.

    Yields:
        Indices of the windows, int64 [B]; index of the interaction at each position, int64 [B, T], 0 on padding; and
        the mask of real positions, bool [B, T].
    """
    shuffled = np.arange(len(windows)) if generator is None else generator.permutation(len(windows))
    order = shuffled[np.argsort(windows.lengths[shuffled], kind="stable")]
    lengths = windows.lengths[order]
    cuts, start = [], 0
    while start < len(order):
        # Lengths rise, so windows fit as long as the last one's length times their number stays within the budget.
        stop = min(len(order), start + max(1, batch_positions // max(int(lengths[start]), 1)))
        while stop > start + 1 and int(lengths[stop - 1]) * (stop - start) > batch_positions:
            stop = start + max(1, batch_positions // int(lengths[stop - 1]))
        cuts.append(order[start:stop])
        start = stop
    if generator is not None:
        cuts = [cuts[i] for i in generator.permutation(len(cuts))]
    for chosen in cuts:
        steps = np.arange(max(int(windows.lengths[chosen].max()), 1))
        mask = steps < windows.lengths[chosen, None]  # [B, T]
        yield chosen, np.where(mask, windows.starts[chosen, None] + steps, 0), mask
