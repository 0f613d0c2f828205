"""Applies the rules to a whole log: shard by shard first, then with what only all shards together show."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsList, AsSingleton, PCollection, TaggedOutput

from ..contract import table_coder  # noqa: F401 (registers the coder of tables)
from ..contract.columns import InteractionColumns
from ..contract.hashing import hash_values
from ..files.listed_once import ListedOnce
from ..files.run_paths import StagingPaths
from ..files.tables import read_arrow, write_arrow
from ..read.clock import Clock
from ..read.ordering import OrderedShard, order_interactions
from ..shuffle.slices import Slice, collect
from .core import Core, Edges, core_items
from .rule_set import RuleSet
from .ruled_shard import RuledShard, apply_rules, long_lists, ruled_shard_from_table, ruled_shard_to_table
from .shared_lists import shared_fingerprints


class LogRules(NamedTuple):
    """The rules of a run with all that is known about its log. Travels to the workers."""

    rules: RuleSet
    """All rules. Those of the log know what all shards together have shown."""
    clock: Clock
    """What the log's times mean."""

    def applied(self, shard: RuledShard, columns: InteractionColumns) -> RuledShard:
        """Returns a shard after the rules of the log. Those of a shard must have been applied."""
        return apply_rules(shard, self.rules, self.rules.of_log, columns, self.clock)

    @property
    def take_more(self) -> bool:
        """Whether the rules of the log may take something from a shard."""
        return self.rules.core is not None or self.rules.any_shared_list


class RuledLog(NamedTuple):
    """What `RuleLog` gives."""

    shards: PCollection
    """Number of each shard. The shard waits in its file (`StagingPaths.ruled`)."""
    item_counts: PCollection
    """For each shard, a table of `item_id` and `count`: how often the item occurs in what no rule has taken."""
    log_rules: PCollection
    """One LogRules."""


def rule_shard(
    ordered: OrderedShard, rules: RuleSet, columns: InteractionColumns, clock: Clock, hold_out: int = 0
) -> RuledShard:
    """Returns a shard after the rules that look at one shard alone.

    No rule sees the last `hold_out` interactions of a user.
    """
    return apply_rules(RuledShard.untouched(ordered, hold_out), rules, rules.of_shard, columns, clock)


def rule_whole_log(
    ordered: OrderedShard, rules: RuleSet, columns: InteractionColumns, clock: Clock, hold_out: int = 0
) -> RuledShard:
    """Returns a log that is in memory as one shard, after all rules.

    No rule sees the last `hold_out` interactions of a user.

    Raises:
        InputError: A rule names times, and the log's are only an order.
    """
    rules.check_clock(clock)
    shard = rule_shard(ordered, rules, columns, clock, hold_out)
    return learn([lambda: shard], [long_lists(shard, columns, clock)], rules, columns, clock).applied(shard, columns)


def count_open_items(shard: RuledShard) -> pa.Table:
    """Returns the items of a shard and how often each occurs among the open interactions, `item_id` and `count`.

    If the log has behaviours, each journey counts once.
    """
    ordered = shard.ordered
    counted = shard.open if ordered.behaviours is None else shard.evidence
    counts = np.bincount(ordered.items[counted], minlength=len(ordered.item_ids))
    return pa.table({"item_id": ordered.item_ids, "count": pa.array(counts)})


def learn(
    shards: Sequence[Callable[[], RuledShard]],
    fingerprints: list[np.ndarray],
    rules: RuleSet,
    columns: InteractionColumns,
    clock: Clock,
) -> LogRules:
    """Finds out what only all shards together show.

    Args:
        shards: Give each shard after `rule_shard`. They are called again and again, so one at a time is in memory.
        fingerprints: `long_lists` of each shard.
        rules: The rules, which know nothing of the log.
        columns: Names of the log's columns.
        clock: Of the whole log.
    """
    rules = rules.knowing(shared_fingerprints(fingerprints), None)
    core = rules.core
    if core is None:
        return LogRules(rules, clock)
    before = [number for number in rules.of_log if not isinstance(rules.rules[number], Core)]

    def edges(shard: Callable[[], RuledShard]) -> Edges:
        ruled = apply_rules(shard(), rules, before, columns, clock)
        ordered = ruled.ordered
        return Edges(ordered.users[ruled.open], ordered.items[ruled.open], hash_values(ordered.item_ids))

    items = core_items([partial(edges, shard) for shard in shards], core)
    return LogRules(rules.knowing(shared_fingerprints(fingerprints), items), clock)


