"""Scores that a run leaves for the next one, so that only users who have changed are scored again.

The scores of a user follow from the vectors of the user's items in their order, their times, the user's fold, and the
model. They do not depend on what else is scored (`even_batches`), so a fingerprint of the sequence finds them in an
earlier run, and users of several shards who have changed are scored together. Where the earlier run's processor rounds
differently, some users who are scored again show it. Then all of the shard are.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...models.core.sequences import Sequences
from ...models.detector.scores import Scores
from ..contract.hashing import mix
from ..files.kept_arrays import read_kept_arrays, write_kept_arrays
from ..files.storage import join
from ..items.joined_items import JoinedItems
from ..items.kept_lenders import LenderKeeping

if TYPE_CHECKING:
    from ...models.detector.iadsr import IADSR

CHECKED_USERS = 8
"""So many users of a shard are scored again although they have not changed, to see if this machine gives the same."""

_ARRAYS = ("fingerprints", "lengths", "noise_probability", "similarities", "scored", "sign", "stray_probability")
_LENDERS = "lenders.npz"
_LANES = np.array([[0x243F6A8885A308D3, 0x13198A2E03707344]], np.uint64)


@dataclasses.dataclass(frozen=True)
class ScoreKeeping:
    """Where a run keeps its scores, and where it finds those of an earlier run. Travels to the workers."""

    directory: str
    """Directory to write to."""
    shards: int
    """Number of user shards of the run."""
    earlier: tuple[str, ...] = ()
    """Files of the earlier run; none if nothing can be taken over."""

    @property
    def lenders(self) -> LenderKeeping:
        """Where it is kept from which items others borrow their vectors."""
        earlier = next((path for path in self.earlier if path.endswith(f"/{_LENDERS}")), None)
        return LenderKeeping(join(self.directory, _LENDERS), earlier)

    def path(self, shard: int) -> str:
        """Returns the file of one shard."""
        return join(self.directory, kept_file(shard, self.shards))

    def sources(self, shard: int) -> tuple[str, ...]:
        """Returns the files that may know users of a shard: one, or all if the earlier run had other shards."""
        own = tuple(path for path in self.earlier if path.endswith(f"/{kept_file(shard, self.shards)}"))
        return own or tuple(path for path in self.earlier if not path.endswith(f"/{_LENDERS}"))


def kept_file(shard: int, shards: int) -> str:
    """Returns the name of the file with the scores of one shard."""
    return f"part-{shard:05d}-of-{shards:05d}.npz"


@dataclasses.dataclass(frozen=True)
class KeptScores:
    """The scores of U users, with N interactions together, and how to find them."""

    fingerprints: np.ndarray
    """uint64 [U, 2], of the users' sequences."""
    lengths: np.ndarray
    """int64 [U], interactions of each."""
    scores: Scores
    """Their scores, user after user, [N]."""


def sequence_fingerprints(sequences: Sequences, items: np.ndarray) -> np.ndarray:
    """Returns a fingerprint of each user's key, and of items and times in their order, uint64 [U, 2].

    Args:
        sequences: The users.
        items: Fingerprint of each item, uint64 [V, 2].
    """
    assert sequences.keys is not None
    place = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    where = mix(place.astype(np.uint64))
    if sequences.times is not None:
        where ^= mix(sequences.times.astype(np.uint64) + where)
    mixed = mix(items[sequences.items] ^ where[:, None])  # [N, 2]
    before = np.concatenate([np.zeros((1, 2), np.uint64), np.cumsum(mixed, axis=0, dtype=np.uint64)])
    total = before[sequences.offsets[1:]] - before[sequences.offsets[:-1]]
    return mix(total ^ mix(sequences.keys[:, None] ^ _LANES))


@dataclasses.dataclass(frozen=True)
class Lookup:
    """What files of an earlier run know of the U users of a shard, and whom the model is asked about."""

    fingerprints: np.ndarray
    """uint64 [U, 2], of the users' sequences."""
    lengths: np.ndarray
    """int64 [U], interactions of each."""
    found: np.ndarray
    """bool [U], whose scores are found."""
    scores: Scores
    """The scores of all users, [N], among which those of users who are not found mean nothing."""
    asked: Sequences
    """Who is to be scored: all who are not found, and some who are, to see if the model gives the same."""
    places: np.ndarray
    """int64 [n], where each interaction of `asked` is among the N."""

    def completed(self, fresh: Scores) -> KeptScores | None:
        """Returns the scores of all users; None if those of the earlier run are not what this machine gives.

        Args:
            fresh: What the model says of `asked`, [n].
        """
        same = np.repeat(self.found, self.lengths)[self.places]
        if not _equal(fresh.at(same), self.scores.at(self.places[same])):
            return None
        self.scores.put(self.places, fresh)
        return KeptScores(self.fingerprints, self.lengths, self.scores)


