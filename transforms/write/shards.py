"""Judges and writes one shard: its interactions with their decisions, its users' cleaned sequences, and its users."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from ..contract.added_columns import SPLITS
from ..contract.columns import SIMILARITY_COLUMNS, InteractionColumns
from ..contract.output_schemas import added_fields
from ..files.listed_once import ListedOnce
from ..files.loaded_once import LoadedOnce
from ..files.run_paths import RunPaths
from ..files.storage import exists
from ..files.tables import WrittenFile, describe_file, write_table
from ..items.item_counts import ItemCounts, read_item_counts
from ..judge.drop_plan import DropPlan
from ..judge.judge_shard import JudgedShard, judge_by_rules, judge_shard
from ..judge.policy import Policy
from ..judge.scored_shard import StagedShard, read_staged_shard
from ..rules.rule_log import LogRules, read_ruled_shard
from .summary import Summary, summarise
from .users import VARIED_USER_COLUMNS, describe_users

_VARIED_LISTS = ("user_id", "timestamps")


def cleaned_interactions(judged: JudgedShard, added: Mapping[str, str]) -> pa.Table:
    """Returns every interaction of the shard with all its columns and the added ones.

    Args:
        judged: The shard with all that is decided about it.
        added: Names of the added columns, see `AddedColumns.written`.
    """
    scores, decisions = judged.scores, judged.decisions
    values = {
        "keep": pa.array(decisions.keep),
        "reason": decisions.reason_strings(),
        "weight": pa.array(judged.weight),
        "split": _splits(judged.ruled.split),
    }
    if scores is not None:
        similarities = [pa.array(column, from_pandas=True) for column in scores.similarities.T]  # NaN becomes null
        values |= {"noise_probability": pa.array(scores.noise_probability)}
        values |= dict(zip(SIMILARITY_COLUMNS, similarities, strict=True))
    table = judged.ruled.ordered.table
    for column, field in zip(added, added_fields(added), strict=True):
        table = table.append_column(field, values[column])
    return table


def _splits(split: np.ndarray) -> pa.Array:
    return pa.array(SPLITS).take(pa.array(split))


def cleaned_sequences(judged: JudgedShard, columns: InteractionColumns, *, split: bool = False) -> pa.Table:
    """Returns `user_id` and lists of every user with a kept interaction: items, times and weights of what is kept.

    If the log has behaviours, so does a list `behaviours`. With `split`, a list `splits` says what each of them is for:
    train, validation or test.
    """
    ordered, keep = judged.ruled.ordered, judged.decisions.keep
    kept_before = np.append(0, np.cumsum(keep))  # [rows + 1]
    kept_offsets = kept_before[ordered.offsets]
    users = np.flatnonzero(np.diff(kept_offsets))
    list_offsets = pa.array(np.append(kept_offsets[users], kept_offsets[-1]).astype(np.int32))
    names = filter(None, (columns.item, columns.timestamp, columns.behaviour))
    kept = ordered.table.select(list(names)).filter(pa.array(keep))
    weights = pa.array(judged.weight[keep])

    def lists(name: str) -> pa.Array:
        return pa.ListArray.from_arrays(list_offsets, kept[name].combine_chunks())

    sequences = {
        "user_id": ordered.table[columns.user].take(ordered.offsets[:-1][users]),
        "item_ids": lists(columns.item),
        "timestamps": lists(columns.timestamp),
        "weights": pa.ListArray.from_arrays(list_offsets, weights),
    }
    if columns.behaviour is not None:
        sequences["behaviours"] = lists(columns.behaviour)
    if split:
        sequences["splits"] = pa.ListArray.from_arrays(list_offsets, _splits(judged.ruled.split[keep]))
    return pa.table(sequences)


def write_shard(
    judged: JudgedShard,
    users: pa.Table,
    columns: InteractionColumns,
    added: Mapping[str, str],
    paths: RunPaths,
    is_there: Callable[[str], bool] = exists,
) -> list[WrittenFile]:
    """Writes the three files of a shard, except those that an earlier start of the run has written.

    A file under its final name is complete, and it belongs to this run.

    Args:
        judged: The shard.
        users: What its users are like.
        columns: Names of the log's columns.
        added: Names of the added columns, see `AddedColumns.written`.
        paths: Where the files lie.
        is_there: Says whether a file was written already.

    Raises:
        InputError: A file cannot be written, or cannot be read.
    """
    shard = judged.shard
    varied = (columns.timestamp, *(added[name] for name in ("noise_probability", *SIMILARITY_COLUMNS) if name in added))
    split = "split" in added

    def write_once(path: str, make_table: Callable[[], pa.Table], varied: tuple[str, ...]) -> WrittenFile:
        return describe_file(path) if is_there(path) else write_table(path, make_table(), varied=varied)

    return [
        write_once(paths.interactions(shard), lambda: cleaned_interactions(judged, added), varied),
        write_once(paths.sequences(shard), lambda: cleaned_sequences(judged, columns, split=split), _VARIED_LISTS),
        write_once(paths.users(shard), lambda: users, VARIED_USER_COLUMNS),
    ]


@dataclasses.dataclass
class JudgeAndWrite(beam.PTransform):
    """StagedShard -> Summary. The step also writes the shard's files.

    Without a plan, the elements are the numbers of ruled shards, and the rules alone decide.
    """

    columns: InteractionColumns
    added: Mapping[str, str]
    """Names of the added columns, see `AddedColumns.written`."""
    policy: Policy
    paths: RunPaths
    first_rows: np.ndarray
    """int64 [files], ascending: number in the whole input of each file's first row."""
    log_rules: AsSingleton
    """The LogRules."""
    item_counts: AsSingleton
    """Path of the item counts."""
    plan: AsSingleton | None
    """The DropPlan. None if no model was asked."""

    def expand(self, input_or_inputs):
        """Applies the policy and the writers to a PCollection of StagedShard."""
        side_inputs = (self.log_rules, self.item_counts, *(() if self.plan is None else (self.plan,)))
        return input_or_inputs | "Judge and write" >> beam.ParDo(_JudgeAndWrite(self), *side_inputs)


