"""Plans, once all shards are scored, what the noise probabilities mean in this log and from where on rows are dropped.

Tallies of shards add up exactly in any order, so that the plan is the same however the log was cut up.
"""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton

from ...models.noise.recalibration import Recalibration, recalibrate
from ...models.noise.share import NoiseShare, NoShare
from ..contract.columns import InteractionColumns
from ..files.loaded_once import LoadedOnce
from ..items.item_counts import ItemCounts, read_item_counts
from .policy import Policy
from .scored_shard import ScoredShard
from .tally import Tally, _MergeTallies, tally_shard
from .threshold import threshold_for_rate


@dataclasses.dataclass(frozen=True)
class DropPlan:
    """What is decided for the whole log."""

    share: NoiseShare | NoShare
    """Of noise, among the interactions that were judged."""
    recalibration: Recalibration | None
    """Turns the model's probabilities into this log's; None where no noise is certain."""
    drop_rate: float | None
    """Share of all interactions to be dropped; None: whatever the threshold drops."""
    threshold: float
    """What is at or above it goes, by the probabilities of this log."""


def plan_drops(tally: Tally, policy: Policy, reference: np.ndarray) -> DropPlan:
    """Estimates the log's share of noise, re-bases its probabilities, and finds the threshold.

    Args:
        tally: Of the whole log.
        policy: What is asked for. By its `auto` goes the lower end of the share: what surely is there.
        reference: What inserted noise scores, see `models.noise_share`.
    """
    histogram = tally.histogram
    share, recalibration = recalibrate(reference, tally.counts)
    if policy.threshold is not None:
        return DropPlan(share, recalibration, None, policy.threshold)
    if policy.drop_rate == "auto":
        certain = share.lower if isinstance(share, NoiseShare) else 0.0
        rate = certain * float(histogram.counts.sum() / histogram.rows)
    else:
        rate = policy.drop_rate
    return DropPlan(share, recalibration, rate, threshold_for_rate(histogram, rate, recalibration))


@dataclasses.dataclass
class PlanDrops(beam.PTransform):
    """ScoredShard -> one DropPlan or, of no shard, none; given the item counts as a side input."""

    columns: InteractionColumns
    policy: Policy
    reference: np.ndarray
    item_counts: AsSingleton

    def expand(self, input_or_inputs):
        """Applies the plan to a PCollection of ScoredShard."""
        return (
            input_or_inputs
            | "Tally" >> beam.ParDo(_TallyShard(self.columns), self.item_counts)
            | "Merge tallies" >> beam.CombineGlobally(_MergeTallies()).without_defaults()
            | "Plan" >> beam.Map(plan_drops, self.policy, self.reference)
        )


class _TallyShard(beam.DoFn):
    def __init__(self, columns: InteractionColumns):
        self._columns = columns
        self._counts = LoadedOnce[ItemCounts]()

    def process(self, scored: ScoredShard, item_counts: str) -> Iterator[Tally]:
        yield tally_shard(scored, self._columns, self._counts.get(lambda: read_item_counts(item_counts)))