@dataclasses.dataclass
class RuleLog(beam.PTransform):
    """(shard, slices of it), grouped -> RuledLog.

    Each shard is put in order, and waits in a file. If an earlier start of the run has written the file, it is used.
    """

    columns: InteractionColumns
    rules: RuleSet
    paths: StagingPaths
    clock: PCollection
    """The Clock of the log. It also says that all rows are read, and that no stale shard is left."""
    hold_out: int = 0
    """The last interactions of each user that no rule sees."""

    def expand(self, input_or_inputs):
        """Applies the rules to a PCollection of grouped slices."""
        clock = AsSingleton(self.clock)
        ruled = input_or_inputs | "Order and rule" >> beam.ParDo(_RuleShard(self), clock).with_outputs(
            "item_counts", main="shards"
        )
        log_rules = (
            input_or_inputs.pipeline
            | beam.Impulse()
            | "Look at all shards" >> beam.ParDo(_Learn(self), AsList(ruled.shards), clock)
        )
        # Without the shuffle, shards would stay with their worker.
        numbers = ruled.shards | "Ruled shards" >> beam.Keys() | "Spread ruled shards" >> beam.Reshuffle()
        item_counts = ruled.item_counts | "Count items" >> beam.ParDo(_CountItems(self), AsSingleton(log_rules))
        return RuledLog(numbers, item_counts, log_rules)


def read_ruled_shard(paths: StagingPaths, shard: int) -> RuledShard:
    """Reads a shard that waits in its file.

    Raises:
        InputError: The file cannot be read.
    """
    return ruled_shard_from_table(read_arrow(paths.ruled(shard)))


class _RuleShard(beam.DoFn):
    def __init__(self, config: RuleLog):
        self._columns, self._rules, self._paths = config.columns, config.rules, config.paths
        self._hold_out, self._left = config.hold_out, ListedOnce(config.paths.staging)

    def process(self, element: tuple[int, Iterable[Slice]], clock: Clock) -> Iterator:
        shard, slices = element
        if self._left.has(self._paths.ruled(shard)):
            ruled = read_ruled_shard(self._paths, shard)
        else:
            ordered = order_interactions(collect(slices), self._columns)
            ruled = rule_shard(ordered, self._rules, self._columns, clock, self._hold_out)
            write_arrow(self._paths.ruled(shard), ruled_shard_to_table(ruled).combine_chunks())
        yield TaggedOutput("item_counts", (shard, count_open_items(ruled)))
        yield shard, long_lists(ruled, self._columns, clock)


class _CountItems(beam.DoFn):
    """Counts again where the rules of the log take more than those of the shard had."""

    def __init__(self, config: RuleLog):
        self._columns, self._paths = config.columns, config.paths

    def process(self, element: tuple[int, pa.Table], log_rules: LogRules) -> Iterator[pa.Table]:
        shard, counts = element
        if log_rules.take_more:
            counts = count_open_items(log_rules.applied(read_ruled_shard(self._paths, shard), self._columns))
        yield counts


class _Learn(beam.DoFn):
    def __init__(self, config: RuleLog):
        self._columns, self._rules, self._paths = config.columns, config.rules, config.paths

    def process(self, _: bytes, shards: list[tuple[int, np.ndarray]], clock: Clock) -> Iterator[LogRules]:
        # The order of the shards decides nothing, but the same run should do the same work.
        readers = [
            partial(read_ruled_shard, self._paths, shard) for shard, _ in sorted(shards, key=lambda each: each[0])
        ]
        yield learn(readers, [lists for _, lists in shards], self._rules, self._columns, clock)
