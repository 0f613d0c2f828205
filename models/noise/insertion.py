"""Puts artificial noise into a log, and remembers where.

Real logs do not say which interactions are noise. So the detector is trained on noise that we put in ourselves, and the
benchmarks measure how much of such noise a detector finds. `insert_noise` makes sequences longer; `replace_noise`
overwrites interactions and keeps the lengths.
"""

from dataclasses import dataclass

import numpy as np

from ..core.sequences import Sequences

MAX_DRAWS = 50
"""How often an item is drawn for an insertion. If the user has every one of them already, the insertion is given up."""


@dataclass(frozen=True)
class NoisyLog:
    """A log with artificial noise.

    Attributes:
        sequences: All users, with noise among their genuine interactions.
        inserted: bool [N], true on noise. If the noise was inserted, `sequences.restrict(~inserted)` is the original
            log.
    """

    sequences: Sequences
    inserted: np.ndarray


def insert_noise(
    sequences: Sequences,
    rate: float,
    *,
    uniform_share: float,
    seed: int | np.random.SeedSequence,
    protect_last: int = 0,
) -> NoisyLog:
    """Inserts items that a user never chose, at random places in the sequences.

    Every gap in the log (before, between and after interactions) is equally likely. An inserted item is always an item
    of the log that the user does not have. A second interaction with a genuine item would not be noise. Nor is an item
    inserted twice for the same user, since the repetition would give both away. If items are drawn in proportion to
    popularity, an item's popularity does not tell whether it was inserted. If they are drawn uniformly, it often does:
    rare items are then mostly noise.

    Args:
        sequences: The log.
        rate: Share of the interactions in the result that are inserted, in [0, 1).
        uniform_share: Share of the insertions whose item is drawn uniformly from the items of the log. The others are
            drawn in proportion to the number of interactions of each item.
        seed: Seed of the random draws.
        protect_last: This many interactions at the end of each user stay at the end: nothing is inserted between or
            after them. A user with fewer interactions gets no noise.

    Returns:
        The noisy log. It holds slightly less noise than asked for if some users have nearly all items.

    Raises:
        ValueError: `rate` is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate: expected a share in [0, 1), found {rate}")
    generator = np.random.default_rng(seed)
    total, lengths = len(sequences.items), sequences.lengths
    gaps = np.maximum(lengths - protect_last + 1, 0) if protect_last else (lengths + 1) * (lengths > 0)
    count = round(total * rate / (1 - rate)) if gaps.sum() else 0
    gap = generator.integers(0, max(int(gaps.sum()), 1), count)
    first_gap = np.cumsum(gaps) - gaps
    user = np.searchsorted(first_gap + gaps, gap, side="right")
    before = sequences.offsets[user] + gap - first_gap[user]  # the interaction that the new one comes before

    items, found = _draw_new_items(sequences, user, uniform_share, generator)
    user, before, items = user[found], before[found], items[found]
    # Sort by user, then position, with insertions first. An insertion after the last interaction of a user has the
    # position of the next user's first interaction, so the user must come first in the order.
    order = np.lexsort(
        (
            np.concatenate([np.zeros(len(items), np.int8), np.ones(total, np.int8)]),
            np.concatenate([before, np.arange(total)]),
            np.concatenate([user, sequences.users]),
        )
    )
    merged = np.concatenate([items, sequences.items])[order]
    noisy = Sequences.from_lengths(merged, lengths + np.bincount(user, minlength=len(sequences)), sequences.keys)
    return NoisyLog(noisy, order < len(items))


def replace_noise(
    sequences: Sequences,
    rate: float,
    *,
    uniform_share: float,
    seed: int | np.random.SeedSequence,
    protect_last: int = 0,
) -> NoisyLog:
    """Replaces random interactions by items that the user never chose. Sequences keep their lengths.

    Args:
        sequences: The log.
        rate: Share of all interactions that are replaced, in [0, 1).
        uniform_share: Share of the new items that are drawn uniformly from the items of the log. The others are drawn
            in proportion to the number of interactions of each item.
        seed: Seed of the random draws.
        protect_last: This many interactions at the end of each user are left as they are.

    Returns:
        The noisy log. It holds less noise than asked for if too many interactions are protected, or if some users have
        nearly all items.

    Raises:
        ValueError: `rate` is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate: expected a share in [0, 1), found {rate}")
    generator = np.random.default_rng(seed)
    from_end = np.repeat(sequences.offsets[1:], sequences.lengths) - np.arange(len(sequences.items))
    candidates = np.flatnonzero(from_end > protect_last)
    count = min(round(len(sequences.items) * rate), len(candidates))
    chosen = generator.choice(candidates, count, replace=False)
    drawn, found = _draw_new_items(sequences, sequences.users[chosen], uniform_share, generator)
    items, replaced = sequences.items.copy(), np.zeros(len(sequences.items), bool)
    items[chosen[found]] = drawn[found]
    replaced[chosen[found]] = True
    return NoisyLog(Sequences(items, sequences.offsets, sequences.keys), replaced)


def _draw_new_items(
    sequences: Sequences, user: np.ndarray, uniform_share: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a new item for each user of `user`, int64 [n]: one that they do not have.

    A user may occur several times, and then gets different items.

    Returns:
        The items, int32 [n], and which of them were found, bool [n].
    """
    if not len(user):
        return np.zeros(0, np.int32), np.zeros(0, bool)
    log_items = np.unique(sequences.items)
    size = int(log_items[-1]) + 1
    owned = np.unique(sequences.users * size + sequences.items)
    uniform = generator.random(len(user)) < uniform_share
    items = np.zeros(len(user), np.int32)
    missing = np.arange(len(user))
    for _ in range(MAX_DRAWS):
        # The item of a random interaction is a draw in proportion to popularity.
        popular = sequences.items[generator.integers(0, len(sequences.items), len(missing))]
        any_item = log_items[generator.integers(0, len(log_items), len(missing))]
        items[missing] = np.where(uniform[missing], any_item, popular)
        drawn, first = np.unique(user[missing] * size + items[missing], return_index=True)
        new = ~np.isin(drawn, owned, assume_unique=True)
        owned = np.concatenate([owned, drawn[new]])
        missing = np.delete(missing, first[new])
        if not len(missing):
            break
    found = np.ones(len(user), bool)
    found[missing] = False
    return items, found
