"""The barrier between reading and scoring: rows are valid, times give an order, and no work on other rows is left."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.pvalue import AsList

from ..read.behaviours import check_behaviours
from ..read.clock import Clock, merge_facts
from ..read.read_splits import SplitCounts
from ..read.time_checks import refuse_wrong_order
from ..rules.rule_set import RuleSet
from .conservation import check_rejected
from .run_facts import RunFacts
from .run_store import RunStore


@dataclasses.dataclass
class CheckRows(beam.PTransform):
    """SplitCounts -> the Clock of the log, once all rows are read and checked.

    Everything that stages or writes must wait for it, and does if it reads the clock. Before this step, the directory
    may hold shards that an earlier start of the run made of other rows.
    """

    facts: RunFacts
    rules: RuleSet
    store: RunStore

    def expand(self, input_or_inputs):
        """Applies the check to a PCollection of SplitCounts."""
        start = input_or_inputs.pipeline | beam.Impulse()
        return start | "Check rows" >> beam.ParDo(
            _CheckRows(self.facts, self.rules, self.store), AsList(input_or_inputs)
        )


class _CheckRows(beam.DoFn):
    def __init__(self, facts: RunFacts, rules: RuleSet, store: RunStore):
        self._facts, self._rules, self._store = facts, rules, store

    def process(self, element: bytes, counts: list[SplitCounts]) -> Iterator[Clock]:
        check_rejected(self._facts, counts)
        clock = Clock.of(merge_facts(count.times for count in counts))
        refuse_wrong_order(clock, self._facts.columns)
        check_behaviours([count.behaviours for count in counts], self._facts.columns)
        self._rules.check_clock(clock)
        self._store.discard_work_on_other_rows(counts)
        yield clock
