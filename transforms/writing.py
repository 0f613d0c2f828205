"""Decides on and writes one shard: its interactions with their decisions, and its users' cleaned sequences."""

import dataclasses
from collections.abc import Iterator
from time import perf_counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsSingleton
from apache_beam.utils.shared import Shared

from ..models.weighting import weigh_interactions
from .deciding import Decisions, Policy, decide
from .drop_plan import DropPlan
from .files import join, write_table
from .joining import open_items
from .popularity import SharedItemCounts
from .schema import ADDED_FIELDS, SIMILARITY_COLUMNS, InteractionColumns
from .scoring import ScoredShard
from .summary import Summary, summarise

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


def write_interactions(path: str, table: pa.Table, columns: InteractionColumns) -> None:
    """Writes what `cleaned_interactions` returns."""
    write_table(path, table, varied=(columns.timestamp, "noise_probability", *SIMILARITY_COLUMNS))


def write_sequences(path: str, table: pa.Table) -> None:
    """Writes what `cleaned_sequences` returns."""
    write_table(path, table, varied=("user_id", "timestamps"))


def shard_file(shard: int, shards: int) -> str:
    """Name of a shard's files: the same for every try, so that a retried bundle replaces what it left behind."""
    return f"part-{shard:05d}-of-{shards:05d}.parquet"


@dataclasses.dataclass
class DecideAndWrite(beam.PTransform):
    """ScoredShard -> Summary; writes the shard's files on the way."""

    columns: InteractionColumns
    policy: Policy
    output: str
    shards: int
    plan: AsSingleton
    item_counts: AsSingleton
    catalogue_directory: AsSingleton

    def expand(self, input_or_inputs):
        """Applies the policy and the writers to a PCollection of ScoredShard."""
        write = _DecideAndWrite(self.columns, self.policy, self.output, self.shards)
        return input_or_inputs | "Decide and write" >> beam.ParDo(
            write, self.plan, self.item_counts, self.catalogue_directory
        )


class _DecideAndWrite(beam.DoFn):
    def __init__(self, columns: InteractionColumns, policy: Policy, output: str, shards: int):
        self._columns, self._policy, self._output, self._shards = columns, policy, output, shards
        self._counts, self._shared_catalogue = SharedItemCounts(), Shared()
        self._held: object = None

    def process(
        self, scored: ScoredShard, plan: DropPlan, item_counts: str, catalogue_directory: str
    ) -> Iterator[Summary]:
        started = perf_counter()
        counts = self._counts.read(item_counts)
        catalogue = self._shared_catalogue.acquire(lambda: open_items(catalogue_directory))
        self._held = catalogue  # for the same reason as in _ScoreShard
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
        write_interactions(
            join(self._output, INTERACTIONS, name), cleaned_interactions(scored, decisions, weight), self._columns
        )
        write_sequences(
            join(self._output, SEQUENCES, name), cleaned_sequences(scored, decisions, self._columns, weight)
        )
        summary = summarise(scored, decisions, self._columns, catalogue, bucket, len(counts.edges))
        seconds = {**summary.seconds, "decide and write": perf_counter() - started}
        yield dataclasses.replace(summary, seconds=seconds)
