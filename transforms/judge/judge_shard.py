"""Judges a shard by the plan for the whole log: what its scores mean there, what is dropped, what it weighs."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ...models.noise.recalibration import Recalibration
from ...models.noise.weights import weigh_interactions
from ..rules.ruled_shard import RuledShard
from .decide import Decisions, add_rules, decide
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
    """float32 [rows], how much each should count in training. 0 for what a rule has taken."""
    seconds: dict[str, float]
    """Worker seconds spent so far, by step."""


def judge_by_rules(shard: int, ruled: RuledShard, codes: tuple[str, ...]) -> JudgedShard:
    """Decides what to keep by the rules alone.

    Args:
        shard: Number of the shard.
        ruled: The shard after all rules.
        codes: Reason of each rule, by its number.
    """
    return JudgedShard(shard, ruled, None, add_rules(None, ruled, codes), ruled.open.astype(np.float32), {})


def judge_shard(scored: ScoredShard, plan: DropPlan, policy: Policy, codes: tuple[str, ...] = ()) -> JudgedShard:
    """Recalibrates the noise probabilities of a shard, decides what to keep, and weighs it.

    Args:
        scored: The shard with the model's own probabilities.
        plan: Of the whole log.
        policy: What is protected.
        codes: Reason of each rule, by its number.
    """
    ruled, scores = scored.ruled, scored.scores
    weight = ruled.open.astype(np.float32)  # everything counts in full while no noise is certain
    if plan.recalibration is not None:
        scores = _recalibrate(scores, plan.recalibration)
        weight *= weigh_interactions(scores.noise_probability, scores.scored)
    judged = decide(
        scores.at(ruled.open),
        ruled.open_offsets,
        policy,
        plan.threshold,
        known=scored.known[ruled.open],
        has_text=scored.has_text[ruled.open],
    )
    return JudgedShard(scored.shard, ruled, scores, add_rules(judged, ruled, codes), weight, scored.seconds)


def _recalibrate(scores: "Scores", recalibration: Recalibration) -> "Scores":
    probability = np.where(scores.scored, recalibration.apply(scores.noise_probability), np.float32(0))
    return dataclasses.replace(scores, noise_probability=probability)
