"""Plans what to drop, once all shards are scored: what the noise probabilities mean in this log, and the threshold.

Tallies of shards add up exactly in any order, so the plan is the same however the log was cut.
"""

import dataclasses

import apache_beam as beam
import numpy as np

from ...models.noise.recalibration import Recalibration, recalibrate
from ...models.noise.share import NoiseShare, NoShare, estimate_share
from .policy import Policy
from .tally import MergeTallies, Tally
from .threshold import NOTHING, coarse_counts, threshold_for_rate, threshold_of_parts

MODEL_BINS = 50
"""Bins of `DropPlan.model_probabilities`."""

_MAX_SHIFT = float(np.log(10))
"""No behaviour changes the odds of noise by a larger factor."""


@dataclasses.dataclass(frozen=True)
class BehaviourOdds:
    """How much more noise there is than in the whole log, among interactions of journeys that reach one behaviour."""

    share: NoiseShare | NoShare
    """Share of noise among those that were judged."""
    shift: float
    """Added to their log odds of noise."""


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
    by_behaviour: tuple[BehaviourOdds, ...] = ()
    """The odds by the strongest behaviour of a journey, in the order of `Tally.by_behaviour`. Empty if behaviours have
    no order, or no noise is certain."""
    model_probabilities: tuple[int, ...] = ()
    """Judged interactions by the model's own probability, in bins of equal width from 0 to 1."""

    def recalibrations(self) -> list[Recalibration]:
        """Returns the recalibration for each of `by_behaviour`."""
        recalibration = self.recalibration
        return [
            dataclasses.replace(recalibration, shift=recalibration.shift + each.shift)
            for each in self.by_behaviour
            if recalibration is not None
        ]


def plan_drops(tally: Tally, policy: Policy, reference: np.ndarray) -> DropPlan:
    """Estimates the log's share of noise, recalibrates its probabilities, and finds the threshold.

    Args:
        tally: Of the whole log.
        policy: What is asked for. `auto` drops the lower end of the share, the noise that is surely there.
        reference: What inserted noise scores, see `models.training.noise_reference`.
    """
    histogram = tally.histogram
    share, recalibration = recalibrate(reference, tally.counts)
    odds = ()
    if isinstance(share, NoiseShare) and recalibration is not None:
        odds = tuple(behaviour_odds(share, estimate_share(reference, part.counts)) for part in tally.by_behaviour)
    said = tuple(coarse_counts(histogram, MODEL_BINS).tolist())
    plan = DropPlan(share, recalibration, None, NOTHING, odds, said)
    if policy.threshold is not None:
        return dataclasses.replace(plan, threshold=policy.threshold)
    if policy.drop_rate == "weightless":
        # If no share is known, nothing weighs 0.
        return plan if isinstance(share, NoShare) else dataclasses.replace(plan, threshold=policy.weightless_from)
    if policy.drop_rate == "auto":
        certain = share.lower if isinstance(share, NoiseShare) else 0.0
        rate = certain * float(histogram.counts.sum() / max(histogram.rows, 1))  # rules may have left no row
    else:
        rate = policy.drop_rate
    if odds:
        histograms = [part.histogram for part in tally.by_behaviour]
        parts = list(zip(histograms, plan.recalibrations(), strict=True))
        return dataclasses.replace(plan, drop_rate=rate, threshold=threshold_of_parts(parts, histogram.rows, rate))
    return dataclasses.replace(plan, drop_rate=rate, threshold=threshold_for_rate(histogram, rate, recalibration))


def behaviour_odds(log: NoiseShare, behaviour: NoiseShare | NoShare) -> BehaviourOdds:
    """Returns the odds of noise for a part of the log, by its own share of noise.

    The odds move from those of the log only as far as the part certainly differs: to the end of its interval that is
    nearer to the share of the log, and not at all if that lies inside. How the scores of noise and of the rest are
    distributed does not depend on the behaviour, which the detector does not see, so the log odds of each interaction
    move by the same amount (Saerens, Latinne and Decaestecker, 2002).

    Args:
        log: Share of noise in the whole log.
        behaviour: Share of noise in the part.
    """
    if isinstance(behaviour, NoShare):
        return BehaviourOdds(behaviour, 0.0)
    certain = min(max(log.estimate, behaviour.lower), behaviour.upper)
    with np.errstate(divide="ignore"):
        before, after = (np.log(share) - np.log1p(-share) for share in (log.estimate, certain))
    return BehaviourOdds(behaviour, float(np.clip(after - before, -_MAX_SHIFT, _MAX_SHIFT)))


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
