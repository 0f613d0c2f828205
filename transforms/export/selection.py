"""What of a shard's interactions a library can hold, and what is left out for which reason."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .export_format import ExportFormat
from .user_sequences import TRAIN, UserSequences

MIN_TRAINING = 2
"""A library that takes each user's last interactions away itself needs so many others. Of users with fewer it would
train on what is held out."""

WEIGHTLESS, EMPTY = "they weigh 0", "none of their interactions is left"
FEW = f"fewer than {MIN_TRAINING} interactions to train on beside those that are held out"
REPEATED = "the user has the item again later"
UNFIT = "the library cannot hold the id"
LOST = "one of the held-out items cannot be held"


@dataclasses.dataclass(frozen=True)
class Selected:
    """What of a shard can be exported."""

    sequences: UserSequences
    """Its interactions."""
    users: dict[str, pa.Array]
    """Users of whom nothing is left, by the reason."""
    items: dict[str, pa.Array]
    """Distinct items that are left out wherever they occur, by the reason."""
    interactions: dict[str, int]
    """Number of interactions of other users and items that are left out, by the reason."""


def select(sequences: UserSequences, form: ExportFormat, hold_out: int) -> Selected:
    """Leaves out what an export cannot hold, and what weighs 0: a recommender learns better without that.

    Args:
        sequences: The kept interactions of a shard.
        form: The form of the export.
        hold_out: So many of each user's last interactions are held out.
    """
    rows = sequences.weights > 0
    interactions = {WEIGHTLESS: int((~rows).sum())}
    items: dict[str, pa.Array] = {}
    reasons = np.full(len(sequences.user_ids), "", object)
    if form.unfit is not None:
        unfit = _bools(form.unfit(sequences.item_ids))
        items[UNFIT] = pc.unique(sequences.item_ids.filter(pa.array(unfit & rows)))
        reasons[sequences.count(unfit & (sequences.split != TRAIN)) > 0] = LOST if form.splits_itself else ""
        reasons[_bools(form.unfit(sequences.user_ids))] = UNFIT
        rows &= ~unfit
    if form.once:
        again = rows & _is_repeated(sequences, rows)
        interactions[REPEATED] = int(again.sum())
        rows &= ~again
    reasons[(reasons == "") & (sequences.count(rows) == 0)] = EMPTY
    if form.splits_itself and hold_out:
        trained, held_out = (sequences.count(rows & part) for part in _parts(sequences))
        reasons[(reasons == "") & ((trained < MIN_TRAINING) | (held_out < hold_out))] = FEW
    rows &= (reasons == "")[sequences.users]
    users = {reason: sequences.user_ids.filter(pa.array(reasons == reason)) for reason in sorted(set(reasons) - {""})}
    return Selected(sequences.only(rows), users, items, interactions)


def _parts(sequences: UserSequences) -> tuple[np.ndarray, np.ndarray]:
    return sequences.split == TRAIN, sequences.split != TRAIN


def _is_repeated(sequences: UserSequences, rows: np.ndarray) -> np.ndarray:
    """Returns which of some interactions have a later one of the same user, item and part of the split, bool [n]."""
    chosen = np.flatnonzero(rows)[::-1]  # the last comes first, and `np.unique` finds firsts
    items = sequences.item_ids.dictionary_encode()
    keys = sequences.users * 3 + sequences.split
    keys = keys * max(len(items.dictionary), 1) + items.indices.to_numpy()
    repeated = np.ones(len(rows), bool)
    repeated[chosen[np.unique(keys[chosen], return_index=True)[1]]] = False
    return repeated


def _bools(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False).astype(bool)
