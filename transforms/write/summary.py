"""What happened to a shard, in numbers that add up: the manifest and the report are made of them."""

import dataclasses
from collections import Counter
from itertools import pairwise

import apache_beam as beam
import numpy as np
import pyarrow as pa

from ...models.core.reasons import reason_codes
from ..contract.columns import InteractionColumns
from ..files.tables import WrittenFile
from ..judge.judge_shard import JudgedShard
from ..read.read_splits import row_checksum
from .example_users import EXAMPLE_USERS, ExampleUser, choose_examples

HISTOGRAM_BINS = 50
_LENGTH_BINS = 40


@dataclasses.dataclass(frozen=True)
class Summary:
    """Numbers of one shard, or the sums over many."""

    reasons: Counter[str]
    """Number of interactions dropped or kept for each reason, by its code."""
    kept: int
    """Interactions kept, with a reason or without."""
    users: np.ndarray
    """int64 [3]: all users, those with fewer interactions than before, and those with none left."""
    histogram: np.ndarray
    """int64 [2, HISTOGRAM_BINS]: scored interactions by noise probability, kept and dropped."""
    popularity: np.ndarray
    """int64 [2, buckets]: all interactions and dropped ones, by popularity of the item."""
    genuine: np.ndarray
    """float64 [2, buckets]: how many of these are genuine, as their noise probabilities say."""
    lengths: np.ndarray
    """int64 [2, bins]: users by length of their sequence, before and after. Bin 0 counts empty sequences, bin k those
    of up to 2^(k-1) interactions."""
    seconds: dict[str, float]
    """Worker seconds by step."""
    examples: list[ExampleUser]
    """Up to EXAMPLE_USERS users, in ascending order of their keys."""
    files: np.ndarray
    """int64 [2, files]: interactions kept and dropped, by input file."""
    checksum: int
    """Checksum of the row numbers, see `read_splits.row_checksum`."""
    written: list[WrittenFile]
    """The files written."""

    @property
    def dropped(self) -> int:
        """Interactions dropped."""
        return sum(self.reasons[code] for code in reason_codes("dropped"))


def summarise(
    judged_shard: JudgedShard,
    columns: InteractionColumns,
    bucket: np.ndarray,
    buckets: int,
    first_rows: np.ndarray,
    written: list[WrittenFile],
) -> Summary:
    """Counts what happened to one shard.

    Args:
        judged_shard: The shard with all that is decided about it.
        columns: The part that each column plays.
        bucket: int [rows], popularity bucket of each interaction's item.
        buckets: Number of popularity buckets.
        first_rows: int64 [files], number in the whole input of each file's first row.
        written: The shard's files.
    """
    scored, decisions = judged_shard.scored, judged_shard.decisions
    offsets = scored.ordered.offsets
    dropped = ~decisions.keep
    lengths = np.diff(offsets)
    user = np.repeat(np.arange(len(lengths)), lengths)
    after = lengths - np.bincount(user[dropped], minlength=len(lengths))
    bins = np.minimum((scored.scores.noise_probability * HISTOGRAM_BINS).astype(int), HISTOGRAM_BINS - 1)
    judged = scored.scores.scored
    genuine = 1 - scored.scores.noise_probability.astype(np.float64)
    file = np.searchsorted(first_rows, scored.ordered.rows, side="right") - 1
    return Summary(
        reasons=decisions.count_reasons(),
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
        examples=choose_examples(judged_shard, columns),
        files=np.stack([np.bincount(file[rows], minlength=len(first_rows)) for rows in (~dropped, dropped)]),
        checksum=row_checksum(pa.array(scored.ordered.rows)),
        written=written,
    )


def merge_summaries(summaries: list[Summary]) -> Summary:
    """Adds summaries up. Of the examples, those with the lowest keys stay."""
    steps = sorted({step for summary in summaries for step in summary.seconds})
    reasons: Counter[str] = Counter()
    for summary in summaries:
        reasons.update(summary.reasons)
    return Summary(
        reasons=reasons,
        kept=sum(s.kept for s in summaries),
        users=np.sum([s.users for s in summaries], axis=0),
        histogram=np.sum([s.histogram for s in summaries], axis=0),
        popularity=np.sum([s.popularity for s in summaries], axis=0),
        genuine=np.sum([s.genuine for s in summaries], axis=0),
        lengths=np.sum([s.lengths for s in summaries], axis=0),
        seconds={step: sum(s.seconds.get(step, 0.0) for s in summaries) for step in steps},
        examples=sorted((e for s in summaries for e in s.examples), key=lambda e: e.key)[:EXAMPLE_USERS],
        files=np.sum([s.files for s in summaries], axis=0),
        checksum=sum(s.checksum for s in summaries) % 2**64,
        written=[file for s in summaries for file in s.written],
    )


class MergeSummaries(beam.CombineFn):
    """Summaries -> their sum."""

    def create_accumulator(self) -> list[Summary]:
        """Returns the sum of no summaries."""
        return []

    def add_input(self, accumulator, element):
        """Adds one summary."""
        return [merge_summaries([*accumulator, element])]

    def merge_accumulators(self, accumulators):
        """Adds sums up."""
        summaries = [summary for accumulator in accumulators for summary in accumulator]
        return [merge_summaries(summaries)] if summaries else []

    def extract_output(self, accumulator) -> Summary:
        """Returns the sum."""
        return accumulator[0]


def length_labels() -> list[str]:
    """Returns the names of the bins of `Summary.lengths`: 0, 1, 2, 3-4, 5-8, ..."""
    edges = [2**k for k in range(_LENGTH_BINS - 1)]
    ranges = [f"{low + 1}-{high}" if high > low + 1 else str(high) for low, high in pairwise(edges)]
    return ["0", "1", *ranges]


def _length_histogram(lengths: np.ndarray) -> np.ndarray:
    # frexp(n - 0.5) gives the exponent of the smallest power of two that is at least n.
    bins = np.where(lengths > 0, np.frexp(np.maximum(lengths, 1) - 0.5)[1] + 1, 0)
    return np.bincount(bins, minlength=_LENGTH_BINS)
