"""Finishes a run inside the graph: checks that no row was lost, writes the report, and then the manifest.

A run without a manifest is not finished. All of this is a transform because nobody waits for a templated job.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from ...models.core.errors import InputError
from ..items.item_counts import read_item_counts
from ..items.joined_items import open_items
from ..read.read_splits import check_unchanged
from ..write.dataset_card import run_card
from ..write.example_users import describe_examples
from .build_manifest import build_manifest
from .conservation import check_conservation
from .manifest import ItemTotals, Manifest
from .pseudonyms import name_users
from .run_facts import RunFacts
from .run_store import RunStore

RenderReport = Callable[[Manifest, list[dict[str, Any]], list[dict[str, Any]]], str]


@dataclasses.dataclass
class FinishRun(beam.PTransform):
    """Side inputs -> the path of the manifest, once everything else is written."""

    facts: RunFacts
    store: RunStore
    render_report: RenderReport
    """Makes the report from the manifest, the example users, and the users who stand out."""
    counts: AsList
    """Every split's SplitCounts."""
    summary: AsSingleton
    """The Summary of all shards; None if no row is usable."""
    log_rules: AsSingleton
    """The LogRules."""
    item_counts: AsSingleton
    """Path of the item counts; None if no row is usable."""
    plan: AsSingleton | None = None
    """The DropPlan; None if no row is usable. Not given if rules alone decide."""
    joined_items: AsSingleton | None = None
    """Directory of the joined items. Not given if rules alone decide."""

    def expand(self, input_or_inputs):
        """Applies the last step to a pipeline."""
        finish = _Finish(self.facts, self.store, self.render_report)
        scored = () if self.plan is None else (self.plan, self.joined_items)
        side_inputs = (self.counts, self.summary, self.log_rules, self.item_counts, *scored)
        return (
            input_or_inputs
            | beam.Impulse()
            | "Check, report, close" >> beam.ParDo(finish, *side_inputs)
            # Removing is a step of its own: if closing were retried after the staging is gone, it could never succeed.
            | "Closed" >> beam.GroupByKey()
            | "Remove staging" >> beam.Map(_remove_staging, self.store)
        )


class _Finish(beam.DoFn):
    def __init__(self, facts: RunFacts, store: RunStore, render_report: RenderReport):
        self._facts, self._store, self._render = facts, store, render_report

    # Without an annotation, Beam reads the bytecode of this and of everything it calls to find the type of the output.
    def process(
        self, _, counts, summary, log_rules, item_counts, plan=None, joined_items=None
    ) -> Iterator[tuple[str, None]]:
        check_unchanged(self._facts.inputs)
        check_conservation(self._facts, counts, summary)
        self._store.check_still_ours()
        items = None if joined_items is None else open_items(joined_items)
        manifest = build_manifest(
            self._facts, counts, summary, plan, read_item_counts(item_counts), items, log_rules, self._store
        )
        if items is not None:
            _refuse_unknown(manifest.items)
        name = name_users(self._facts.report_users)
        examples = [name(example) for example in describe_examples(summary.examples, items)] if name else []
        standing_out = [name(user) for user in summary.standing_out] if name else []
        report = self._render(manifest, examples, standing_out)
        self._store.check_still_ours()  # the moment between the look and the files should be short
        self._store.write_report(report)
        self._store.write_card(run_card())
        self._store.write_manifest(manifest.to_json() + "\n")
        yield self._store.manifest, None


def _refuse_unknown(items: ItemTotals) -> None:
    """Checks that some item of the log is known. A log in which nothing can be judged has not been cleaned.

    Raises:
        InputError: None is.
    """
    if items.unknown == items.total:
        raise InputError(
            "Neither the embeddings nor the model know any item of the log",
            code="IDS-UNKNOWN",
            found=f"{items.total:,} items, all of them unknown",
            expected="item ids such as those of the log that the model was trained on",
            fix="use the model and the embeddings that belong to this log, and check that all ids were made in one way",
        )


def _remove_staging(closed: tuple[str, Iterable[None]], store: RunStore) -> str:
    manifest, _ = closed
    store.remove_staging()
    return manifest
