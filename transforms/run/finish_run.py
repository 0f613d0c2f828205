"""Closes a run inside the graph: checks that no row was lost, writes the report, and the manifest last of all files.

A run without a manifest is not finished. All of this is a transform, because a templated job has nobody waiting
after it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from ...models.core.errors import InputError
from ..contract.output_layout import MANIFEST, REPORT
from ..files.storage import delete, join, write_atomically
from ..items.item_counts import read_item_counts
from ..items.joined_items import open_items
from ..read.read_splits import check_unchanged
from .build_manifest import build_manifest
from .conservation import check_conservation
from .manifest import ItemTotals, Manifest
from .pseudonyms import name_users
from .run_facts import RunFacts
from .run_marker import check_still_ours

RenderReport = Callable[[Manifest, list[dict[str, Any]]], str]


@dataclasses.dataclass
class FinishRun(beam.PTransform):
    """Side inputs -> the path of the manifest, once everything else is written."""

    facts: RunFacts
    output: str
    staging_directory: str
    render_report: RenderReport
    counts: AsList
    summary: AsSingleton
    plan: AsSingleton
    item_counts: AsSingleton
    catalogue_directory: AsSingleton

    def expand(self, input_or_inputs):
        """Applies the last step to a pipeline."""
        finish = _Finish(self.facts, self.output, self.render_report)
        side_inputs = (self.counts, self.summary, self.plan, self.item_counts, self.catalogue_directory)
        return (
            input_or_inputs
            | beam.Impulse()
            | "Check, report, close" >> beam.ParDo(finish, *side_inputs)
            # A step of its own: were closing to be retried after the staging is gone, it could never succeed.
            | "Closed" >> beam.GroupByKey()
            | "Remove staging" >> beam.Map(_remove, self.staging_directory)
        )


class _Finish(beam.DoFn):
    def __init__(self, facts: RunFacts, output: str, render_report: RenderReport):
        self._facts, self._output, self._render = facts, output, render_report

    # Of what says nothing about its outputs Beam reads the bytecode, and that of all it calls, to find out.
    def process(self, _, counts, summary, plan, item_counts, catalogue_directory) -> Iterator[tuple[str, None]]:
        for info in self._facts.inputs:
            check_unchanged(info)
        check_conservation(self._facts, counts, summary)
        check_still_ours(self._output, self._facts.token)
        manifest = build_manifest(
            self._facts,
            counts,
            summary,
            plan,
            read_item_counts(item_counts),
            open_items(catalogue_directory),
            self._output,
        )
        _refuse_unknown(manifest.items)
        examples = name_users([example for _, example in summary.examples], self._facts.report_users)
        report = self._render(manifest, examples)
        _write_text(join(self._output, REPORT), report)
        path = join(self._output, MANIFEST)
        _write_text(path, manifest.to_json() + "\n")
        yield path, None


def _refuse_unknown(items: ItemTotals) -> None:
    """Checks that some item of the log is known: a log of which nothing can be judged has not been cleaned.

    Raises:
        InputError: None is.
    """
    if items.unknown == items.total:
        raise InputError(
            "Neither the embeddings nor the model know any item of the log",
            code="IDS-UNKNOWN",
            found=f"{items.total:,} items, all of them unknown",
            expected="item ids such as those of the log that the model was trained on",
            fix="clean with the model and the embeddings that belong to this log; were its ids made in another way?",
        )


def _remove(closed: tuple[str, Iterable[None]], staging_directory: str) -> str:
    manifest, _ = closed
    delete(staging_directory)
    return manifest


def _write_text(path: str, text: str) -> None:
    # A lone surrogate, in the name of a file, has no UTF-8.
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")), durable=True)
