"""Turns noise probabilities into keep or drop, each with a reason: the policy, and nothing else.

Reasons are short stable codes. Dropped: `noise:` and what agreed least with the rest of the user's interactions. Kept:
null, or why an interaction was protected or could not be judged.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from ...models.detector.features import SIMILARITIES

if TYPE_CHECKING:
    from ...models.detector.scoring import Scores
from .policy import Policy

COLLABORATIVE_ONLY = "collaborative_only"


DROP_REASONS = tuple(f"noise:{name}" for name in (*SIMILARITIES, COLLABORATIVE_ONLY))


KEEP_REASONS = ("min_length", "keep_last", "unknown_item", "too_short", COLLABORATIVE_ONLY)


REASONS = (*DROP_REASONS, *KEEP_REASONS)


_CODE = {reason: code for code, reason in enumerate(REASONS)}


NO_REASON = -1


class Decisions(NamedTuple):
    """Result of `decide`, one entry per interaction."""

    keep: np.ndarray
    """bool [rows]."""
    reason: np.ndarray
    """int8 [rows]; index into REASONS, or NO_REASON."""

    def reason_strings(self) -> pa.Array:
        """The reasons as strings, null where there is none."""
        codes = pa.array(self.reason, mask=self.reason == NO_REASON)
        return pa.DictionaryArray.from_arrays(codes, pa.array(REASONS)).cast(pa.string())


def decide(
    scores: "Scores",
    offsets: np.ndarray,
    policy: Policy,
    threshold: float,
    *,
    known: np.ndarray,
    has_text: np.ndarray,
) -> Decisions:
    """Applies the policy to the scored sequences of one shard.

    Args:
        scores: Scores of the shard's interactions, in order.
        offsets: int64 [users + 1]; user u owns rows offsets[u] to offsets[u + 1], in time order.
        policy: What is protected.
        threshold: Drop at or above this noise probability.
        known: bool [rows]; the item has a vector in at least one modality.
        has_text: bool [rows]; the item has a semantic vector.
    """
    rows = len(scores.scored)
    lengths = np.diff(offsets)
    user = np.repeat(np.arange(len(lengths)), lengths)
    noisy = scores.scored & (scores.noise_probability >= np.float32(threshold))

    last = np.arange(rows) >= np.repeat(offsets[1:], lengths) - policy.keep_last
    protected_last = noisy & last
    dropped = noisy & ~last
    restored = _restore(dropped, scores.noise_probability, user, lengths, policy.min_length)
    dropped &= ~restored

    # Later lines win: why a row would have gone but stays says more than how it was scored.
    reason = np.full(rows, NO_REASON, np.int8)
    reason[scores.scored & ~has_text] = _CODE[COLLABORATIVE_ONLY]
    reason[~scores.scored] = _CODE["too_short"]
    reason[~known] = _CODE["unknown_item"]
    reason[protected_last] = _CODE["keep_last"]
    reason[restored] = _CODE["min_length"]
    reason[dropped] = scores.weakest[dropped]  # DROP_REASONS start with the similarities, in their order
    reason[dropped & ~has_text] = _CODE[f"noise:{COLLABORATIVE_ONLY}"]
    return Decisions(~dropped, reason)


def _restore(
    dropped: np.ndarray, noise_probability: np.ndarray, user: np.ndarray, lengths: np.ndarray, min_length: int
) -> np.ndarray:
    """Returns which dropped rows to keep after all so that no user falls below the minimum, bool [rows]."""
    restored = np.zeros(len(dropped), bool)
    kept = lengths - np.bincount(user[dropped], minlength=len(lengths))
    missing = np.minimum(min_length, lengths) - kept  # [users]
    candidates = np.flatnonzero(dropped & (missing > 0)[user])
    if len(candidates):
        # Least noisy first within a user; of equals the latest, the most useful to a recommender.
        order = np.lexsort((-candidates, noise_probability[candidates], user[candidates]))
        candidates = candidates[order]
        _, first = np.unique(user[candidates], return_index=True)
        rank = np.arange(len(candidates)) - np.repeat(first, np.diff(np.append(first, len(candidates))))
        restored[candidates[rank < missing[user[candidates]]]] = True
    return restored
