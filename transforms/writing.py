"""Decides on and writes one shard: its interactions with their decisions, and its users' cleaned sequences."""

import dataclasses
from collections.abc import Callable, Iterator
from time import perf_counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from ..models.weighting import weigh_interactions
from .deciding import Decisions, Policy, decide
from .drop_plan import DropPlan
from .files import exists, join
from .joining import Catalogue, open_items
from .loading import LoadedOnce
from .popularity import ItemCounts, read_item_counts
from .schema import ADDED_FIELDS, SIMILARITY_COLUMNS, InteractionColumns
from .scoring import ScoredShard
from .summary import Summary, summarise
from .table_files import WrittenFile, describe_file, write_table

INTERACTIONS, SEQUENCES, REJECTED = "interactions", "sequences", "rejected"


def rebase(scored: ScoredShard, plan: DropPlan) -> ScoredShard:
    """Returns the shard with noise probabilities as they are in this log."""
    if plan.recalibration is None:
        return scored
    probability = plan.recalibration.apply(scored.scores.noise_probability)
    probability = np.where(scored.scores.scored, probability, np.float32(0))
    return dataclasses.replace(scored, scores=dataclasses.replace(scored.scores, noise_probability=probability))


def weigh(scored: ScoredShard, plan: DropPlan) -> np.ndarray:
    """Returns how much each row should count in training, float32 [rows]; in full while no noise is certain."""
    if plan.recalibration is None:
        return np.ones(len(scored.scores.scored), np.float32)
    return weigh_interactions(scored.scores.noise_probability, scored.scores.scored)


def cleaned_interactions(scored: ScoredShard, decisions: Decisions, weight: np.ndarray) -> pa.Table:
    """Returns every interaction of the shard with all its columns and the added ones."""
    scores = scored.scores
    similarities = [pa.array(column, from_pandas=True) for column in scores.similarities.T]  # NaN becomes null
    decided = [pa.array(decisions.keep), decisions.reason_strings(), pa.array(weight)]
    added = [pa.array(scores.noise_probability), *decided, *similarities]
    table = scored.ordered.table
    for field, values in zip(ADDED_FIELDS, added, strict=True):
        table = table.append_column(field, values)
    return table


def cleaned_sequences(
    scored: ScoredShard, decisions: Decisions, columns: InteractionColumns, weight: np.ndarray
) -> pa.Table:
    """Returns `user_id` and lists of every user with a kept interaction: items, times and weights of what is kept."""
    offsets = scored.ordered.offsets
    kept_before = np.append(0, np.cumsum(decisions.keep))  # [rows + 1]
    kept_offsets = kept_before[offsets]
    users = np.flatnonzero(np.diff(kept_offsets))
    list_offsets = pa.array(np.append(kept_offsets[users], kept_offsets[-1]).astype(np.int32))
    kept = scored.ordered.table.filter(pa.array(decisions.keep))
    weights = pa.array(weight[decisions.keep])

    def lists(name: str) -> pa.Array:
        return pa.ListArray.from_arrays(list_offsets, kept[name].combine_chunks())

    return pa.table(
        {
            "user_id": scored.ordered.table[columns.user].take(offsets[:-1][users]),
            "item_ids": lists(columns.item),
            "timestamps": lists(columns.timestamp),
            "weights": pa.ListArray.from_arrays(list_offsets, weights),
        }
    )


def write_interactions(path: str, table: pa.Table, columns: InteractionColumns) -> WrittenFile:
    """Writes what `cleaned_interactions` returns."""
    return write_table(path, table, varied=(columns.timestamp, "noise_probability", *SIMILARITY_COLUMNS))


def write_sequences(path: str, table: pa.Table) -> WrittenFile:
    """Writes what `cleaned_sequences` returns."""
    return write_table(path, table, varied=("user_id", "timestamps"))


def shard_file(shard: int, shards: int) -> str:
    """Name of a shard's files: the same for every try, so that a retried bundle replaces what it left behind."""
    return f"part-{shard:05d}-of-{shards:05d}.parquet"


def _once(path: str, write: Callable[[str], WrittenFile]) -> WrittenFile:
    """Writes a file unless a run that was cut off has: what lies under a result's name is whole, and of this run."""
    return describe_file(path) if exists(path) else write(path)


@dataclasses.dataclass
class DecideAndWrite(beam.PTransform):
    """ScoredShard -> Summary; writes the shard's files on the way."""

    columns: InteractionColumns
    policy: Policy
    output: str
    shards: int
    first_rows: np.ndarray
    """int64 [files], ascending: number in the whole input of each file's first row."""
    plan: AsSingleton
    item_counts: AsSingleton
    catalogue_directory: AsSingleton

    def expand(self, input_or_inputs):
        """Applies the policy and the writers to a PCollection of ScoredShard."""
        write = _DecideAndWrite(self)
        return input_or_inputs | "Decide and write" >> beam.ParDo(
            write, self.plan, self.item_counts, self.catalogue_directory
        )


class _DecideAndWrite(beam.DoFn):
    def __init__(self, config: DecideAndWrite):
        self._columns, self._policy, self._output = config.columns, config.policy, config.output
        self._shards, self._first_rows = config.shards, config.first_rows
        self._counts, self._catalogue = LoadedOnce[ItemCounts](), LoadedOnce[Catalogue]()

    def process(
        self, scored: ScoredShard, plan: DropPlan, item_counts: str, catalogue_directory: str
    ) -> Iterator[Summary]:
        started = perf_counter()
        counts = self._counts.get(lambda: read_item_counts(item_counts))
        catalogue = self._catalogue.get(lambda: open_items(catalogue_directory))
        bucket = counts.bucket(scored.ordered.item_ids)[scored.ordered.items]
        scored = rebase(scored, plan)
        decisions = decide(
            scored.scores,
            scored.ordered.offsets,
            self._policy,
            plan.threshold,
            known=scored.known,
            has_text=scored.has_text,
        )
        weight = weigh(scored, plan)
        name = shard_file(scored.shard, self._shards)
        interactions, sequences = (join(self._output, folder, name) for folder in (INTERACTIONS, SEQUENCES))
        written = [
            _once(
                interactions,
                lambda path: write_interactions(path, cleaned_interactions(scored, decisions, weight), self._columns),
            ),
            _once(
                sequences,
                lambda path: write_sequences(path, cleaned_sequences(scored, decisions, self._columns, weight)),
            ),
        ]
        summary = summarise(
            scored, decisions, self._columns, catalogue, bucket, len(counts.edges), self._first_rows, written
        )
        seconds = {**summary.seconds, "decide and write": perf_counter() - started}
        yield dataclasses.replace(summary, seconds=seconds)
