"""Turns noise probabilities into decisions to keep or drop, each with a reason.

This is where the policy is applied, and nothing else happens here. `models/core/reasons.py` lists the reasons.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ...models.core.reasons import reason_codes
from ...models.detector.features import SIGNS
from ...models.detector.scores import Scores
from ..rules.ruled_shard import RuledShard
from .policy import Policy

# Reasons are small integers inside this module only, so that they are written and counted in one pass.
_CODES = (*reason_codes("dropped"), *reason_codes("kept"))
_INDEX = {code: index for index, code in enumerate(_CODES)}
_NO_REASON = -1
_INDEX_OF_SIGN = np.array([_INDEX[f"noise:{name}"] for name in SIGNS], np.int8)


class Decisions(NamedTuple):
    """Result of `decide`, one entry per interaction."""

    keep: np.ndarray
    """bool [rows]."""
    reason: pa.DictionaryArray
    """Codes of reasons, dictionary of int8 and string [rows]; null if an interaction was simply judged genuine."""

    def reason_strings(self) -> pa.Array:
        """Returns the reasons as plain strings [rows]."""
        return self.reason.cast(pa.string())

    def have(self, code: str) -> np.ndarray:
        """Returns which interactions have a reason, bool [rows]."""
        return self.reason.indices.fill_null(_NO_REASON).to_numpy(zero_copy_only=False) == _INDEX[code]

    def count_reasons(self) -> Counter[str]:
        """Returns the number of interactions for each reason, by code."""
        counts = np.bincount(self.reason.indices.drop_null().to_numpy(), minlength=len(_CODES))
        return Counter(dict(zip(_CODES, counts.tolist(), strict=True)))


def add_rules(judged: Decisions | None, ruled: RuledShard, codes: tuple[str, ...]) -> Decisions:
    """Returns the decisions about all interactions of a shard.

    Args:
        judged: Decisions about those that no rule has taken, in order. None: all of them are kept.
        ruled: Which interactions a rule has taken.
        codes: Reason of each rule, by its number.
    """
    if judged is not None and ruled.open.all():
        return judged
    reason = np.full(len(ruled.taken), _NO_REASON, np.int8)
    keep = ruled.open | ruled.held_out
    if judged is not None:
        keep[ruled.open] = judged.keep
        reason[ruled.open] = judged.reason.indices.fill_null(_NO_REASON).to_numpy(zero_copy_only=False)
    reason[ruled.held_out] = _INDEX["held_out"]
    by_rule = ruled.taken >= 0
    index_of_rule = np.array([_INDEX[code] for code in codes], np.int8)
    reason[by_rule] = index_of_rule[ruled.taken[by_rule]]
    return Decisions(keep, _dictionary(reason))


def _dictionary(reason: np.ndarray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(reason, mask=reason == _NO_REASON), pa.array(_CODES))


def decide(
    scores: Scores,
    offsets: np.ndarray,
    policy: Policy,
    threshold: float,
    *,
    known: np.ndarray,
    has_text: np.ndarray,
    weightless: np.ndarray,
) -> Decisions:
    """Applies the policy to the scored sequences of one shard.

    Args:
        scores: Scores of the shard's interactions, in order.
        offsets: int64 [users + 1]; user u owns rows offsets[u] to offsets[u + 1], in time order.
        policy: What is protected.
        threshold: Drop at or above this noise probability.
        known: bool [rows]; the item has a vector in at least one modality.
        has_text: bool [rows]; the item has a semantic vector.
        weightless: bool [rows]; the interaction weighs 0 in training, whether it is kept or not.
    """
    rows, lengths = len(scores.scored), np.diff(offsets)
    user = np.repeat(np.arange(len(lengths)), lengths)
    noisy = scores.scored & (scores.noise_probability >= np.float32(threshold))

    last = last_interactions(offsets, policy.keep_last)
    protected_last = noisy & last
    dropped = noisy & ~last
    restored = _restore(dropped, scores.noise_probability, user, lengths, policy.min_length)
    dropped &= ~restored

    # Later lines win: that a row was protected or dropped says more than how it was scored.
    reason = np.full(rows, _NO_REASON, np.int8)
    reason[scores.scored & ~has_text] = _INDEX["collaborative_only"]
    reason[~scores.scored] = _INDEX["too_short"]
    reason[~known] = _INDEX["unknown_item"]
    reason[weightless] = _INDEX["weightless"]
    reason[protected_last] = _INDEX["keep_last"]
    reason[restored] = _INDEX["min_length"]
    reason[dropped] = _INDEX_OF_SIGN[scores.sign[dropped]]
    reason[dropped & ~has_text] = _INDEX["noise:collaborative_only"]
    return Decisions(~dropped, _dictionary(reason))


def last_interactions(offsets: np.ndarray, count: int) -> np.ndarray:
    """Returns which interactions are among the last `count` of their user, bool [rows]."""
    return np.arange(offsets[-1]) >= np.repeat(offsets[1:], np.diff(offsets)) - count


def _restore(
    dropped: np.ndarray, noise_probability: np.ndarray, user: np.ndarray, lengths: np.ndarray, min_length: int
) -> np.ndarray:
    """Returns which dropped rows to keep after all so that no user falls below the minimum, bool [rows]."""
    restored = np.zeros(len(dropped), bool)
    kept = lengths - np.bincount(user[dropped], minlength=len(lengths))
    missing = np.minimum(min_length, lengths) - kept  # [users]
    candidates = np.flatnonzero(dropped & (missing > 0)[user])
    if len(candidates):
        # The least noisy of a user come first. Of equals the latest does: it is the most useful to a recommender.
        order = np.lexsort((-candidates, noise_probability[candidates], user[candidates]))
        candidates = candidates[order]
        _, first = np.unique(user[candidates], return_index=True)
        rank = np.arange(len(candidates)) - np.repeat(first, np.diff(np.append(first, len(candidates))))
        restored[candidates[rank < missing[user[candidates]]]] = True
    return restored
