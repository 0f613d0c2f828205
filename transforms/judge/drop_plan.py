"""Plans what to drop, once all shards are scored: what the noise probabilities mean in this log, and the threshold.

Tallies of shards add up exactly in any order, so the plan is the same however the log was cut.
"""

import dataclasses

import apache_beam as beam
import numpy as np

from ...models.noise.recalibration import Recalibration, recalibrate
from ...models.noise.share import NoiseShare, NoShare
from .policy import Policy
from .tally import MergeTallies, Tally
from .threshold import NOTHING, threshold_for_rate


@dataclasses.dataclass(frozen=True)
class DropPlan:
    """What is decided for the whole log."""

    share: NoiseShare | NoShare
    """Share of noise among the interactions that were judged."""
    recalibration: Recalibration | None
    """Turns the model's probabilities into this log's; None if no noise is certain."""
    drop_rate: float | None
    """Share of all interactions to be dropped; None: whatever the threshold drops."""
    threshold: float
    """Interactions at or above it are dropped, by the probabilities of this log."""


def plan_drops(tally: Tally, policy: Policy, reference: np.ndarray) -> DropPlan:
    """Estimates the log's share of noise, recalibrates its probabilities, and finds the threshold.

    Args:
        tally: Of the whole log.
        policy: What is asked for. `auto` drops the lower end of the share, the noise that is surely there.
        reference: What inserted noise scores, see `models.training.noise_reference`.
    """
    histogram = tally.histogram
    share, recalibration = recalibrate(reference, tally.counts)
    if policy.threshold is not None:
        return DropPlan(share, recalibration, None, policy.threshold)
    if policy.drop_rate == "weightless":
        # If no share is known, nothing weighs 0.
        return DropPlan(share, recalibration, None, NOTHING if isinstance(share, NoShare) else policy.weightless_from)
    if policy.drop_rate == "auto":
        certain = share.lower if isinstance(share, NoiseShare) else 0.0
        rate = certain * float(histogram.counts.sum() / max(histogram.rows, 1))  # rules may have left no row
    else:
        rate = policy.drop_rate
    return DropPlan(share, recalibration, rate, threshold_for_rate(histogram, rate, recalibration))


@dataclasses.dataclass
class PlanDrops(beam.PTransform):
    """Tally of each shard -> one DropPlan, or none if there is no shard."""

    policy: Policy
    reference: np.ndarray

    def expand(self, input_or_inputs):
        """Applies the plan to a PCollection of Tally."""
        return (
            input_or_inputs
            | "Merge tallies" >> beam.CombineGlobally(MergeTallies()).without_defaults()
            | "Plan" >> beam.Map(plan_drops, self.policy, self.reference)
        )
