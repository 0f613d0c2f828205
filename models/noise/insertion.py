"""Puts artificial noise into a log, and remembers where.

Real logs do not say which interactions are noise. So the detector is trained on noise that we put in ourselves, and the
benchmarks measure how much of such noise a detector finds. `insert_noise` makes sequences longer; `replace_noise`
overwrites interactions and keeps the lengths.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..core.sequences import Sequences

MAX_DRAWS = 50
"""How often an item is drawn for an insertion. If the user has every one of them already, the insertion is given up."""

MIN_RUN, MAX_RUN = 2, 10
"""Fewest and most consecutive interactions of another user that are inserted as one run."""

MEAN_RUN = (MIN_RUN + MAX_RUN) // 2


@dataclass(frozen=True)
class NoisyLog:
    """A log with artificial noise.

    Attributes:
        sequences: All users, with noise among their genuine interactions.
        inserted: bool [N], true on noise. If the noise was inserted, `sequences.restrict(~inserted)` is the original
            log.
        block: int64 [N], which of the noise came together: interactions of one run share a number. The default gives
            each interaction its own.
    """

    sequences: Sequences
    inserted: np.ndarray
    block: np.ndarray | None = None

    def __post_init__(self):
        if self.block is None:
            object.__setattr__(self, "block", np.arange(len(self.inserted)))


@dataclass(frozen=True)
class NoiseMix:
    """How much of the inserted noise is of other kinds than single items. The default is none of it."""

    run_share: float = 0.0
    """Share of the noise that comes in runs: MIN_RUN to MAX_RUN consecutive interactions of one other user, as when two
    people share an account."""
    text_share: float = 0.0
    """Share of the noise that is near in text to the interaction before it or after it."""
    nearest: np.ndarray | None = None
    """int [V, k], the items nearest in text to each item; -1 where there is none. None: no noise by text."""
    folds: int = 1
    """Users are dealt into so many folds, and a run comes from a user of the same fold. The vectors that judge a user
    are learned from the other folds. They would have seen the run in the sequence that it comes from, and its items
    would go together better than a user's own."""
    lenders: np.ndarray | None = None
    """Users that runs come from, bool [U]; None: all."""


SINGLES = NoiseMix()


