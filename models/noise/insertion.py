"""Noise that we insert into a log ourselves: what the model learns from, and what benchmarks measure against."""

from dataclasses import dataclass

import numpy as np

from ..core.sequences import Sequences

REDRAWS = 50
"""Attempts to find an item that the user does not have, before an insertion is given up."""


@dataclass(frozen=True)
class NoisyLog:
    """A log with noise inserted.

    Attributes:
        sequences: All users, inserted interactions among the genuine ones.
        inserted: bool [N], true on noise; where it was inserted, `sequences.restrict(~inserted)` is the original log.
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
    """Inserts items that a user never chose at random places of the sequences.

    Every gap of the log (before, between and after interactions) is equally likely. An inserted item is always one
    of the log that its user does not have, nor is given twice: a repeat of a genuine item is no noise, and one of an
    inserted item would give both away. Inserted in proportion to
    popularity, an item's popularity says nothing on whether it was inserted; inserted uniformly, rarity half gives it
    away.

    Args:
        sequences: The log.
        rate: Share of the resulting interactions that are inserted, in [0, 1).
        uniform_share: Share of the insertions drawn uniformly over the log's items; the rest are drawn in proportion to
            the number of interactions of an item.
        seed: Seed of the draws.
        protect_last: The last so many interactions of each user stay the last: nothing is inserted after or
            between them. A user with fewer gets no noise.

    Returns:
        The noisy log. Where a user has nearly all items, a few insertions less than asked for.

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
    before = sequences.offsets[user] + gap - first_gap[user]  # inserted before this interaction of the log

    items, found = _draw_new_items(sequences, user, uniform_share, generator)
    user, before, items = user[found], before[found], items[found]
    # Stable: an insertion comes before the interaction it was drawn for, and after the last one of the user before.
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
    """Overwrites random interactions with items that their user never chose; sequences keep their lengths.

    Args:
        sequences: The log.
        rate: Share of all interactions that are replaced, in [0, 1).
        uniform_share: Share of the new items drawn uniformly over the log's items; the rest are drawn in proportion to
            the number of interactions of an item.
        seed: Seed of the draws.
        protect_last: The last so many interactions of each user stay as they are.

    Returns:
        The noisy log. Fewer interactions than asked for are replaced where too many are protected, or where a user has
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
    """Draws an item for each entry of `user` that the user does not have; also says which draws succeeded."""
    if not len(user):
        return np.zeros(0, np.int32), np.zeros(0, bool)
    catalogue = np.unique(sequences.items)
    size = int(catalogue[-1]) + 1
    owned = np.unique(sequences.users * size + sequences.items)
    uniform = generator.random(len(user)) < uniform_share
    items = np.zeros(len(user), np.int32)
    missing = np.arange(len(user))
    for _ in range(REDRAWS):
        # A random interaction's item is a draw in proportion to popularity.
        popular = sequences.items[generator.integers(0, len(sequences.items), len(missing))]
        any_item = catalogue[generator.integers(0, len(catalogue), len(missing))]
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
