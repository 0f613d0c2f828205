"""The Beam graph of the clean command: read, validate, group, rule, join, score, judge, write, finish."""

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from ...transforms.contract.sharding import Sharding
from ...transforms.items.item_counts import CountItems
from ...transforms.judge.artifacts import ModelFacts
from ...transforms.judge.kept_scores import ScoreKeeping
from ...transforms.judge.score_log import ScoreLog
from ...transforms.read.input_plan import InputPlan
from ...transforms.read.read_splits import ReadSplits
from ...transforms.rules.rule_log import RuleLog
from ...transforms.rules.rule_set import RuleSet
from ...transforms.run.check_rows import CheckRows
from ...transforms.run.finish_run import FinishRun
from ...transforms.run.run_facts import RunFacts
from ...transforms.run.run_store import RunStore
from ...transforms.shuffle.slices import Shuffle, SliceByUserShard
from ...transforms.write.shards import JudgeAndWrite
from ...transforms.write.summary import MergeSummaries
from ..report.render import render_report
from .command_options import CleanOptions


def build_graph(
    pipeline: beam.Pipeline,
    options: CleanOptions,
    plan: InputPlan,
    facts: RunFacts,
    rules: RuleSet,
    model: ModelFacts | None,
    sharding: Sharding,
    shuffle: Shuffle,
    store: RunStore,
    keeping: ScoreKeeping | None = None,
) -> None:
    """Adds all steps of a run to a pipeline.

    Args:
        pipeline: An empty pipeline.
        options: What is asked for.
        plan: What is read.
        facts: What is known about the run beforehand.
        rules: The rules.
        model: What is known of the model; None if rules alone decide.
        sharding: How users are dealt into shards.
        shuffle: How slices of the log travel between workers.
        store: The opened output directory.
        keeping: Where scores are kept for the next run, and taken over from an earlier one. None: nowhere.
    """
    columns, policy = options.log.columns, options.policy
    read = (
        pipeline
        | "Splits" >> beam.Create(plan.splits)  # which spreads them over the workers
        | "Read" >> ReadSplits(columns, plan.schema, store, options.log.on_bad_file)
    )
    clock = read.counts | "Check" >> CheckRows(facts, rules, store)
    ruled = (
        read.valid
        | "Slice" >> SliceByUserShard(columns.user, sharding, shuffle, store)
        | "Group by user shard" >> beam.GroupByKey()
        | "Rules" >> RuleLog(columns, rules, store, clock, options.hold_out)
    )
    log_rules = AsSingleton(ruled.log_rules)
    counted = ruled.item_counts | "Popularity" >> CountItems(store)
    # These are None if no row is usable. Only the last step reads them then, and it refuses such a log first.
    item_counts, drop_plan, joined_items = AsSingleton(counted, None), None, None
    shards, added = ruled.shards, options.added.written(**options.adds)
    if model is not None:
        assert options.model is not None
        assert options.embeddings is not None
        scored = read.valid | "Score" >> ScoreLog(
            columns,
            policy,
            options.model,
            options.embeddings,
            model.noise_reference,
            sharding,
            shuffle,
            None if options.join == "auto" else options.join,
            store,
            ruled,
            counted,
            keeping,
        )
        shards, drop_plan, joined_items = (
            scored.shards,
            AsSingleton(scored.plan, None),
            AsSingleton(scored.joined_items),
        )
    summary = (
        shards
        | "Write" >> JudgeAndWrite(columns, added, policy, store, facts.first_rows, log_rules, item_counts, drop_plan)
        | "Merge summaries" >> beam.CombineGlobally(MergeSummaries()).without_defaults()
    )
    _ = pipeline | "Finish" >> FinishRun(
        facts,
        store,
        render_report,
        counts=AsList(read.counts),
        summary=AsSingleton(summary, None),
        log_rules=log_rules,
        item_counts=item_counts,
        plan=drop_plan,
        joined_items=joined_items,
    )