class _JudgeAndWrite(beam.DoFn):
    def __init__(self, config: JudgeAndWrite):
        self._columns, self._added = config.columns, config.added
        self._policy, self._paths = config.policy, config.paths
        self._first_rows = config.first_rows
        self._item_counts, self._left = LoadedOnce[ItemCounts](), ListedOnce(config.paths.output)

    def process(
        self, element: StagedShard | int, log_rules: LogRules, item_counts: str, plan: DropPlan | None = None
    ) -> Iterator[Summary]:
        started = perf_counter()
        judged = self._judge(element, log_rules, plan)
        counts = self._item_counts.get(lambda: read_item_counts(item_counts))
        users = describe_users(judged, self._columns, log_rules)
        # A machine that was suspended may wake up when another run has begun in the same directory.
        self._paths.check_still_ours()
        written = write_shard(judged, users, self._columns, self._added, self._paths, self._left.has)
        summary = summarise(judged, users, self._columns, counts, self._first_rows, log_rules.rules, written)
        seconds = {**summary.seconds, "decide and write": perf_counter() - started}
        yield dataclasses.replace(summary, seconds=seconds)

    def _judge(self, element: StagedShard | int, log_rules: LogRules, plan: DropPlan | None) -> JudgedShard:
        codes = log_rules.rules.codes
        if plan is None or isinstance(element, int):
            assert isinstance(element, int)
            ruled = log_rules.applied(read_ruled_shard(self._paths, element), self._columns)
            return judge_by_rules(element, ruled, codes)
        scored = read_staged_shard(self._paths.scored(element.shard), element)
        return judge_shard(scored, plan, self._policy, codes)
