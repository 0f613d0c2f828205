"""The Beam graph of the clean command: read, validate, group, join, score, judge, write, finish."""

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from ...transforms.contract.sharding import Sharding
from ...transforms.judge.score_log import ScoreLog
from ...transforms.read.input_plan import InputPlan
from ...transforms.read.read_splits import ReadSplits
from ...transforms.run.check_rows import CheckRows
from ...transforms.run.finish_run import FinishRun
from ...transforms.run.run_facts import RunFacts
from ...transforms.run.run_store import RunStore
from ...transforms.shuffle.slices import Shuffle
from ...transforms.write.shards import JudgeAndWrite
from ...transforms.write.summary import MergeSummaries
from ..report.render import render_report
from .command_options import CleanOptions


def build_graph(
    pipeline: beam.Pipeline,
    options: CleanOptions,
    plan: InputPlan,
    facts: RunFacts,
    sharding: Sharding,
    shuffle: Shuffle,
    store: RunStore,
) -> None:
    """Adds all steps of a run to a pipeline.

    Args:
        pipeline: An empty pipeline.
        options: What is asked for.
        plan: What is read.
        facts: What is known about the run beforehand.
        sharding: How users are dealt into shards.
        shuffle: How slices of the log travel between workers.
        store: The opened output directory.
    """
    columns, policy = options.log.columns, options.policy
    read = (
        pipeline
        | "Splits" >> beam.Create(plan.splits)  # which spreads them over the workers
        | "Read" >> ReadSplits(columns, plan.schema, store, options.log.on_bad_file)
    )
    checked = read.counts | "Check" >> CheckRows(facts, store)
    scored = read.valid | "Score" >> ScoreLog(
        columns,
        policy,
        options.model,
        options.embeddings,
        facts.noise_reference,
        sharding,
        shuffle,
        None if options.join == "auto" else options.join,
        store,
        checked,
    )
    # These are None if no row is usable. Only the last step reads them then, and it refuses such a log first.
    drop_plan, item_counts = AsSingleton(scored.plan, None), AsSingleton(scored.item_counts, None)
    summary = (
        scored.shards
        | "Write" >> JudgeAndWrite(columns, options.added, policy, store, facts.first_rows, drop_plan, item_counts)
        | "Merge summaries" >> beam.CombineGlobally(MergeSummaries()).without_defaults()
    )
    _ = pipeline | "Finish" >> FinishRun(
        facts,
        store,
        render_report,
        counts=AsList(read.counts),
        summary=AsSingleton(summary, None),
        plan=drop_plan,
        item_counts=item_counts,
        joined_items=AsSingleton(scored.joined_items),
    )
