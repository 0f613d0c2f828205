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

MIN_BLOCK, MAX_BLOCK = 4, 12
"""Fewest and most unrelated items that are inserted as one block."""

MEAN_BLOCK = (MIN_BLOCK + MAX_BLOCK) // 2

PERIOD_SHARE = 0.005
"""What others choose at a time are this share of the log's interactions before it, and as many after it."""

NOISE_KINDS = ("single", "run", "text", "block")
"""Kinds of noise that training inserts, see `NoiseMix`."""


@dataclass(frozen=True)
class NoisyLog:
    """A log with artificial noise.

    Attributes:
        sequences: All users, with noise among their genuine interactions.
        inserted: bool [N], true on noise. If the noise was inserted, `sequences.restrict(~inserted)` is the original
            log.
        block: int64 [N], which of the noise came together: interactions of one run share a number. The default gives
            each interaction its own.
        kind: int8 [N], which of NOISE_KINDS the noise is, by number; -1 on what is genuine. The default takes all noise
            for single items.
    """

    sequences: Sequences
    inserted: np.ndarray
    block: np.ndarray | None = None
    kind: np.ndarray | None = None

    def __post_init__(self):
        if self.block is None:
            object.__setattr__(self, "block", np.arange(len(self.inserted)))
        if self.kind is None:
            object.__setattr__(self, "kind", np.where(self.inserted, 0, -1).astype(np.int8))


