"""Cuts sequences into windows, and windows into padded batches.

A model reads a limited number of interactions at once. `cut_windows` splits long sequences into windows, which may
overlap so that each interaction keeps its neighbours. `batches` then puts windows of similar length together and pads
them. Training and scoring both use these functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .sequences import Sequences

EVEN_ROWS = 32
"""What is computed of each row of a table is the same in any other table, if both have a multiple of so many rows.

Vector instructions take so many numbers at most. What is left over at the end of an array is computed by other code,
with other last bits. Matrix products take more, see TILED_ROWS."""

TILED_ROWS = 3 * EVEN_ROWS
"""Matrix products are computed with a multiple of so many rows (`detector/linear.py`), so full batches have them.

It is a multiple of the rows of every tile that Intel's library may have (2, 4, 6, 8, 12, 16, 24, 48), and too many for
the code that it takes for few rows."""


def even_rows(count: int) -> int:
    """Returns how many rows a table of `count` rows has if it is filled up to a multiple of EVEN_ROWS."""
    return -(-count // EVEN_ROWS) * EVEN_ROWS


@dataclass(frozen=True)
class Windows:
    """W windows: consecutive interactions of one user that a model reads together.

    Attributes:
        starts: int64 [W], index of the first interaction of each window.
        lengths: int64 [W], interactions in each window.
        users: int64 [W], the user that each window belongs to.
        before: int64 [W]. So many interactions at the start of the window are context only. They are judged in the
            previous window.
        after: int64 [W]. So many interactions at the end of the window are context only. They are judged in the next
            window.
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
        """Returns some of the windows: those that `keep` selects, which is a bool mask, indices, or a slice."""
        return Windows(*(column[keep] for column in vars(self).values()))

    def judged(self, chosen: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns which positions of a batch are judged, bool [B, T]: those that are neither context nor padding.

        Args:
            chosen: int64 [B], the windows in the batch.
            mask: bool [B, T], false on padding.
        """
        steps = np.arange(mask.shape[1])
        inside = (steps >= self.before[chosen, None]) & (steps < (self.lengths - self.after)[chosen, None])
        return mask & inside  # [B, T]


def cut_windows(sequences: Sequences, max_length: int, overlap: int = 0) -> Windows:
    """Cuts each sequence into windows of at most `max_length` interactions, as equal in size as possible.

    Every interaction is judged in exactly one window, by comparing it with the others in that window. This is why the
    windows of a user are of equal size. If sequences were cut at multiples of `max_length`, the last window could hold
    a single interaction, with nothing to compare it with.

    Args:
        sequences: The sequences to cut.
        max_length: Maximum number of interactions in a window, including the overlaps. It must be more than twice the
            overlap.
        overlap: Number of interactions that a window also sees of the previous window, and of the next.
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
    """Yields padded batches of windows of similar length. Every window is in exactly one batch.

    Args:
        windows: The windows to batch.
        batch_positions: Maximum number of positions in a batch, including padding. A batch holds at least one window,
            even if that window is longer.
        generator: Shuffles windows of the same length, and the order of the batches. If None, the order is fixed.

    Yields:
        The indices of the windows in the batch, int64 [B]; the index of the interaction at each position, int64 [B, T],
        which is 0 on padding; and a mask that is false on padding, bool [B, T].
    """
    shuffled = np.arange(len(windows)) if generator is None else generator.permutation(len(windows))
    order = shuffled[np.argsort(windows.lengths[shuffled], kind="stable")]
    lengths = windows.lengths[order]
    cuts, start = [], 0
    while start < len(order):
        # Windows are in order of length, and padded to the last one. The batch fits if the last one's length times the
        # number of windows is within the budget.
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


def even_batches(
    windows: Windows, batch_positions: int, longest: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields batches in which a window is computed to the same bits, whatever else is in its batch.

    A window is padded to a length that depends on its own length alone, and batches are filled up with rows of padding
    to a multiple of EVEN_ROWS. Every window is in exactly one batch.

    Args:
        windows: The windows to batch.
        batch_positions: Maximum number of positions in a batch. A full batch has TILED_ROWS rows at least, even if they
            have more positions.
        longest: No window is padded beyond this.

    Yields:
        As `batches`. Rows of padding name a window of the batch, and have a mask that is false everywhere.
    """
    padded = np.minimum(_padded_length(windows.lengths), longest)
    for steps in np.unique(padded):
        of_length = np.flatnonzero(padded == steps)
        rows = max(batch_positions // max(int(steps), 1) // TILED_ROWS, 1) * TILED_ROWS
        for start in range(0, len(of_length), rows):
            chosen = of_length[start : start + rows]
            lengths = np.zeros(even_rows(len(chosen)), np.int64)
            lengths[: len(chosen)] = windows.lengths[chosen]
            chosen = np.append(chosen, np.repeat(chosen[:1], len(lengths) - len(chosen)))
            mask = np.arange(max(int(steps), 1)) < lengths[:, None]  # [B, T]
            yield chosen, np.where(mask, windows.starts[chosen, None] + np.arange(mask.shape[1]), 0), mask


def _padded_length(lengths: np.ndarray) -> np.ndarray:
    """Rounds lengths up: to all numbers up to 8, every second one up to 16, every fourth up to 32, and so on."""
    step = np.maximum(1 << np.maximum(np.frexp(np.maximum(lengths - 1, 1))[1] - 3, 0), 1)
    return -(-lengths // step) * step