def look_up(sequences: Sequences, joined_items: JoinedItems, rows: np.ndarray, sources: Iterable[str]) -> Lookup:
    """Looks for the scores of users in files of an earlier run.

    Args:
        sequences: The users, with V items.
        joined_items: Items and their vectors.
        rows: The row of each item there, int64 [V]; -1 for an unknown one.
        sources: Files of an earlier run with the same model and versions. None: everyone is to be scored.
    """
    prints = sequence_fingerprints(sequences, joined_items.fingerprints(rows))
    found, scores = find_scores(sources, prints, sequences)
    # Those who are checked are chosen by their fingerprints: others each time that something else is taken over.
    # Users without a score have none on any machine, and prove nothing.
    scored = np.bincount(sequences.users[scores.scored], minlength=len(sequences)) > 0
    known = np.flatnonzero(found & scored)
    again = ~found
    again[known[np.argsort(prints[known, 0])[:CHECKED_USERS]]] = True
    asked, places = sequences.take(np.flatnonzero(again))
    asked = dataclasses.replace(asked, items=rows[asked.items])
    return Lookup(prints, sequences.lengths, found, scores, asked, places)


def score_asked(model: "IADSR", lookups: Sequence[Lookup], joined_items: JoinedItems) -> list[Scores]:
    """Scores those whom the model is asked about, all together.

    Args:
        model: The detector.
        lookups: Of any shards.
        joined_items: Items and their vectors. Those of items that nobody who is scored has are not read.

    Returns:
        The scores for each of `lookups`, in the order of its `asked`.
    """
    from ...models.detector.scoring import score_sequences

    asked = _together([lookup.asked for lookup in lookups])
    occurring, items = np.unique(asked.items, return_inverse=True)
    vectors = joined_items.take(occurring).unpack(model.config.collaborative_dimension)
    scores = score_sequences(model, dataclasses.replace(asked, items=items), vectors)
    ends = np.cumsum([len(lookup.places) for lookup in lookups])
    return [scores.at(np.arange(end - len(lookup.places), end)) for end, lookup in zip(ends, lookups, strict=True)]


def _together(parts: Sequence[Sequences]) -> Sequences:
    """Returns the users of all parts, one part after the other. All or none of them have times."""
    columns = {name: [getattr(part, name) for part in parts] for name in ("items", "lengths", "keys", "times")}
    timed = all(times is not None for times in columns["times"])
    items, lengths, keys, times = (
        np.concatenate(values) if name != "times" or timed else None for name, values in columns.items()
    )
    assert items is not None
    assert lengths is not None
    return Sequences.from_lengths(items, lengths, keys, times)


def find_scores(sources: Iterable[str], prints: np.ndarray, sequences: Sequences) -> tuple[np.ndarray, Scores]:
    """Looks users up in the files of an earlier run.

    Args:
        sources: The files. One that is missing or damaged knows nobody.
        prints: Fingerprint of each user, uint64 [U, 2].
        sequences: The users.

    Returns:
        Which users are found, bool [U], and their scores, [N], among which those of others mean nothing.
    """
    found, scores = np.zeros(len(sequences), bool), Scores.none(len(sequences.items))
    for path in sources:
        kept = read_kept_scores(path)
        if kept is None or not len(kept.lengths):
            continue
        order = np.argsort(kept.fingerprints[:, 0])
        place = np.searchsorted(kept.fingerprints[order, 0], prints[:, 0]).clip(max=len(order) - 1)
        there = order[place]
        same = (kept.fingerprints[there] == prints).all(1) & (kept.lengths[there] == sequences.lengths) & ~found
        users = np.flatnonzero(same)
        _, to = sequences.take(users)
        earlier = Sequences.from_lengths(np.zeros(len(kept.scores.scored), np.int32), kept.lengths)
        _, at = earlier.take(there[users])
        scores.put(to, kept.scores.at(at))
        found |= same
    return found, scores


def write_kept_scores(path: str, kept: KeptScores) -> None:
    """Writes the scores of a shard for the next run.

    Raises:
        InputError: The file cannot be written.
    """
    arrays = {"fingerprints": kept.fingerprints, "lengths": kept.lengths, **vars(kept.scores)}
    write_kept_arrays(path, **arrays)


def read_kept_scores(path: str) -> KeptScores | None:
    """Reads what `write_kept_scores` wrote; None if the file is missing or damaged."""
    arrays = read_kept_arrays(path, _ARRAYS)
    if arrays is None:
        return None
    prints, lengths, *scores = arrays
    number = int(lengths.sum())
    if prints.shape != (len(lengths), 2) or any(len(values) != number for values in scores):
        return None
    return KeptScores(prints, lengths, Scores(*scores))


def _equal(one: Scores, other: Scores) -> bool:
    """Returns whether scores are the same to the bit."""
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(mine.tobytes() == theirs.tobytes() for mine, theirs in pairs)
