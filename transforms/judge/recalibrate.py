"""Applies a drop plan's recalibration and weights to a scored shard."""

import dataclasses

import numpy as np

from ...models.noise.weights import weigh_interactions
from .drop_plan import DropPlan
from .scored_shard import ScoredShard


def recalibrate_shard(scored: ScoredShard, plan: DropPlan) -> ScoredShard:
    """Returns the shard with noise probabilities as they are in this log."""
    if plan.recalibration is None:
        return scored
    probability = plan.recalibration.apply(scored.scores.noise_probability)
    probability = np.where(scored.scores.scored, probability, np.float32(0))
    return dataclasses.replace(scored, scores=dataclasses.replace(scored.scores, noise_probability=probability))


def weigh_shard(scored: ScoredShard, plan: DropPlan) -> np.ndarray:
    """Returns how much each row should count in training, float32 [rows]; in full while no noise is certain."""
    if plan.recalibration is None:
        return np.ones(len(scored.scores.scored), np.float32)
    return weigh_interactions(scored.scores.noise_probability, scored.scores.scored)
