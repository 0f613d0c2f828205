"""Builds the manifest of a run from its counts."""

import dataclasses
from collections import Counter
from datetime import UTC, datetime
from typing import Literal

from ...models.core.reasons import reason_codes
from ...models.noise.share import NoiseShare
from ..contract.columns import InteractionColumns
from ..files.tables import WrittenFile
from ..items.item_counts import ItemCounts
from ..items.joined_items import JoinedItems
from ..judge.drop_plan import DropPlan
from ..judge.policy import Policy
from ..read.behaviours import describe_behaviours, in_order
from ..read.clock import Clock
from ..read.read_splits import SplitCounts
from ..read.time_checks import describe_times
from ..read.validation import UNREADABLE
from ..rules.rule_log import LogRules
from ..write.summary import HISTOGRAM_BINS, Summary, length_labels
from .manifest import (
    FORMAT_VERSION,
    AppliedPolicy,
    BehaviourCounts,
    EmbeddingsOrigin,
    InputFile,
    ItemTotals,
    Manifest,
    NoiseShareEstimate,
    PopularityBucket,
    ProbabilityHistogram,
    ReasonCounts,
    RowCounts,
    RuleFindings,
    SequenceLengths,
    TakenOver,
    Times,
    UserCounts,
)
from .run_facts import RunFacts
from .run_store import RunStore, lasting


def build_manifest(
    facts: RunFacts,
    counts: list[SplitCounts],
    summary: Summary,
    plan: DropPlan | None,
    item_counts: ItemCounts,
    joined_items: JoinedItems | None,
    log_rules: LogRules,
    store: RunStore,
) -> Manifest:
    """Returns the manifest of a run that has written all its files.

    Args:
        facts: What was known before the run started.
        counts: Of all splits of the input.
        summary: Of all shards.
        plan: What was decided for the whole log. None if rules alone decide.
        item_counts: Of the log.
        joined_items: The items of embeddings and model. None if rules alone decide.
        log_rules: The rules, and what the log's times mean.
        store: The output directory.
    """
    described = facts.description
    finished = datetime.now(UTC)
    seconds = {
        "total": (finished - datetime.fromisoformat(described.started_at)).total_seconds(),
        "read": sum(count.seconds for count in counts),
        **summary.seconds,
    }
    rejected = Counter[str]()
    for count in counts:
        rejected.update(count.rejected)
    written = [*summary.written, *(count.written for count in counts if count.written is not None)]
    return Manifest(
        format_version=FORMAT_VERSION,
        run=store.token,
        iadsr_version=described.iadsr_version,
        started_at=described.started_at,
        model=described.model,
        embeddings=(
            EmbeddingsOrigin(**{**described.embeddings, **joined_items.description})
            if described.embeddings is not None and joined_items is not None
            else None
        ),
        options=described.options,
        versions=described.versions,
        finished_at=finished.isoformat(timespec="milliseconds"),
        durations_seconds={step: round(value, 3) for step, value in seconds.items()},
        rows=RowCounts(sum(facts.rows_by_file.values()), summary.kept, summary.dropped, rejected.total()),
        files=_count_by_file(facts, counts, summary),
        skipped_files=facts.skipped,
        outputs=tuple(_relative(file, store.output) for file in sorted(written, key=lambda file: file.path)),
        users=_count_users(summary),
        items=_count_items(item_counts, joined_items),
        reasons=ReasonCounts(
            dropped={code: summary.reasons[code] for code in reason_codes("dropped")},
            kept={code: summary.reasons[code] for code in reason_codes("kept")},
            rejected=dict(sorted(rejected.items())),
        ),
        times=_describe_times(log_rules.clock, facts.columns),
        rules=_describe_rules(log_rules, summary),
        policy=None if plan is None else _describe_policy(facts.policy, plan),
        noise_share=None if plan is None else _describe_share(plan, summary),
        noise_probability_histogram=None if plan is None else _describe_probabilities(summary),
        popularity_buckets=_describe_buckets(item_counts, summary, plan),
        sequence_lengths=_describe_lengths(summary),
        tables=facts.tables,
        notes=(*facts.notes, *_behaviour_notes(facts.columns, summary, log_rules)),
        directory=facts.directory,
        identity=lasting(store.identity),
        behaviours=_describe_behaviours(facts.columns, summary, plan),
        taken_over=None if facts.earlier_run is None else TakenOver(facts.earlier_run, summary.taken_over),
        weightless=summary.weightless,
        model_probabilities=None if plan is None else plan.model_probabilities,
    )


def _count_by_file(facts: RunFacts, counts: list[SplitCounts], summary: Summary) -> tuple[InputFile, ...]:
    rejected, unreadable = Counter[str](), Counter[str]()
    for count in counts:
        rejected[count.path] += sum(count.rejected.values())
        unreadable[count.path] += count.rejected.get(UNREADABLE, 0)
    infos = {info.path: info for info in facts.inputs}
    return tuple(
        InputFile(
            path=path,
            read=rows,
            kept=kept,
            dropped=dropped,
            rejected=rejected[path],
            unreadable=unreadable[path],
            bytes=infos[path].size,
            changed_at=infos[path].updated,
            partitions=dict(infos[path].partitions),
        )
        for (path, rows), kept, dropped in zip(facts.rows_by_file.items(), *summary.files.tolist(), strict=True)
    )


def _relative(file: WrittenFile, output: str) -> WrittenFile:
    return dataclasses.replace(file, path=file.path[len(output.rstrip("/")) + 1 :])