@dataclass(frozen=True)
class NoiseMix:
    """How much of the inserted noise is of other kinds than single items. The default is none of it."""

    run_share: float = 0.0
    """Share of the noise that comes in runs: MIN_RUN to MAX_RUN consecutive interactions of one other user, as when two
    people share an account."""
    text_share: float = 0.0
    """Share of the noise that is near in text to the interaction before it or after it."""
    block_share: float = 0.0
    """Share of the noise that comes in blocks: MIN_BLOCK to MAX_BLOCK unrelated items at one place, as when somebody
    else's list is imported. Each is drawn in proportion to popularity."""
    nearest: np.ndarray | None = None
    """int [V, k], the items nearest in text to each item; -1 where there is none. None: no noise by text."""
    folds: int = 1
    """Users are dealt into so many folds, and a run comes from a user of the same fold. The vectors that judge a user
    are learned from the other folds. They would have seen the run in the sequence that it comes from, and its items
    would go together better than a user's own."""
    lenders: np.ndarray | None = None
    """Users that runs come from, bool [U]; None: all."""
    current_share: float = 0.0
    """Share of the runs, and of the single items by popularity, that are drawn from what others choose at that time. In
    a log without times, there is no such noise."""


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
        mix: What is inserted beside single items, and what is drawn by time. What is missing of other kinds, because
            users have the items already, is inserted as single items.

    Returns:
        The noisy log. It holds slightly less noise than asked for if some users have nearly all items. If the log has
        times, each insertion has one between those of its neighbours.

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
    by_time = None if sequences.times is None else np.argsort(sequences.times, kind="stable")

    def draw_places(number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns users, and the interactions that new ones come before."""
        gap = generator.integers(0, max(int(gaps.sum()), 1), number)
        user = np.searchsorted(first_gap + gaps, gap, side="right")
        return user, sequences.offsets[user] + gap - first_gap[user]

    def draw_runs(number: int) -> _Drawn:
        return _draw_runs(sequences, *draw_places(-(-number // MEAN_RUN)), mix, generator, by_time)

    def draw_by_text(number: int) -> _Drawn:
        assert mix.nearest is not None
        return _draw_by_text(sequences, *draw_places(number), mix.nearest, generator)

    def draw_blocks(number: int) -> _Drawn:
        return _draw_blocks(sequences, *draw_places(-(-number // MEAN_BLOCK)), generator)

    size = int(sequences.items.max(initial=0)) + 1
    owned = np.unique(sequences.users * size + sequences.items)
    parts: dict[str, _Drawn] = {}
    by_text = mix.text_share * (mix.nearest is not None)
    for name, draw, share in (
        ("run", draw_runs, mix.run_share),
        ("text", draw_by_text, by_text),
        ("block", draw_blocks, mix.block_share),
    ):
        parts[name], owned = _draw_unowned(draw, round(count * share), owned, size)
    user, before = draw_places(count - sum(len(part.items) for part in parts.values()))
    near = None
    if by_time is not None:
        current = generator.random(len(user)) < mix.current_share
        near = _Period(by_time, _ranks(sequences, user, before, generator, by_time), current)
    items, found = _draw_new_items(sequences, user, uniform_share, owned, generator, near)
    parts["single"] = _Drawn(user[found], before[found], items[found], np.arange(found.sum()))
    kind = np.repeat([NOISE_KINDS.index(name) for name in parts], [len(part.items) for part in parts.values()])
    return _merge(sequences, _Drawn.join([*parts.values()]), kind, generator)


def _merge(sequences: Sequences, drawn: "_Drawn", kind: np.ndarray, generator: np.random.Generator) -> NoisyLog:
    """Puts what was drawn into the log. `kind`, int [n], is that of each insertion, by its number in NOISE_KINDS."""
    total = len(sequences.items)
    user, before, items, block = drawn.columns
    times = None
    if sequences.times is not None:
        times = np.concatenate([_draw_times(sequences, user, before, block, generator), sequences.times])
    # Sort by user, then position, with insertions first. An insertion after the last interaction of a user has the
    # position of the next user's first interaction, so the user must come first in the order.
    order = np.lexsort(
        (
            np.concatenate([block, np.zeros(total, np.int64)]),
            *([] if times is None else [times]),
            np.concatenate([np.zeros(len(items), np.int8), np.ones(total, np.int8)]),
            np.concatenate([before, np.arange(total)]),
            np.concatenate([user, sequences.users]),
        )
    )
    merged = np.concatenate([items, sequences.items])[order]
    noisy = Sequences.from_lengths(
        merged,
        sequences.lengths + np.bincount(user, minlength=len(sequences)),
        sequences.keys,
        None if times is None else times[order],
    )
    return NoisyLog(
        noisy,
        order < len(items),
        np.concatenate([block, len(items) + np.arange(total)])[order],
        np.concatenate([kind, np.full(total, -1)])[order].astype(np.int8),
    )


def _neighbours(sequences: Sequences, user: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the interactions of a user before and after each place, int64 [n]: one of them, if there is no other."""
    last, first = sequences.offsets[1:][user] - 1, sequences.offsets[:-1][user]
    return np.maximum(before - 1, first), np.minimum(before, last)


def _draw_times(
    sequences: Sequences, user: np.ndarray, before: np.ndarray, block: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Draws a time for each insertion between those of its neighbours, int64 [n]. Blocks keep their order."""
    assert sequences.times is not None
    begin, end = (sequences.times[rows] for rows in _neighbours(sequences, user, before))
    # Times may be the bits of decimal numbers, whose differences an int64 does not hold.
    after = generator.random(len(begin)) * (end.astype(np.float64) - begin.astype(np.float64))
    times = np.clip(begin + after.astype(np.int64), begin, end)
    in_order = np.lexsort((times, block))
    ordered = np.empty_like(times)
    ordered[np.argsort(block, kind="stable")] = times[in_order]
    return ordered


def _ranks(
    sequences: Sequences, user: np.ndarray, before: np.ndarray, generator: np.random.Generator, by_time: np.ndarray
) -> np.ndarray:
    """Returns how many interactions of the log came before a time that each place could have, int64 [n]."""
    assert sequences.times is not None
    times = _draw_times(sequences, user, before, np.arange(len(user)), generator)
    return np.searchsorted(sequences.times[by_time], times)


@dataclass(frozen=True)
class _Period:
    """What others choose at the time of an insertion."""

    by_time: np.ndarray
    """The log's interactions in order of time, int64 [N]."""
    rank: np.ndarray
    """How many of them came before each insertion, int64 [n]."""
    current: np.ndarray
    """Which insertions are drawn by time, bool [n]."""

    def draw(self, number: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draws an interaction at the time of each insertion of some, int64 [m] and int64 [m]."""
        reach = max(int(len(self.by_time) * PERIOD_SHARE), 1)
        rank = self.rank[number] + generator.integers(-reach, reach + 1, len(number))
        return self.by_time[rank.clip(0, len(self.by_time) - 1)]


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
    sequences: Sequences,
    user: np.ndarray,
    before: np.ndarray,
    mix: NoiseMix,
    generator: np.random.Generator,
    by_time: np.ndarray | None,
) -> _Drawn:
    """Draws a run for each place: consecutive interactions of another user of the same fold.

    With `by_time`, the log's interactions in order of time, some are drawn by time.
    """
    fold = sequences.folds(mix.folds)
    lent = fold if mix.lenders is None else np.where(mix.lenders, fold, mix.folds)
    of_row = lent[sequences.users]
    rows = np.bincount(of_row, minlength=mix.folds)
    in_order = np.arange(len(of_row)) if by_time is None else by_time
    by_fold = in_order[np.argsort(of_row[in_order], kind="stable")]
    possible = rows[fold[user]] > 0  # a small log may have no lender in a fold
    user, before = user[possible], before[possible]
    drawn = (generator.random(len(user)) * rows[fold[user]]).astype(np.int64)
    if by_time is not None:
        # How much of the fold came before, if as much did as of the log.
        rank = _ranks(sequences, user, before, generator, by_time) / len(sequences.items)
        rank += generator.uniform(-PERIOD_SHARE, PERIOD_SHARE, len(user))
        at_that_time = (rank * rows[fold[user]]).astype(np.int64).clip(0, rows[fold[user]] - 1)
        drawn = np.where(generator.random(len(user)) < mix.current_share, at_that_time, drawn)
    # An interaction of the run, so that a user lends in proportion to their length.
    some = by_fold[(np.cumsum(rows) - rows)[fold[user]] + drawn]
    lender = sequences.users[some]
    length = generator.integers(MIN_RUN, MAX_RUN + 1, len(user)).clip(max=sequences.lengths[lender])
    start = np.minimum(some, sequences.offsets[1:][lender] - length)
    length[lender == user] = 0
    block = np.repeat(np.arange(len(user)), length)
    nth = np.arange(len(block)) - np.repeat(np.cumsum(length) - length, length)
    return _Drawn(user[block], before[block], sequences.items[start[block] + nth], block)


def _draw_blocks(sequences: Sequences, user: np.ndarray, before: np.ndarray, generator: np.random.Generator) -> _Drawn:
    """Draws unrelated items for each place, by popularity."""
    block = np.repeat(np.arange(len(user)), generator.integers(MIN_BLOCK, MAX_BLOCK + 1, len(user)))
    items = sequences.items[generator.integers(0, len(sequences.items), len(block))]
    return _Drawn(user[block], before[block], items, block)


def _draw_by_text(
    sequences: Sequences, user: np.ndarray, before: np.ndarray, nearest: np.ndarray, generator: np.random.Generator
) -> _Drawn:
    """Draws for each place an item near in text to the interaction before it or after it, by popularity."""
    first, last = _neighbours(sequences, user, before)
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
    return NoisyLog(replace(sequences, items=items), replaced)


def _draw_new_items(
    sequences: Sequences,
    user: np.ndarray,
    uniform_share: float,
    owned: np.ndarray,
    generator: np.random.Generator,
    near: _Period | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a new item for each user of `user`, int64 [n]: one that is not in `owned`, see `_draw_unowned`.

    A user may occur several times, and then gets different items. With `near`, some are drawn by time.

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
        some = generator.integers(0, len(sequences.items), len(missing))
        if near is not None:
            some = np.where(near.current[missing], near.draw(missing, generator), some)
        popular = sequences.items[some]
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
