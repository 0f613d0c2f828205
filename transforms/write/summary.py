"""What happened to a shard, in numbers that add up: the manifest and the report are made of them."""

import dataclasses
from collections import Counter
from itertools import pairwise

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.reasons import reason_codes
from ..contract.columns import InteractionColumns
from ..files.tables import WrittenFile
from ..items.item_counts import ItemCounts
from ..judge.judge_shard import JudgedShard
from ..read.behaviours import behaviour_texts
from ..read.read_splits import row_checksum
from ..rules.rule_set import RuleSet
from .example_users import EXAMPLE_USERS, ExampleUser, choose_examples
from .lookalike_users import IdForms, id_forms
from .users import SHARED_ACCOUNT, stands_out

HISTOGRAM_BINS = 50
STANDING_OUT = 20
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
    found: np.ndarray
    """int64 [2, rules]: interactions that each rule is about, and their users."""
    id_forms: IdForms
    """How the ids of the users are spelled."""
    standing_out: list[dict]
    """Up to STANDING_OUT rows of users whom a rule names as a whole, those with most interactions first."""
    shared_accounts: int = 0
    """Number of users who are named as shared accounts."""
    weightless: int = 0
    """Interactions kept that weigh 0, whatever their reason."""
    taken_over: int = 0
    """Number of users whose scores are those of an earlier run."""
    behaviours: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """int64 [3] for each behaviour: all its interactions, those that are dropped, and the journeys that reach no
    stronger one; the last says nothing if behaviours have no order. Empty if the log has no behaviours."""

    @property
    def dropped(self) -> int:
        """Interactions dropped."""
        return sum(self.reasons[code] for code in reason_codes("dropped"))


def summarise(
    judged: JudgedShard,
    users: pa.Table,
    columns: InteractionColumns,
    item_counts: ItemCounts,
    first_rows: np.ndarray,
    rules: RuleSet,
    written: list[WrittenFile],
) -> Summary:
    """Counts what happened to one shard.

    Args:
        judged: The shard with all that is decided about it.
        users: What `describe_users` says of it.
        columns: The part that each column plays.
        item_counts: Of the whole log, after the rules.
        first_rows: int64 [files], number in the whole input of each file's first row.
        rules: The rules.
        written: The shard's files.
    """
    ordered, ruled, decisions = judged.ruled.ordered, judged.ruled, judged.decisions
    dropped = ~decisions.keep
    lengths = np.diff(ordered.offsets)
    user = ordered.users
    after = lengths - np.bincount(user[dropped], minlength=len(lengths))
    histogram, popularity, genuine = _count_scored(judged, item_counts)
    file = np.searchsorted(first_rows, ordered.rows, side="right") - 1
    found = [ruled.found_by(number) for number in range(len(rules.rules))]
    return Summary(
        reasons=decisions.count_reasons(),
        kept=int(decisions.keep.sum()),
        users=np.array([len(lengths), (after < lengths).sum(), (after == 0).sum()]),
        histogram=histogram,
        popularity=popularity,
        genuine=genuine,
        lengths=np.stack([_length_histogram(lengths), _length_histogram(after)]),
        seconds=judged.seconds,
        examples=choose_examples(judged, columns),
        files=np.stack([np.bincount(file[rows], minlength=len(first_rows)) for rows in (~dropped, dropped)]),
        checksum=row_checksum(pa.array(ordered.rows)),
        written=written,
        found=np.array([[int(rows.sum()), _count_users(user[rows])] for rows in found]).T.reshape(2, len(found)),
        id_forms=id_forms(users["user_id"].combine_chunks()),
        standing_out=stands_out(users, STANDING_OUT),
        shared_accounts=pc.sum(pc.equal(users["reason"], SHARED_ACCOUNT)).as_py() or 0,
        weightless=int((decisions.keep & (judged.weight == 0)).sum()),
        taken_over=judged.taken_over,
        behaviours=_count_behaviours(judged, columns),
    )


def _count_behaviours(judged: JudgedShard, columns: InteractionColumns) -> dict[str, np.ndarray]:
    """Returns `behaviours` of a Summary."""
    ruled = judged.ruled
    if columns.behaviour is None or ruled.reached is None or ruled.ordered.behaviours is None:
        return {}
    texts = behaviour_texts(ruled.ordered.table[columns.behaviour])
    behaviour, number = texts.indices.to_numpy(), len(texts.dictionary)
    # Each rank is that of one behaviour.
    of_rank = np.zeros(int(ruled.ordered.behaviours.max(initial=0)) + 1, np.int64)
    of_rank[ruled.ordered.behaviours] = behaviour
    journeys = of_rank[ruled.reached[ruled.evidence[ruled.open]]]
    rows = (behaviour, behaviour[~judged.decisions.keep], journeys)
    counts = np.stack([np.bincount(each, minlength=number) for each in rows], axis=1)
    return dict(zip(texts.dictionary.to_pylist(), counts, strict=True))


def _count_users(users: np.ndarray) -> int:
    """Returns the number of different users among ascending ones."""
    return int(np.count_nonzero(np.diff(users))) + (len(users) > 0)


def _count_scored(judged: JudgedShard, item_counts: ItemCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns `histogram`, `popularity` and `genuine` of a Summary. What a rule has taken is in none of them."""
    ruled, buckets = judged.ruled, len(item_counts.edges)
    dropped = ~judged.decisions.keep[ruled.open]
    bucket = item_counts.bucket(ruled.ordered.item_ids)[ruled.ordered.items[ruled.open]]
    popularity = np.stack([np.bincount(bucket, minlength=buckets), np.bincount(bucket[dropped], minlength=buckets)])
    if judged.scores is None:
        return np.zeros((2, HISTOGRAM_BINS), np.int64), popularity, np.zeros((2, buckets))
    scores = judged.scores.at(ruled.open)
    bins = np.minimum((scores.noise_probability * HISTOGRAM_BINS).astype(int), HISTOGRAM_BINS - 1)
    histogram = [np.bincount(bins[scores.scored & rows], minlength=HISTOGRAM_BINS) for rows in (~dropped, dropped)]
    genuine = 1 - scores.noise_probability.astype(np.float64)
    expected = (
        np.bincount(bucket, genuine, minlength=buckets),
        np.bincount(bucket[dropped], genuine[dropped], minlength=buckets),
    )
    return np.stack(histogram), popularity, np.stack(expected)


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
        found=np.sum([s.found for s in summaries], axis=0),
        id_forms=sum((s.id_forms for s in summaries[1:]), summaries[0].id_forms),
        standing_out=sorted(
            (user for s in summaries for user in s.standing_out),
            key=lambda user: (-user["interactions"], str(user["user_id"])),
        )[:STANDING_OUT],
        shared_accounts=sum(s.shared_accounts for s in summaries),
        weightless=sum(s.weightless for s in summaries),
        taken_over=sum(s.taken_over for s in summaries),
        behaviours={
            each: np.sum([s.behaviours[each] for s in summaries if each in s.behaviours], axis=0)
            for each in sorted({each for s in summaries for each in s.behaviours})
        },
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
