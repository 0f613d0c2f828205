"""Noise as real logs have it, put into a log: shared accounts, gifts, misclicks, trends, imports, bots and others.

This code shares nothing with the noise that training inserts. Noise that people are exposed to is drawn from what
others interact with at about the same time. Nothing is inserted into or after a user's last PROTECTED interactions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from iadsr.models.core.sequences import Sequences

from .datasets import PROTECTED

STREAM = 0x5EA7
"""Part of every seed. Neither training nor the other benchmarks use it."""
DONOR_SHARE = 0.1
"""Share of the users who lend runs to shared accounts. They are taken out of the log: a copy would be recognised."""
PERIOD_ROWS = 1000
"""An interaction's period: so many interactions of the log before it and after it."""
SIMILAR_POPULARITY = 1.5
"""An item is as popular as another if its number of interactions is at most so many times larger or smaller."""
NEAREST_TEXTS = 20
"""Items that a misclick by text is drawn from."""
TRENDING = 20
"""Items of a week that are its trend."""
BOT_LENGTHS = (50, 300)
"""Shortest and longest list of a bot."""
MAX_ROUNDS = 50
"""How often noise is drawn before fewer than asked for are given back."""

DAY = 24 * 3600
"""In seconds."""


@dataclass(frozen=True)
class RealLog:
    """A log, and what the kinds of noise need to know of it."""

    sequences: Sequences
    """The log without the donors."""
    time: np.ndarray
    """int64 [N], seconds."""
    donors: Sequences
    """Users who are not in the log."""
    semantic: np.ndarray
    """float32 [V, D]."""
    category: np.ndarray
    """int64 [V]."""

    @cached_property
    def size(self) -> int:
        """The number of items of the catalogue."""
        return len(self.category)

    @cached_property
    def users(self) -> np.ndarray:
        """The user of each interaction, int64 [N]."""
        return self.sequences.users

    @cached_property
    def counts(self) -> np.ndarray:
        """The number of interactions of each item, int64 [V]."""
        return np.bincount(self.sequences.items, minlength=self.size)

    @cached_property
    def places(self) -> np.ndarray:
        """The interactions that noise may come before, int64 [n]."""
        ends = np.repeat(self.sequences.offsets[1:], self.sequences.lengths)
        return np.flatnonzero(ends - np.arange(len(ends)) >= PROTECTED)

    @cached_property
    def by_time(self) -> np.ndarray:
        """All interactions in the order of time, int64 [N]."""
        return np.argsort(self.time, kind="stable")

    @cached_property
    def rank(self) -> np.ndarray:
        """The place of each interaction in `by_time`, int64 [N]."""
        rank = np.empty(len(self.by_time), np.int64)
        rank[self.by_time] = np.arange(len(rank))
        return rank

    @cached_property
    def resolution(self) -> int:
        """The largest step in seconds that all times are multiples of: 1 if that is a second."""
        return max(int(np.gcd.reduce(self.time - self.time.min())), 1)

    def at_the_time_of(self, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draws for each of some interactions an item that somebody chose in its period, int64 [n]."""
        drawn = self.rank[rows] + generator.integers(-PERIOD_ROWS, PERIOD_ROWS + 1, len(rows))
        return self.sequences.items[self.by_time[drawn.clip(0, len(self.by_time) - 1)]].astype(np.int64)


@dataclass(frozen=True)
class Insertions:
    """Interactions to insert. Rows of one block stand together, in this order."""

    before: np.ndarray
    """The interaction of the log that each comes before, int64 [n]."""
    items: np.ndarray
    """int64 [n]."""
    block: np.ndarray
    """Which belong together, int64 [n], ascending."""
    instant: bool = False
    """Whether a block has one time."""
    seconds: int | None = None
    """Most seconds after the interaction before it; None: any time until the next."""
    repeats: bool = False
    """Whether the user has the item already, which is otherwise never the case."""


@dataclass(frozen=True)
class KindsOfNoise:
    """A log with noise of several kinds."""

    sequences: Sequences
    """All users; bots come last."""
    time: np.ndarray
    """int64 [M], seconds."""
    kind: np.ndarray
    """int64 [M]: the number of the kind in the order asked for, -1 on genuine interactions."""
    measured: np.ndarray
    """bool [M], false on the last PROTECTED interactions of users who are not bots."""
    bots: np.ndarray
    """bool [U]."""


def _blocks(
    log: RealLog, number: int, sizes: tuple[int, int], generator: np.random.Generator, places: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws blocks: the place of each, and for each of their rows the block and its number in the block."""
    size = generator.integers(sizes[0], sizes[1] + 1, max(round(2 * number / sum(sizes)), 1))
    place = generator.choice(log.places if places is None else places, len(size))
    block = np.repeat(np.arange(len(size)), size)
    return place, block, np.arange(len(block)) - np.repeat(np.cumsum(size) - size, size)


def shared_account(log: RealLog, number: int, generator: np.random.Generator) -> Insertions:
    """Inserts runs of 3 to 8 consecutive interactions that one other real user made at about that time."""
    place, block, nth = _blocks(log, number, (3, 8), generator)
    donated = len(log.donors.items)
    rank = (log.rank[place] / len(log.by_time) * donated).astype(np.int64)
    reach = max(PERIOD_ROWS * donated // len(log.by_time), 1)
    rank = (rank + generator.integers(-reach, reach + 1, len(place))).clip(0, donated - 1)
    first = np.argsort(log.donors.times, kind="stable")[rank][block]
    rows = first + nth
    inside = rows < log.donors.offsets[1:][log.donors.users[first]]
    items = log.donors.items[rows[inside]].astype(np.int64)
    return Insertions(place[block][inside], items, block[inside])


def gift(log: RealLog, number: int, generator: np.random.Generator) -> Insertions:
    """Inserts 1 to 3 consecutive items of one category that the user never chose, all chosen by others at that time."""
    place, block, _ = _blocks(log, number, (1, 3), generator)
    categories = int(log.category.max()) + 1
    owned = np.unique(log.users * categories + log.category[log.sequences.items])
    wanted = log.category[log.at_the_time_of(place, generator)]
    foreign = ~np.isin(log.users[place] * categories + wanted, owned)
    rows, wanted = place[block][foreign[block]], wanted[block][foreign[block]]
    items = np.full(len(rows), -1)
    for _ in range(MAX_ROUNDS):
        missing = np.flatnonzero(items < 0)
        drawn = log.at_the_time_of(rows[missing], generator)
        right = log.category[drawn] == wanted[missing]
        items[missing[right]] = drawn[right]
    found = items >= 0
    return Insertions(rows[found], items[found], block[foreign[block]][found])


def misclick_in_list(log: RealLog, number: int, generator: np.random.Generator) -> Insertions:
    """Inserts items that others chose at about the same time, as popular as the user's next item."""
    rows = generator.choice(log.places, number)
    items = log.at_the_time_of(rows, generator)
    ratio = log.counts[items] / log.counts[log.sequences.items[rows]]
    alike = (ratio <= SIMILAR_POPULARITY) & (ratio >= 1 / SIMILAR_POPULARITY)
    return Insertions(rows[alike], items[alike], np.flatnonzero(alike))


def misclick_by_text(log: RealLog, number: int, generator: np.random.Generator) -> Insertions:
    """Inserts items near in text to the user's next one, drawn from the nearest in proportion to popularity."""
    rows = generator.choice(log.places, number)
    unit = log.semantic / np.maximum(np.linalg.norm(log.semantic, axis=1, keepdims=True), 1e-12)
    weight = np.where(np.abs(unit).sum(1) > 0, log.counts, 0)
    anchors, of = np.unique(log.sequences.items[rows], return_inverse=True)
    items = np.empty(number, np.int64)
    for start in range(0, len(anchors), 1024):
        some = anchors[start : start + 1024]
        similarity = unit[some] @ unit.T
        similarity[np.arange(len(some)), some] = -2
        nearest = np.argpartition(-similarity, NEAREST_TEXTS, axis=1)[:, :NEAREST_TEXTS]
        asked = np.flatnonzero((of >= start) & (of < start + 1024))
        drawable = nearest[of[asked] - start]
        # The largest of log weight plus Gumbel noise is a draw in proportion to the weight.
        key = np.log(np.maximum(weight[drawable], 1e-9)) + generator.gumbel(size=drawable.shape)
        items[asked] = drawable[np.arange(len(asked)), key.argmax(1)]
    return Insertions(rows, items, np.arange(number))


def trend(log: RealLog, number: int, generator: np.random.Generator) -> Insertions:
    """Inserts what is most popular in that week, for users who do not follow trends."""
    week = (log.time - log.time.min()) // (7 * DAY)
    pair, times = np.unique(week * log.size + log.sequences.items, return_counts=True)
    weeks = pair // log.size
    order = np.lexsort((-times, weeks))
    first = np.searchsorted(weeks, np.arange(int(week.max()) + 2))
    nth = np.arange(len(order)) - first[weeks[order]]
    trending = np.sort(pair[order][nth < TRENDING])
    follows = np.isin(week * log.size + log.sequences.items, trending)
    share = np.bincount(log.users, follows, len(log.sequences)) / np.maximum(log.sequences.lengths, 1)
    rows = generator.choice(log.places[(share <= np.median(share))[log.users[log.places]]], number)
    begin = first[week[rows]]
    nth = generator.integers(0, np.minimum(first[week[rows] + 1] - begin, TRENDING))
    return Insertions(rows, pair[order][begin + nth] % log.size, np.arange(number))


def imported(log: RealLog, number: int, generator: np.random.Generator) -> Insertions:
    """Inserts blocks of 5 to 15 foreign items at one instant."""
    place, block, _ = _blocks(log, number, (5, 15), generator)
    items = log.sequences.items[generator.integers(0, len(log.sequences.items), len(block))].astype(np.int64)
    return Insertions(place[block], items, block, instant=True)


def single(log: RealLog, number: int, generator: np.random.Generator) -> Insertions:
    """Inserts single items in proportion to their popularity in the whole log, at random places."""
    items = log.sequences.items[generator.integers(0, len(log.sequences.items), number)].astype(np.int64)
    return Insertions(generator.choice(log.places, number), items, np.arange(number))


def duplicate(log: RealLog, number: int, generator: np.random.Generator) -> Insertions:
    """Inserts the same item again within seconds."""
    inner = log.places[1:][log.users[log.places[1:]] == log.users[log.places[1:] - 1]]
    rows = generator.choice(inner, number, replace=False)
    return Insertions(rows, log.sequences.items[rows - 1].astype(np.int64), np.arange(number), seconds=10, repeats=True)


KINDS: dict[str, Callable[[RealLog, int, np.random.Generator], Insertions]] = {
    "shared": shared_account,
    "gift": gift,
    "list": misclick_in_list,
    "text": misclick_by_text,
    "trend": trend,
    "import": imported,
    "single": single,
    "duplicate": duplicate,
}
"""What is inserted into the sequences of users, by its name on the command line."""
BOT = "bot"
"""Users of their own, so not one of KINDS."""


def take_donors(sequences: Sequences, seed: int) -> np.ndarray:
    """Chooses the users who lend runs, bool [U]."""
    return np.random.default_rng([STREAM, seed, 0]).random(len(sequences)) < DONOR_SHARE


def add_noise(log: RealLog, kinds: tuple[str, ...], rate: float, seed: int) -> KindsOfNoise:
    """Adds noise, as much of each kind.

    Args:
        log: The log.
        kinds: Names of KINDS, or BOT.
        rate: Share of the result that is noise.
        seed: Seed of the noise.
    """
    total = len(log.sequences.items)
    number = round(total * rate / (1 - rate) / len(kinds))
    taken = np.unique(log.users * log.size + log.sequences.items)
    parts = []
    for kind, name in enumerate(kinds):
        if name == BOT:
            continue
        generator = np.random.default_rng([STREAM, seed, 1 + (*KINDS,).index(name)])
        have = 0
        for _ in range(MAX_ROUNDS):
            drawn = KINDS[name](log, number - have, generator)
            user = log.users[drawn.before]
            pair = user * log.size + drawn.items
            new = np.zeros(len(pair), bool)
            new[np.unique(pair, return_index=True)[1]] = True
            new &= drawn.repeats | ~np.isin(pair, taken)
            new &= np.cumsum(new) <= number - have
            taken = np.union1d(taken, pair[new])
            have += int(new.sum())
            time = _times(log, drawn, generator)
            parts.append(
                (drawn.before[new], drawn.items[new], time[new], np.full(int(new.sum()), kind), drawn.block[new])
            )
            if have >= number or drawn.repeats:
                break
    before, items, time, kind, block = (
        (np.concatenate(column) for column in zip(*parts, strict=True))
        if parts
        else (np.zeros(0, np.int64) for _ in range(5))
    )
    genuine = np.arange(total)
    order = np.lexsort(
        (
            np.concatenate([np.arange(len(block)), genuine]),
            np.concatenate([time, log.time]),
            np.concatenate([np.zeros(len(before), np.int8), np.ones(total, np.int8)]),
            np.concatenate([before, genuine]),
        )
    )
    lengths = log.sequences.lengths + np.bincount(log.users[before], minlength=len(log.sequences))
    all_items = np.concatenate([items, log.sequences.items])[order]
    all_times = np.concatenate([time, log.time])[order]
    all_kinds = np.concatenate([kind, np.full(total, -1)])[order]
    from_end = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(order))
    bots = _bots(log, number if BOT in kinds else 0, np.random.default_rng([STREAM, seed, 99]))
    keys = np.concatenate([log.sequences.keys, bots.keys])
    times = np.concatenate([all_times, _bot_times(log, bots, seed)])
    sequences = Sequences.from_lengths(
        np.concatenate([all_items, bots.items]), np.concatenate([lengths, bots.lengths]), keys, times
    )
    bot_kind = kinds.index(BOT) if BOT in kinds else -1
    return KindsOfNoise(
        sequences,
        times,
        np.concatenate([all_kinds, np.full(len(bots.items), bot_kind)]),
        np.concatenate([from_end > PROTECTED, np.ones(len(bots.items), bool)]),
        np.arange(len(sequences)) >= len(lengths),
    )


def _times(log: RealLog, drawn: Insertions, generator: np.random.Generator) -> np.ndarray:
    """Draws a time for each insertion between its neighbours, in steps that the log's own times have, int64 [n]."""
    begin = log.time[np.maximum(drawn.before - 1, 0)]
    end = log.time[drawn.before]
    begin = np.where(log.users[np.maximum(drawn.before - 1, 0)] == log.users[drawn.before], begin, end)
    part = generator.random(len(begin))
    if drawn.instant:
        part = generator.random(int(drawn.block.max(initial=0)) + 1)[drawn.block]
    steps = (end - begin) // log.resolution
    if drawn.seconds is not None:
        steps = np.minimum(steps, drawn.seconds // log.resolution)
    times = begin + (part * (steps + 1)).astype(np.int64).clip(max=steps) * log.resolution
    # A block keeps its order: its earliest time goes to its first interaction.
    return times[np.lexsort((times, drawn.block))]


def _bots(log: RealLog, number: int, generator: np.random.Generator) -> Sequences:
    """Makes users who work through a list: in random order, in the catalogue's order, and from the most popular on."""
    chosen, lengths = [], []
    present = np.flatnonzero(log.counts)
    popular = present[np.argsort(-log.counts[present], kind="stable")]
    while sum(lengths) < number:
        shortest, longest = BOT_LENGTHS
        size = min(int(generator.integers(shortest, longest + 1)), number - sum(lengths), len(present))
        start = int(generator.integers(0, len(present) - size + 1))
        order = (generator.permutation(present), present[start:], popular)[len(lengths) % 3]
        chosen.append(order[:size])
        lengths.append(size)
    items = np.concatenate(chosen) if chosen else np.zeros(0)
    keys = generator.integers(0, 1 << 63, len(lengths)).astype(np.uint64)
    return Sequences.from_lengths(items, np.array(lengths, np.int64), keys)


def _bot_times(log: RealLog, bots: Sequences, seed: int) -> np.ndarray:
    """Returns times a second apart, in steps that the log's own times have, int64 [n]."""
    generator = np.random.default_rng([STREAM, seed, 100])
    start = generator.choice(log.time, len(bots))
    nth = np.arange(len(bots.items)) - bots.offsets[:-1][bots.users]
    return start[bots.users] + nth // log.resolution * log.resolution
