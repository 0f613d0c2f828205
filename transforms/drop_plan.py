"""Plans, once all shards are scored, what the noise probabilities mean in this log and from where on rows are dropped.

Tallies of shards add up exactly in any order, so that the plan is the same however the log was cut up.
"""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton

from ..models.noise_share import (
    GROUPS,
    NoiseShare,
    NoShare,
    Recalibration,
    count_by_group,
    fit_to_log,
    places,
)
from .deciding import Policy
from .grouping import hash_values
from .loading import LoadedOnce
from .popularity import ItemCounts, read_item_counts
from .schema import InteractionColumns
from .scoring import ScoredShard
from .thresholds import ProbabilityHistogram, merge_histograms, probability_histogram, threshold_for_rate

_FEW_BINS = 1 << 20


@dataclasses.dataclass(frozen=True)
class Tally:
    """Noise probabilities of one shard, or of many added up."""

    histogram: ProbabilityHistogram
    """Fine, for the threshold."""
    counts: np.ndarray
    """int64 [GROUPS, PLACES, buckets, BINS]: scored interactions, for the share of noise."""


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


def tally_shard(scored: ScoredShard, columns: InteractionColumns, item_counts: ItemCounts) -> Tally:
    """Counts one shard."""
    offsets, judged = scored.ordered.offsets, scored.scores.scored
    probability = scored.scores.noise_probability
    bucket = item_counts.bucket(scored.ordered.item_ids)[scored.ordered.items]
    buckets = len(item_counts.edges)
    # Not the bits that chose the shard.
    group_of_user = (hash_values(scored.ordered.user_ids(columns)) >> np.uint64(40)).astype(np.int64) % GROUPS
    group = np.repeat(group_of_user, np.diff(offsets))
    counts = count_by_group(probability[judged], group[judged], places(offsets)[judged], bucket[judged], buckets)
    return Tally(probability_histogram(probability, judged), counts)


def merge_tallies(tallies: list[Tally]) -> Tally:
    """Adds tallies up."""
    return Tally(merge_histograms([t.histogram for t in tallies]), np.sum([t.counts for t in tallies], axis=0))


def plan_drops(tally: Tally, policy: Policy, reference: np.ndarray) -> DropPlan:
    """Estimates the log's share of noise, re-bases its probabilities, and finds the threshold.

    Args:
        tally: Of the whole log.
        policy: What is asked for. By its `auto` goes the lower end of the share: what surely is there.
        reference: What inserted noise scores, see `models.noise_share`.
    """
    histogram = tally.histogram
    share, recalibration = fit_to_log(reference, tally.counts)
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


class _MergeTallies(beam.CombineFn):
    """Adds up only when what has gathered is as large as the sum before: each bin is sorted a few times in all."""

    def create_accumulator(self) -> list[Tally]:
        return []

    def add_input(self, accumulator: list[Tally], element: Tally) -> list[Tally]:
        accumulator.append(element)
        sizes = [len(tally.histogram.bins) for tally in accumulator]
        return self.compact(accumulator) if sum(sizes[1:]) > max(sizes[0], _FEW_BINS) else accumulator

    def merge_accumulators(self, accumulators) -> list[Tally]:
        return self.compact([tally for accumulator in accumulators for tally in accumulator])

    def compact(self, accumulator: list[Tally]) -> list[Tally]:
        return [merge_tallies(accumulator)] if len(accumulator) > 1 else accumulator

    def extract_output(self, accumulator: list[Tally]) -> Tally:
        return self.compact(accumulator)[0]
