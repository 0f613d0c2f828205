"""Judges a shard by the plan for the whole log: what its scores mean there, what is dropped, what it weighs."""

import dataclasses

import numpy as np

from ...models.detector.scores import Scores
from ...models.noise.recalibration import Recalibration
from ...models.noise.share import NoiseShare
from ...models.noise.weights import weigh_interactions
from ..rules.ruled_shard import RuledShard
from .decide import Decisions, add_rules, decide, last_interactions
from .drop_plan import DropPlan
from .policy import Policy
from .scored_shard import ScoredShard


@dataclasses.dataclass(frozen=True)
class JudgedShard:
    """A shard with all that is decided about its interactions."""

    shard: int
    """Number of the shard."""
    ruled: RuledShard
    """The interactions, and what the rules have found."""
    scores: Scores | None
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
    stray = _stray_probability(scored, plan)
    if plan.recalibration is not None:
        scores = _recalibrate(scored, plan, plan.recalibration)
    weight = _weigh(scored, stray, plan, policy)
    ranked = scores
    if policy.drop_rate == "weightless" and policy.threshold is None:
        ranked = dataclasses.replace(scores, noise_probability=stray)
    judged = decide(
        ranked.at(ruled.open),
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


def _weigh(scored: ScoredShard, stray: np.ndarray, plan: DropPlan, policy: Policy) -> np.ndarray:
    """Returns how much each interaction should count in training if it is kept, float32 [rows].

    The probability that an interaction is a stray decides, as the model gives it, and not the log's noise: how much
    noise is certain is another question than what a recommender learns best from. Where the model cannot tell noise
    from this log's interactions, all count in full.
    """
    scores, ruled = scored.scores, scored.ruled
    weight = np.ones(len(scores.scored), np.float32)
    if isinstance(plan.share, NoiseShare):
        weight = weigh_interactions(stray, scores.scored, policy.weight_strength, policy.min_weight)
    weight[np.flatnonzero(ruled.open)[last_interactions(ruled.open_offsets, policy.keep_last)]] = 1
    return weight


def _stray_probability(scored: ScoredShard, plan: DropPlan) -> np.ndarray:
    """Returns the probability that each interaction is a stray, float32 [rows], by the odds of its behaviour."""
    shifts = [Recalibration(1.0, odds.shift) for odds in plan.by_behaviour]
    return _by_behaviour(scored, scored.scores.stray_probability, shifts)


def _recalibrate(scored: ScoredShard, plan: DropPlan, recalibration: Recalibration) -> Scores:
    scores = scored.scores
    if plan.by_behaviour:
        probability = _by_behaviour(scored, scores.noise_probability, plan.recalibrations())
    else:
        probability = recalibration.apply(scores.noise_probability)
    return dataclasses.replace(scores, noise_probability=np.where(scores.scored, probability, np.float32(0)))


def _by_behaviour(scored: ScoredShard, probability: np.ndarray, recalibrations: list[Recalibration]) -> np.ndarray:
    """Returns probabilities, float32 [rows], recalibrated by the strongest behaviour of each journey."""
    reached = scored.ruled.reached
    if reached is None or not recalibrations:
        return probability
    rows = np.flatnonzero(scored.ruled.open)
    level, result = np.minimum(reached, len(recalibrations) - 1), probability.copy()
    for number, recalibration in enumerate(recalibrations):
        chosen = rows[level == number]
        result[chosen] = recalibration.apply(probability[chosen])
    return result
