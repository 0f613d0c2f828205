"""Scores that a run leaves for the next one, so that only users who have changed are scored again.

The scores of a user follow from the vectors of the user's items in their order, their times, the user's fold, and the
model. They do not depend on what else is scored (`even_batches`), so a fingerprint of the sequence finds them in an
earlier run. Where that run's processor rounds differently, some users who are scored again show it. Then all of the
shard are.
"""

import dataclasses
import io
import zipfile
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ...models.core.errors import InputError
from ...models.core.sequences import Sequences
from ..contract.hashing import mix
from ..files.storage import join, read_bytes, write_atomically
from ..items.joined_items import JoinedItems

if TYPE_CHECKING:
    from ...models.detector.iadsr import IADSR
    from ...models.detector.scoring import Scores

CHECKED_USERS = 32
"""So many users of a shard are scored again although they have not changed, to see if this machine gives the same."""

_ARRAYS = ("fingerprints", "lengths", "noise_probability", "similarities", "scored", "sign", "stray_probability")
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

    def path(self, shard: int) -> str:
        """Returns the file of one shard."""
        return join(self.directory, kept_file(shard, self.shards))

    def sources(self, shard: int) -> tuple[str, ...]:
        """Returns the files that may know users of a shard: one, or all if the earlier run had other shards."""
        own = tuple(path for path in self.earlier if path.endswith(f"/{kept_file(shard, self.shards)}"))
        return own or self.earlier


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
    scores: "Scores"
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


def score_changed(
    model: "IADSR",
    sequences: Sequences,
    joined_items: JoinedItems,
    rows: np.ndarray,
    sources: Iterable[str],
) -> tuple[KeptScores, int]:
    """Scores users, but for those whose scores are found in files of an earlier run.

    Args:
        model: The detector.
        sequences: The users, with V items.
        joined_items: Items and their vectors. Those of items that nobody who is scored has are not read.
        rows: The row of each item there, int64 [V]; -1 for an unknown one.
        sources: Files of an earlier run with the same model and versions.

    Returns:
        The scores of all users, and the number of users whose scores were found.
    """
    from ...models.detector.scoring import score_sequences

    prints = sequence_fingerprints(sequences, joined_items.fingerprints(rows))

    def score(users: np.ndarray) -> tuple["Scores", np.ndarray]:
        part, places = sequences.take(users)
        occurring, items = np.unique(part.items, return_inverse=True)
        vectors = joined_items.take(rows[occurring]).unpack(model.config.collaborative_dimension)
        return score_sequences(model, dataclasses.replace(part, items=items), vectors), places

    found, scores = find_scores(sources, prints, sequences)
    # Those who are checked are chosen by their fingerprints: others each time that something else is taken over.
    known = np.flatnonzero(found)
    checked = known[np.argsort(prints[known, 0])[:CHECKED_USERS]]
    again = ~found
    again[checked] = True
    fresh, places = score(np.flatnonzero(again))
    same = found[sequences.users[places]]
    if not _equal(fresh.at(same), scores.at(places[same])):
        found[:] = False
        fresh, places = score(np.arange(len(sequences)))
    scores.put(places, fresh)
    return KeptScores(prints, sequences.lengths, scores), int(found.sum())


def find_scores(sources: Iterable[str], prints: np.ndarray, sequences: Sequences) -> tuple[np.ndarray, "Scores"]:
    """Looks users up in the files of an earlier run.

    Args:
        sources: The files. One that is missing or damaged knows nobody.
        prints: Fingerprint of each user, uint64 [U, 2].
        sequences: The users.

    Returns:
        Which users are found, bool [U], and their scores, [N], among which those of others mean nothing.
    """
    from ...models.detector.scoring import Scores

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
    write_atomically(path, lambda file: np.savez(file, **arrays))


def read_kept_scores(path: str) -> KeptScores | None:
    """Reads what `write_kept_scores` wrote; None if the file is missing or damaged."""
    from ...models.detector.scoring import Scores

    try:
        with np.load(io.BytesIO(read_bytes(path))) as file:
            prints, lengths, *scores = (file[name] for name in _ARRAYS)
        kept = KeptScores(prints, lengths, Scores(*scores))
        number = int(lengths.sum())
        if prints.shape != (len(lengths), 2) or any(len(values) != number for values in scores):
            return None
        return kept
    except (InputError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _equal(one: "Scores", other: "Scores") -> bool:
    """Returns whether scores are the same to the bit."""
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(mine.tobytes() == theirs.tobytes() for mine, theirs in pairs)
