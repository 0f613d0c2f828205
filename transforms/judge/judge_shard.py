"""Judges a scored shard by the plan for the whole log: what its scores mean there, what is dropped, what it weighs."""

import dataclasses

import numpy as np

from ...models.noise.recalibration import Recalibration
from ...models.noise.weights import weigh_interactions
from .decide import Decisions, decide
from .drop_plan import DropPlan
from .policy import Policy
from .scored_shard import ScoredShard


@dataclasses.dataclass(frozen=True)
class JudgedShard:
    """A shard with all that is decided about its interactions."""

    scored: ScoredShard
    """The interactions, their noise probabilities recalibrated to the log."""
    decisions: Decisions
    """Which of them are kept, and why."""
    weight: np.ndarray
    """float32 [rows], how much each should count in training."""


def judge_shard(scored: ScoredShard, plan: DropPlan, policy: Policy) -> JudgedShard:
    """Recalibrates the noise probabilities of a shard, decides what to keep, and weighs it.

    Args:
        scored: The shard with the model's own probabilities.
        plan: Of the whole log.
        policy: What is protected.
    """
    weight = np.ones(len(scored.scores.scored), np.float32)  # everything counts in full while no noise is certain
    if plan.recalibration is not None:
        scored = _recalibrate(scored, plan.recalibration)
        weight = weigh_interactions(scored.scores.noise_probability, scored.scores.scored)
    decisions = decide(
        scored.scores,
        scored.ordered.offsets,
        policy,
        plan.threshold,
        known=scored.known,
        has_text=scored.has_text,
    )
    return JudgedShard(scored, decisions, weight)


def _recalibrate(scored: ScoredShard, recalibration: Recalibration) -> ScoredShard:
    probability = recalibration.apply(scored.scores.noise_probability)
    probability = np.where(scored.scores.scored, probability, np.float32(0))
    return dataclasses.replace(scored, scores=dataclasses.replace(scored.scores, noise_probability=probability))