def _count_items(item_counts: ItemCounts, joined_items: JoinedItems | None) -> ItemTotals:
    if joined_items is None:
        return ItemTotals(total=len(item_counts.item_ids), without_text=None, unknown=None, borrowed=None)
    found = joined_items.lookup(item_counts.item_ids)
    has_collaborative, has_semantic = joined_items.flags(found)
    return ItemTotals(
        total=len(found),
        without_text=int((~has_semantic & has_collaborative).sum()),
        unknown=int((~has_semantic & ~has_collaborative).sum()),
        borrowed=int(joined_items.borrowed[found[found >= 0]].sum()),
    )


def _count_users(summary: Summary) -> UserCounts:
    total, shortened, emptied = summary.users.tolist()
    return UserCounts(total, shortened, emptied, summary.id_forms.lookalikes(total), summary.shared_accounts)


def _behaviour_notes(columns: InteractionColumns, summary: Summary, log_rules: LogRules) -> list[str]:
    counts = {behaviour: int(rows[0]) for behaviour, rows in summary.behaviours.items()}
    return describe_behaviours(counts, columns, log_rules.rules.takes_back(columns))


def _describe_behaviours(
    columns: InteractionColumns, summary: Summary, plan: DropPlan | None
) -> tuple[BehaviourCounts, ...]:
    counts = {behaviour: summary.behaviours[behaviour].tolist() for behaviour in in_order(summary.behaviours, columns)}
    return tuple(
        BehaviourCounts(
            behaviour,
            interactions,
            dropped,
            journeys=journeys if columns.behaviours else None,
            noise_share=_share_of(behaviour, columns, plan),
        )
        for behaviour, (interactions, dropped, journeys) in counts.items()
    )


def _share_of(behaviour: str, columns: InteractionColumns, plan: DropPlan | None) -> float | None:
    """Returns the share of noise in journeys that reach this behaviour and no stronger one; None if not known."""
    named = columns.behaviours or ()
    if plan is None or not plan.by_behaviour or behaviour not in named:
        return None
    share = plan.by_behaviour[len(named) - 1 - named.index(behaviour)].share
    return round(share.estimate, 6) if isinstance(share, NoiseShare) else None


def _describe_times(clock: Clock, columns: InteractionColumns) -> Times:
    notes = tuple(describe_times(clock, columns))
    resolution = None if clock.resolution is None else float(clock.resolution)
    return Times(clock.unit, resolution, clock.moment(clock.first), clock.moment(clock.last), notes)


def _describe_rules(log_rules: LogRules, summary: Summary) -> tuple[RuleFindings, ...]:
    return tuple(
        RuleFindings(rule.code, rule.parameters, rule.takes(log_rules.clock), interactions, users)
        for rule, interactions, users in zip(log_rules.rules.rules, *summary.found.tolist(), strict=True)
    )


def _describe_policy(policy: Policy, plan: DropPlan) -> AppliedPolicy:
    return AppliedPolicy(
        rule=_rule(policy),
        drop_rate=None if plan.drop_rate is None else round(plan.drop_rate, 6),
        threshold=None if plan.threshold > 1 or _rule(policy) == "weightless" else round(plan.threshold, 6),
        weight_strength=policy.weight_strength,
        min_weight=policy.min_weight,
        min_length=policy.min_length,
        keep_last=policy.keep_last,
    )


def _rule(policy: Policy) -> Literal["auto", "drop_rate", "threshold", "weightless"]:
    if policy.threshold is not None:
        return "threshold"
    return policy.drop_rate if isinstance(policy.drop_rate, str) else "drop_rate"


def _describe_share(plan: DropPlan, summary: Summary) -> NoiseShareEstimate:
    """Describes the share of noise among judged interactions.

    The share among the dropped ones is known only if probabilities were recalibrated to this log.
    """
    share = plan.share
    dropped = int(summary.popularity[1].sum()) if plan.recalibration is not None else 0
    if not isinstance(share, NoiseShare):
        return NoiseShareEstimate(None, None, None, unknown_because=share.reason, among_dropped=None)
    return NoiseShareEstimate(
        estimate=round(share.estimate, 6),
        lower=round(share.lower, 6),
        upper=round(share.upper, 6),
        unknown_because=None,
        among_dropped=round(1 - float(summary.genuine[1].sum()) / dropped, 6) if dropped else None,
    )


def _describe_probabilities(summary: Summary) -> ProbabilityHistogram:
    edges = tuple(round(edge / HISTOGRAM_BINS, 4) for edge in range(HISTOGRAM_BINS + 1))
    kept, dropped = summary.histogram.tolist()
    return ProbabilityHistogram(edges, tuple(kept), tuple(dropped))


def _describe_buckets(item_counts: ItemCounts, summary: Summary, plan: DropPlan | None) -> tuple[PopularityBucket, ...]:
    known = plan is not None and plan.recalibration is not None
    return tuple(
        PopularityBucket(
            label=f"{low}-{high}" if low < high else str(low),
            min_count=low,
            max_count=high,
            items=items,
            interactions=interactions,
            dropped=dropped,
            drop_rate=round(dropped / interactions, 6) if plan is not None and interactions else None,
            expected_genuine_drop_rate=round(lost / genuine, 6) if known and genuine else None,
        )
        for (low, high, items), interactions, dropped, genuine, lost in zip(
            item_counts.bucket_ranges(), *summary.popularity.tolist(), *summary.genuine.tolist(), strict=True
        )
    )


def _describe_lengths(summary: Summary) -> SequenceLengths:
    labels = length_labels()
    classes = 1 + max(index for index in range(len(labels)) if summary.lengths[:, index].any())
    return SequenceLengths(
        labels=tuple(labels[:classes]),
        before=tuple(summary.lengths[0, :classes].tolist()),
        after=tuple(summary.lengths[1, :classes].tolist()),
    )
