"""Counts the noise probabilities of shards. Tallies add up exactly in any order."""

import dataclasses

import apache_beam as beam
import numpy as np

from ...models.noise.score_counts import GROUPS, count_by_group, places
from ..contract.columns import InteractionColumns
from ..contract.hashing import hash_values
from ..items.item_counts import ItemCounts
from ..read.behaviours import first_unnamed
from .scored_shard import ScoredShard
from .threshold import ProbabilityHistogram, merge_histograms, probability_histogram

_MAX_PENDING_BINS = 1 << 20


@dataclasses.dataclass(frozen=True)
class Tally:
    """Noise probabilities of one shard, or of many added up."""

    histogram: ProbabilityHistogram
    """Fine, for the threshold."""
    counts: np.ndarray
    """int64 [GROUPS, PLACES, buckets, BINS]: scored interactions, for the share of noise."""
    by_behaviour: "tuple[Tally, ...]" = ()
    """The same for the interactions of journeys by the strongest behaviour that they reach, the strongest first, and at
    last those that reach none that the order names. Empty if behaviours have no order."""


def tally_shard(scored: ScoredShard, columns: InteractionColumns, item_counts: ItemCounts) -> Tally:
    """Counts one shard."""
    ordered, ruled = scored.ordered, scored.ruled
    # What a rule has taken is no evidence: neither of scores nor of a user's place in time.
    scores, items, offsets = scored.scores.at(ruled.open), ordered.items[ruled.open], ruled.open_offsets
    judged, probability = scores.scored, scores.noise_probability
    bucket = item_counts.bucket(ordered.item_ids)[items]
    buckets = len(item_counts.edges)
    # The shard was chosen by other bits of the same hash.
    group_of_user = (hash_values(ordered.user_ids(columns)) >> np.uint64(40)).astype(np.int64) % GROUPS
    group = np.repeat(group_of_user, np.diff(offsets))
    place = places(offsets)

    def tally(rows: np.ndarray) -> Tally:
        counts = count_by_group(probability[rows], group[rows], place[rows], bucket[rows], buckets)
        return Tally(probability_histogram(probability, rows), counts)

    if not columns.behaviours or ruled.reached is None:
        return tally(judged)
    last = first_unnamed(columns)
    reached = np.minimum(ruled.reached, last)
    return dataclasses.replace(
        tally(judged), by_behaviour=tuple(tally(judged & (reached == rank)) for rank in range(last + 1))
    )


def merge_tallies(tallies: list[Tally]) -> Tally:
    """Adds tallies up."""
    return Tally(
        merge_histograms([t.histogram for t in tallies]),
        np.sum([t.counts for t in tallies], axis=0),
        tuple(merge_tallies(list(parts)) for parts in zip(*(t.by_behaviour for t in tallies), strict=True)),
    )


class MergeTallies(beam.CombineFn):
    """Adds Tally elements up.

    It waits until the pending tallies are as large as the sum before it adds them to the sum. This way each bin is
    sorted only a few times in all.
    """

    def create_accumulator(self) -> list[Tally]:
        """Nothing yet."""
        return []

    def add_input(self, accumulator: list[Tally], element: Tally) -> list[Tally]:
        """Adds one."""
        accumulator.append(element)
        sizes = [len(tally.histogram.bins) for tally in accumulator]
        return self.compact(accumulator) if sum(sizes[1:]) > max(sizes[0], _MAX_PENDING_BINS) else accumulator

    def merge_accumulators(self, accumulators) -> list[Tally]:
        """Adds several."""
        return self.compact([tally for accumulator in accumulators for tally in accumulator])

    def compact(self, accumulator: list[Tally]) -> list[Tally]:
        """Adds up what is pending."""
        return [merge_tallies(accumulator)] if len(accumulator) > 1 else accumulator

    def extract_output(self, accumulator: list[Tally]) -> Tally:
        """The sum."""
        return self.compact(accumulator)[0]
