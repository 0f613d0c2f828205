"""Judges a shard by the plan for the whole log: what its scores mean there, what is dropped, what it weighs."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ...models.noise.recalibration import Recalibration
from ...models.noise.share import NoiseShare
from ...models.noise.weights import weigh_interactions
from ..rules.ruled_shard import RuledShard
from .decide import Decisions, add_rules, decide, last_interactions
from .drop_plan import DropPlan
from .policy import Policy
from .scored_shard import ScoredShard

if TYPE_CHECKING:
    from ...models.detector.scoring import Scores


@dataclasses.dataclass(frozen=True)
class JudgedShard:
    """A shard with all that is decided about its interactions."""

    shard: int
    """Number of the shard."""
    ruled: RuledShard
    """The interactions, and what the rules have found."""
    scores: "Scores | None"
    """Their scores, the noise probabilities recalibrated to the log. None if no model was asked."""
    decisions: Decisions
    """Which of them are kept, and why."""
    weight: np.ndarray
    """float32 [rows], how much each should count in training. 0 for what is dropped."""
    seconds: dict[str, float]
    """Worker seconds spent so far, by step."""
    taken_over: int = 0
    """Number of users whose scores are those of an earlier run."""


def judge_by_rules(shard: int, ruled: RuledShard, codes: tuple[str, ...]) -> JudgedShard:
    """Decides what to keep by the rules alone.

    Args:
        shard: Number of the shard.
        ruled: The shard after all rules.
        codes: Reason of each rule, by its number.
    """
    decisions = add_rules(None, ruled, codes)
    return JudgedShard(shard, ruled, None, decisions, decisions.keep.astype(np.float32), {})


def judge_shard(scored: ScoredShard, plan: DropPlan, policy: Policy, codes: tuple[str, ...] = ()) -> JudgedShard:
    """Recalibrates the noise probabilities of a shard, decides what to keep, and weighs it.

    Args:
        scored: The shard with the model's own probabilities.
        plan: Of the whole log.
        policy: What is protected.
        codes: Reason of each rule, by its number.
    """
    ruled, scores = scored.ruled, scored.scores
    if plan.recalibration is not None:
        scores = _recalibrate(scores, plan.recalibration)
    weight = _weigh(scored, plan, policy)
    judged = decide(
        scores.at(ruled.open),
        ruled.open_offsets,
        policy,
        plan.threshold,
        known=scored.known[ruled.open],
        has_text=scored.has_text[ruled.open],
        weightless=weight[ruled.open] == 0,
    )
    decisions = add_rules(judged, ruled, codes)
    weight = np.where(decisions.keep, weight, np.float32(0))
    return JudgedShard(scored.shard, ruled, scores, decisions, weight, scored.seconds, scored.taken_over)


def _weigh(scored: ScoredShard, plan: DropPlan, policy: Policy) -> np.ndarray:
    """Returns how much each interaction should count in training if it is kept, float32 [rows].

    The model's own probabilities decide, not those of the log: how much noise is certain is another question than what
    a recommender learns best from. Where the model cannot tell noise from this log's interactions, all count in full.
    """
    scores, ruled = scored.scores, scored.ruled
    weight = np.ones(len(scores.scored), np.float32)
    if isinstance(plan.share, NoiseShare):
        weight = weigh_interactions(scores.noise_probability, scores.scored, policy.weight_strength, policy.min_weight)
    weight[np.flatnonzero(ruled.open)[last_interactions(ruled.open_offsets, policy.keep_last)]] = 1
    return weight


def _recalibrate(scores: "Scores", recalibration: Recalibration) -> "Scores":
    probability = np.where(scores.scored, recalibration.apply(scores.noise_probability), np.float32(0))
    return dataclasses.replace(scores, noise_probability=probability)