def insert_noise(
    sequences: Sequences,
    rate: float,
    *,
    uniform_share: float,
    seed: int | np.random.SeedSequence,
    protect_last: int = 0,
    mix: NoiseMix = SINGLES,
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
        uniform_share: Share of the single insertions whose item is drawn uniformly from the items of the log. The
            others are drawn in proportion to the number of interactions of each item.
        seed: Seed of the random draws.
        protect_last: This many interactions at the end of each user stay at the end: nothing is inserted between or
            after them. A user with fewer interactions gets no noise.
        mix: What is inserted beside single items. What is missing of other kinds, because users have the items already,
            is inserted as single items.

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
    first_gap = np.cumsum(gaps) - gaps

    def draw_places(number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns users, and the interactions that new ones come before."""
        gap = generator.integers(0, max(int(gaps.sum()), 1), number)
        user = np.searchsorted(first_gap + gaps, gap, side="right")
        return user, sequences.offsets[user] + gap - first_gap[user]

    def draw_runs(number: int) -> _Drawn:
        return _draw_runs(sequences, *draw_places(-(-number // MEAN_RUN)), mix, generator)

    def draw_by_text(number: int) -> _Drawn:
        assert mix.nearest is not None
        return _draw_by_text(sequences, *draw_places(number), mix.nearest, generator)

    size = int(sequences.items.max(initial=0)) + 1
    owned = np.unique(sequences.users * size + sequences.items)
    parts = [_Drawn.none()]
    by_text = mix.text_share * (mix.nearest is not None)
    for draw, share in ((draw_runs, mix.run_share), (draw_by_text, by_text)):
        part, owned = _draw_unowned(draw, round(count * share), owned, size)
        parts.append(part)
    user, before = draw_places(count - sum(len(part.items) for part in parts))
    items, found = _draw_new_items(sequences, user, uniform_share, owned, generator)
    parts.append(_Drawn(user[found], before[found], items[found], np.arange(found.sum())))
    user, before, items, block = _Drawn.join(parts).columns
    # Sort by user, then position, with insertions first. An insertion after the last interaction of a user has the
    # position of the next user's first interaction, so the user must come first in the order.
    order = np.lexsort(
        (
            np.concatenate([block, np.zeros(total, np.int64)]),
            np.concatenate([np.zeros(len(items), np.int8), np.ones(total, np.int8)]),
            np.concatenate([before, np.arange(total)]),
            np.concatenate([user, sequences.users]),
        )
    )
    merged = np.concatenate([items, sequences.items])[order]
    noisy = Sequences.from_lengths(merged, lengths + np.bincount(user, minlength=len(sequences)), sequences.keys)
    return NoisyLog(noisy, order < len(items), np.concatenate([block, len(items) + np.arange(total)])[order])


@dataclass(frozen=True)
class _Drawn:
    """Interactions to insert, one row each. Rows of one block stand in their order."""

    user: np.ndarray
    """int64 [n]."""
    before: np.ndarray
    """The interaction of the log that each comes before, int64 [n]."""
    items: np.ndarray
    """int32 [n]."""
    block: np.ndarray
    """Which came together, int64 [n]."""

    @property
    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.user, self.before, self.items, self.block

    @classmethod
    def none(cls) -> "_Drawn":
        return cls(*(np.zeros(0, kind) for kind in (np.int64, np.int64, np.int32, np.int64)))

    @classmethod
    def join(cls, parts: list["_Drawn"]) -> "_Drawn":
        """Returns all rows, with blocks numbered through."""
        sizes = [int(part.block.max(initial=-1)) + 1 for part in parts]
        starts = np.cumsum(sizes) - sizes
        numbered = [replace(part, block=part.block + start) for part, start in zip(parts, starts, strict=True)]
        return cls(*(np.concatenate(column) for column in zip(*(part.columns for part in numbered), strict=True)))

    def select(self, keep: np.ndarray) -> "_Drawn":
        """Returns some rows."""
        return _Drawn(*(column[keep] for column in self.columns))


def _draw_unowned(draw: Callable[[int], _Drawn], count: int, owned: np.ndarray, size: int) -> tuple[_Drawn, np.ndarray]:
    """Draws until `count` items are found that their users do not have, or too few come.

    Returns:
        What was drawn; and `owned`, the distinct pairs of user and item (user * size + item), with the new ones.
    """
    parts, missing = [_Drawn.none()], count
    for _ in range(MAX_DRAWS):
        if missing <= 0:
            break
        drawn = draw(missing)
        pair = drawn.user * size + drawn.items
        new = np.zeros(len(pair), bool)
        new[np.unique(pair, return_index=True)[1]] = True
        new &= ~np.isin(pair, owned)
        new &= np.cumsum(new) <= missing
        owned = np.concatenate([owned, pair[new]])
        parts.append(drawn.select(new))
        missing -= int(new.sum())
    return _Drawn.join(parts), owned


def _draw_runs(
    sequences: Sequences, user: np.ndarray, before: np.ndarray, mix: NoiseMix, generator: np.random.Generator
) -> _Drawn:
    """Draws a run for each place: consecutive interactions of another user of the same fold."""
    fold = sequences.folds(mix.folds)
    lent = fold if mix.lenders is None else np.where(mix.lenders, fold, mix.folds)
    of_row = lent[sequences.users]
    by_fold, rows = np.argsort(of_row, kind="stable"), np.bincount(of_row, minlength=mix.folds)
    possible = rows[fold[user]] > 0  # a small log may have no lender in a fold
    user, before = user[possible], before[possible]
    drawn = (generator.random(len(user)) * rows[fold[user]]).astype(np.int64)
    # An interaction of the run, so that a user lends in proportion to their length.
    some = by_fold[(np.cumsum(rows) - rows)[fold[user]] + drawn]
    lender = sequences.users[some]
    length = generator.integers(MIN_RUN, MAX_RUN + 1, len(user)).clip(max=sequences.lengths[lender])
    start = np.minimum(some, sequences.offsets[1:][lender] - length)
    length[lender == user] = 0
    block = np.repeat(np.arange(len(user)), length)
    nth = np.arange(len(block)) - np.repeat(np.cumsum(length) - length, length)
    return _Drawn(user[block], before[block], sequences.items[start[block] + nth], block)


def _draw_by_text(
    sequences: Sequences, user: np.ndarray, before: np.ndarray, nearest: np.ndarray, generator: np.random.Generator
) -> _Drawn:
    """Draws for each place an item near in text to the interaction before it or after it, by popularity."""
    last = np.minimum(before, sequences.offsets[1:][user] - 1)
    first = np.maximum(before - 1, sequences.offsets[:-1][user])
    beside = np.where(generator.random(len(user)) < 0.5, first, last)
    choices = nearest[sequences.items[beside]]  # [n, k]
    counts = np.bincount(sequences.items, minlength=len(nearest))
    with np.errstate(divide="ignore"):
        weight = np.log(counts[choices] * (choices >= 0))
    # The largest logarithm plus Gumbel noise is a draw in proportion to popularity.
    best = (weight + generator.gumbel(size=weight.shape)).argmax(1)
    chosen = np.arange(len(user)), best
    drawn = _Drawn(user, before, choices[chosen].astype(np.int32), np.arange(len(user)))
    return drawn.select(np.isfinite(weight[chosen]))


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
    size = int(sequences.items.max(initial=0)) + 1
    owned = np.unique(sequences.users * size + sequences.items)
    drawn, found = _draw_new_items(sequences, sequences.users[chosen], uniform_share, owned, generator)
    items, replaced = sequences.items.copy(), np.zeros(len(sequences.items), bool)
    items[chosen[found]] = drawn[found]
    replaced[chosen[found]] = True
    return NoisyLog(Sequences(items, sequences.offsets, sequences.keys), replaced)


def _draw_new_items(
    sequences: Sequences, user: np.ndarray, uniform_share: float, owned: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a new item for each user of `user`, int64 [n]: one that is not in `owned`, see `_draw_unowned`.

    A user may occur several times, and then gets different items.

    Returns:
        The items, int32 [n], and which of them were found, bool [n].
    """
    if not len(user):
        return np.zeros(0, np.int32), np.zeros(0, bool)
    log_items = np.unique(sequences.items)
    size = int(log_items[-1]) + 1
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
