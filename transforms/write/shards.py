"""Judges and writes one shard: its interactions with their decisions, and its users' cleaned sequences."""

import dataclasses
from collections.abc import Callable, Iterator
from time import perf_counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from ..contract.added_columns import AddedColumns
from ..contract.columns import SIMILARITY_COLUMNS, InteractionColumns
from ..contract.output_schemas import added_fields
from ..files.loaded_once import LoadedOnce
from ..files.run_paths import RunPaths
from ..files.storage import exists
from ..files.tables import WrittenFile, describe_file, write_table
from ..items.item_counts import ItemCounts, read_item_counts
from ..judge.drop_plan import DropPlan
from ..judge.judge_shard import JudgedShard, judge_shard
from ..judge.policy import Policy
from ..judge.scored_shard import StagedShard, read_staged_shard
from .summary import Summary, summarise


def cleaned_interactions(judged: JudgedShard, added: AddedColumns) -> pa.Table:
    """Returns every interaction of the shard with all its columns and the added ones."""
    scores, decisions = judged.scored.scores, judged.decisions
    similarities = [pa.array(column, from_pandas=True) for column in scores.similarities.T]  # NaN becomes null
    decided = [pa.array(decisions.keep), decisions.reason_strings(), pa.array(judged.weight)]
    values_of_all = [pa.array(scores.noise_probability), *decided, *similarities]
    table = judged.scored.ordered.table
    for field, values in zip(added_fields(added), values_of_all, strict=True):
        table = table.append_column(field, values)
    return table


def cleaned_sequences(judged: JudgedShard, columns: InteractionColumns) -> pa.Table:
    """Returns `user_id` and lists of every user with a kept interaction: items, times and weights of what is kept."""
    ordered, keep = judged.scored.ordered, judged.decisions.keep
    kept_before = np.append(0, np.cumsum(keep))  # [rows + 1]
    kept_offsets = kept_before[ordered.offsets]
    users = np.flatnonzero(np.diff(kept_offsets))
    list_offsets = pa.array(np.append(kept_offsets[users], kept_offsets[-1]).astype(np.int32))
    kept = ordered.table.filter(pa.array(keep))
    weights = pa.array(judged.weight[keep])

    def lists(name: str) -> pa.Array:
        return pa.ListArray.from_arrays(list_offsets, kept[name].combine_chunks())

    return pa.table(
        {
            "user_id": ordered.table[columns.user].take(ordered.offsets[:-1][users]),
            "item_ids": lists(columns.item),
            "timestamps": lists(columns.timestamp),
            "weights": pa.ListArray.from_arrays(list_offsets, weights),
        }
    )


def write_shard(
    judged: JudgedShard, columns: InteractionColumns, added: AddedColumns, paths: RunPaths
) -> list[WrittenFile]:
    """Writes the two files of a shard, except those that an earlier start of the run has written.

    A file under its final name is complete, and it belongs to this run.

    Raises:
        InputError: A file cannot be written, or cannot be read.
    """
    shard = judged.scored.shard
    varied = (columns.timestamp, *(added.written[name] for name in ("noise_probability", *SIMILARITY_COLUMNS)))
    return [
        _write_once(paths.interactions(shard), lambda: cleaned_interactions(judged, added), varied),
        _write_once(paths.sequences(shard), lambda: cleaned_sequences(judged, columns), ("user_id", "timestamps")),
    ]


def _write_once(path: str, make_table: Callable[[], pa.Table], varied: tuple[str, ...]) -> WrittenFile:
    return describe_file(path) if exists(path) else write_table(path, make_table(), varied=varied)


@dataclasses.dataclass
class JudgeAndWrite(beam.PTransform):
    """StagedShard -> Summary. The step also writes the shard's files."""

    columns: InteractionColumns
    added: AddedColumns
    policy: Policy
    paths: RunPaths
    first_rows: np.ndarray
    """int64 [files], ascending: number in the whole input of each file's first row."""
    plan: AsSingleton
    """The DropPlan."""
    item_counts: AsSingleton
    """Path of the item counts."""

    def expand(self, input_or_inputs):
        """Applies the policy and the writers to a PCollection of StagedShard."""
        return input_or_inputs | "Judge and write" >> beam.ParDo(_JudgeAndWrite(self), self.plan, self.item_counts)


class _JudgeAndWrite(beam.DoFn):
    def __init__(self, config: JudgeAndWrite):
        self._columns, self._added, self._policy, self._paths = (
            config.columns,
            config.added,
            config.policy,
            config.paths,
        )
        self._first_rows = config.first_rows
        self._item_counts = LoadedOnce[ItemCounts]()

    def process(self, staged: StagedShard, plan: DropPlan, item_counts: str) -> Iterator[Summary]:
        scored = read_staged_shard(self._paths.scored(staged.shard), staged)
        started = perf_counter()
        counts = self._item_counts.get(lambda: read_item_counts(item_counts))
        judged = judge_shard(scored, plan, self._policy)
        written = write_shard(judged, self._columns, self._added, self._paths)
        bucket = counts.bucket(scored.ordered.item_ids)[scored.ordered.items]
        summary = summarise(judged, self._columns, bucket, len(counts.edges), self._first_rows, written)
        seconds = {**summary.seconds, "decide and write": perf_counter() - started}
        yield dataclasses.replace(summary, seconds=seconds)
