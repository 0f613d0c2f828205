"""What happened to a shard, in numbers that add up: the material of the manifest and the report."""

import dataclasses
from itertools import pairwise
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from ..contract.columns import InteractionColumns
from ..files.tables import WrittenFile
from ..items.joined_items import JoinedItems
from ..judge.decide import DROP_REASONS, NO_REASON, REASONS, Decisions
from ..judge.scored_shard import ScoredShard
from ..read.read_splits import row_checksum
from .example_users import EXAMPLE_USERS, _examples

HISTOGRAM_BINS = 50


_LENGTH_BINS = 40


@dataclasses.dataclass(frozen=True)
class Summary:
    """Numbers of one shard, or of many added up."""

    dropped_reasons: np.ndarray
    """int64 [len(DROP_REASONS)], interactions dropped for each."""
    kept_reasons: np.ndarray
    """int64 [len(KEEP_REASONS)], interactions kept for each."""
    kept: int
    """Interactions kept, with a reason or without."""
    users: np.ndarray
    """int64 [3]: users in all, shortened, emptied."""
    histogram: np.ndarray
    """int64 [2, HISTOGRAM_BINS]: scored interactions by noise probability, kept and dropped."""
    popularity: np.ndarray
    """int64 [2, buckets]: interactions and dropped interactions by popularity of the item."""
    genuine: np.ndarray
    """float64 [2, buckets]: of these, how many are genuine by their noise probabilities."""
    lengths: np.ndarray
    """int64 [2, bins]: users by length of their sequence, before and after; bin 0 is empty, bin k up to 2^(k-1)."""
    seconds: dict[str, float]
    """Worker seconds by step."""
    examples: list[tuple[tuple[bool, int], dict[str, Any]]]
    """Up to EXAMPLE_USERS users with their sort keys, ascending."""
    files: np.ndarray
    """int64 [2, files]: interactions kept and dropped by input file."""
    checksum: int
    """As `reading.row_checksum`."""
    written: list[WrittenFile]
    """The files written."""

    @property
    def dropped(self) -> int:
        """Interactions dropped."""
        return int(self.dropped_reasons.sum())


def summarise(
    scored: ScoredShard,
    decisions: Decisions,
    columns: InteractionColumns,
    catalogue: JoinedItems,
    bucket: np.ndarray,
    buckets: int,
    first_rows: np.ndarray,
    written: list[WrittenFile],
) -> Summary:
    """Counts one shard, given its rows' popularity buckets, int [rows], and the files' first rows, int64 [files]."""
    offsets = scored.ordered.offsets
    dropped = ~decisions.keep
    lengths = np.diff(offsets)
    user = np.repeat(np.arange(len(lengths)), lengths)
    after = lengths - np.bincount(user[dropped], minlength=len(lengths))
    reasons = np.bincount(decisions.reason[decisions.reason != NO_REASON], minlength=len(REASONS))
    bins = np.minimum((scored.scores.noise_probability * HISTOGRAM_BINS).astype(int), HISTOGRAM_BINS - 1)
    judged = scored.scores.scored
    genuine = 1 - scored.scores.noise_probability.astype(np.float64)
    file = np.searchsorted(first_rows, scored.ordered.rows, side="right") - 1
    return Summary(
        dropped_reasons=reasons[: len(DROP_REASONS)],
        kept_reasons=reasons[len(DROP_REASONS) :],
        kept=int(decisions.keep.sum()),
        users=np.array([len(lengths), (after < lengths).sum(), (after == 0).sum()]),
        histogram=np.stack(
            [np.bincount(bins[judged & rows], minlength=HISTOGRAM_BINS) for rows in (~dropped, dropped)]
        ),
        popularity=np.stack([np.bincount(bucket, minlength=buckets), np.bincount(bucket[dropped], minlength=buckets)]),
        genuine=np.stack(
            [
                np.bincount(bucket, genuine, minlength=buckets),
                np.bincount(bucket[dropped], genuine[dropped], minlength=buckets),
            ]
        ),
        lengths=np.stack([_length_histogram(lengths), _length_histogram(after)]),
        seconds=scored.seconds,
        examples=_examples(scored, decisions, columns, catalogue),
        files=np.stack([np.bincount(file[rows], minlength=len(first_rows)) for rows in (~dropped, dropped)]),
        checksum=row_checksum(pa.array(scored.ordered.rows)),
        written=written,
    )


def merge_summaries(summaries: list[Summary]) -> Summary:
    """Adds summaries up; of the examples, those with the lowest keys stay."""
    steps = sorted({step for summary in summaries for step in summary.seconds})
    return Summary(
        dropped_reasons=np.sum([s.dropped_reasons for s in summaries], axis=0),
        kept_reasons=np.sum([s.kept_reasons for s in summaries], axis=0),
        kept=sum(s.kept for s in summaries),
        users=np.sum([s.users for s in summaries], axis=0),
        histogram=np.sum([s.histogram for s in summaries], axis=0),
        popularity=np.sum([s.popularity for s in summaries], axis=0),
        genuine=np.sum([s.genuine for s in summaries], axis=0),
        lengths=np.sum([s.lengths for s in summaries], axis=0),
        seconds={step: sum(s.seconds.get(step, 0.0) for s in summaries) for step in steps},
        examples=sorted((e for s in summaries for e in s.examples), key=lambda e: e[0])[:EXAMPLE_USERS],
        files=np.sum([s.files for s in summaries], axis=0),
        checksum=sum(s.checksum for s in summaries) % 2**64,
        written=[file for s in summaries for file in s.written],
    )


def length_labels() -> list[str]:
    """Names of the bins of `Summary.lengths`: 0, 1, 2, 3-4, 5-8, ..."""
    edges = [2**k for k in range(_LENGTH_BINS - 1)]
    ranges = [f"{low + 1}-{high}" if high > low + 1 else str(high) for low, high in pairwise(edges)]
    return ["0", "1", *ranges]


def _length_histogram(lengths: np.ndarray) -> np.ndarray:
    # frexp(n - 0.5) gives the exponent of the smallest power of two that is at least n.
    bins = np.where(lengths > 0, np.frexp(np.maximum(lengths, 1) - 0.5)[1] + 1, 0)
    return np.bincount(bins, minlength=_LENGTH_BINS)


class MergeSummaries(beam.CombineFn):
    """Adds `Summary`s up."""

    def create_accumulator(self) -> list[Summary]:
        """Nothing yet."""
        return []

    def add_input(self, accumulator, element):
        """Adds one."""
        return [merge_summaries([*accumulator, element])]

    def merge_accumulators(self, accumulators):
        """Adds several."""
        summaries = [summary for accumulator in accumulators for summary in accumulator]
        return [merge_summaries(summaries)] if summaries else []

    def extract_output(self, accumulator) -> Summary:
        """The sum."""
        return accumulator[0]
