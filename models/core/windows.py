"""The windows of sequences that models read together, and padded batches of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .sequences import Sequences


@dataclass(frozen=True)
class Windows:
    """Runs of at most `max_length` interactions that a model sees together.

    Attributes:
        starts: int64 [W], index of each window's first interaction.
        lengths: int64 [W].
        users: int64 [W], the user each window belongs to.
        before: int64 [W], how many of the first interactions are only context, being judged in the window before.
        after: int64 [W], likewise of the last.
    """

    starts: np.ndarray
    lengths: np.ndarray
    users: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def __len__(self) -> int:
        """Returns the number of windows."""
        return len(self.starts)

    def select(self, keep: np.ndarray | slice) -> "Windows":
        """Returns the windows that `keep`, a bool mask, indices or a slice, picks."""
        return Windows(*(column[keep] for column in vars(self).values()))

    def judged(self, chosen: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns which positions of some windows are judged there, bool [B, T], given their mask of real positions."""
        steps = np.arange(mask.shape[1])
        inside = (steps >= self.before[chosen, None]) & (steps < (self.lengths - self.after)[chosen, None])
        return mask & inside  # [B, T]


def cut_windows(sequences: Sequences, max_length: int, overlap: int = 0) -> Windows:
    """Cuts each sequence into windows of at most `max_length`, as even in size as can be.

    Every interaction is judged in exactly one window. Even sizes matter: cut at multiples of `max_length`, a sequence
    one longer would leave an interaction alone with nothing to compare it with.

    Args:
        sequences: What to cut.
        max_length: Most interactions in a window, the overlaps included; more than twice the overlap.
        overlap: Interactions that a window also sees of the one before it and the one after it.
    """
    lengths = sequences.lengths
    pieces = np.where(lengths <= max_length, np.minimum(lengths, 1), -(-lengths // (max_length - 2 * overlap)))
    users = np.repeat(np.arange(len(sequences)), pieces)
    nth = np.arange(len(users)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = nth * lengths[users] // np.maximum(pieces[users], 1)
    end = (nth + 1) * lengths[users] // np.maximum(pieces[users], 1)
    before, after = np.minimum(begin, overlap), np.minimum(lengths[users] - end, overlap)
    return Windows(sequences.offsets[users] + begin - before, end - begin + before + after, users, before, after)


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
