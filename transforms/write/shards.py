"""Decides on and writes one shard: its interactions with their decisions, and its users' cleaned sequences."""

import dataclasses
from collections.abc import Callable, Iterator
from time import perf_counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from ..contract.columns import SIMILARITY_COLUMNS, InteractionColumns
from ..contract.output_layout import INTERACTIONS, SEQUENCES, shard_file
from ..contract.output_schemas import ADDED_FIELDS
from ..files.loaded_once import LoadedOnce
from ..files.storage import exists, join
from ..files.tables import WrittenFile, describe_file, write_table
from ..items.item_counts import ItemCounts, read_item_counts
from ..items.joined_items import JoinedItems, open_items
from ..judge.decide import Decisions, decide
from ..judge.drop_plan import DropPlan
from ..judge.policy import Policy
from ..judge.recalibrate import recalibrate_shard, weigh_shard
from ..judge.scored_shard import ScoredShard
from .summary import Summary, summarise


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
        self._counts, self._catalogue = LoadedOnce[ItemCounts](), LoadedOnce[JoinedItems]()

    def process(
        self, scored: ScoredShard, plan: DropPlan, item_counts: str, catalogue_directory: str
    ) -> Iterator[Summary]:
        started = perf_counter()
        counts = self._counts.get(lambda: read_item_counts(item_counts))
        catalogue = self._catalogue.get(lambda: open_items(catalogue_directory))
        bucket = counts.bucket(scored.ordered.item_ids)[scored.ordered.items]
        scored = recalibrate_shard(scored, plan)
        decisions = decide(
            scored.scores,
            scored.ordered.offsets,
            self._policy,
            plan.threshold,
            known=scored.known,
            has_text=scored.has_text,
        )
        weight = weigh_shard(scored, plan)
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
