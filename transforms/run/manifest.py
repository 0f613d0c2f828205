"""Closes a run inside the graph: checks that no row was lost, writes the report, and the manifest last of all files.

A run without a manifest is not finished. All of this is a transform, because a templated job has nobody waiting
after it.
"""

import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from ...models.core.errors import InputError
from ...models.noise.share import NoiseShare
from ..contract.output_layout import MANIFEST
from ..files.storage import exists, join, read_bytes
from ..files.tables import WrittenFile
from ..items.item_counts import ItemCounts
from ..items.joined_items import JoinedItems
from ..judge.decide import DROP_REASONS, KEEP_REASONS
from ..judge.drop_plan import DropPlan
from ..judge.policy import Policy
from ..read.read_splits import SplitCounts
from ..read.validation import UNREADABLE
from ..write.summary import HISTOGRAM_BINS, Summary, length_labels
from .run_facts import RunFacts

FORMAT_VERSION = 1


def build_manifest(
    facts: RunFacts,
    counts: list[SplitCounts],
    summary: Summary,
    plan: DropPlan,
    item_counts: ItemCounts,
    catalogue: JoinedItems,
    output: str,
) -> dict[str, Any]:
    """Returns the manifest as JSON-able values."""
    started = datetime.fromisoformat(facts.description["started_at"])
    finished = datetime.now(UTC)
    seconds = {"total": (finished - started).total_seconds(), "read": sum(c.seconds for c in counts), **summary.seconds}
    rejected: Counter[str] = Counter()
    infos = {info.path: info for info in facts.inputs}
    files = {
        path: {
            "path": path,
            "read": rows,
            "kept": kept,
            "dropped": dropped,
            "rejected": 0,
            "unreadable": 0,
            "bytes": infos[path].size,
            "changed_at": infos[path].updated,
        }
        for (path, rows), kept, dropped in zip(facts.rows_by_file.items(), *summary.files.tolist(), strict=True)
    }
    for count in counts:
        rejected.update(count.rejected)
        files[count.path]["rejected"] += sum(count.rejected.values())
        files[count.path]["unreadable"] += count.rejected.get(UNREADABLE, 0)
    written = [*summary.written, *(count.written for count in counts if count.written is not None)]
    found = catalogue.lookup(item_counts.item_ids)
    vectors = catalogue.take(found)
    labels = length_labels()
    longest = max(index for index in range(len(labels)) if summary.lengths[:, index].any())
    policy = facts.policy
    return {
        "format_version": FORMAT_VERSION,
        "run": facts.token,
        **facts.description,
        "embeddings": {**facts.description["embeddings"], **catalogue.description},
        "finished_at": finished.isoformat(timespec="seconds"),
        "durations_seconds": {step: round(value, 3) for step, value in seconds.items()},
        "rows": {
            "read": sum(facts.rows_by_file.values()),
            "kept": summary.kept,
            "dropped": summary.dropped,
            "rejected": rejected.total(),
        },
        "files": list(files.values()),
        "skipped_files": [dataclasses.asdict(file) for file in facts.skipped],
        "outputs": [_relative(file, output) for file in sorted(written, key=lambda file: file.path)],
        "users": dict(zip(("total", "shortened", "emptied"), summary.users.tolist(), strict=True)),
        "items": {
            "total": len(found),
            "without_text": int((~vectors.has_semantic & vectors.has_collaborative).sum()),
            "unknown": int((~vectors.has_semantic & ~vectors.has_collaborative).sum()),
            "borrowed": int(catalogue.borrowed[found[found >= 0]].sum()),
        },
        "reasons": {
            "dropped": _named(DROP_REASONS, summary.dropped_reasons),
            "kept": _named(KEEP_REASONS, summary.kept_reasons),
            "rejected": dict(sorted(rejected.items())),
        },
        "policy": {
            "rule": _rule(policy),
            "drop_rate": None if plan.drop_rate is None else round(plan.drop_rate, 6),
            "threshold": None if plan.threshold > 1 else round(plan.threshold, 6),
            "min_length": policy.min_length,
            "keep_last": policy.keep_last,
        },
        "noise_share": _describe_share(plan, summary),
        "noise_probability_histogram": {
            "edges": [round(edge / HISTOGRAM_BINS, 4) for edge in range(HISTOGRAM_BINS + 1)],
            "kept": summary.histogram[0].tolist(),
            "dropped": summary.histogram[1].tolist(),
        },
        "popularity_buckets": _buckets(item_counts, summary, plan),
        "sequence_lengths": {
            "labels": labels[: longest + 1],
            "before": summary.lengths[0, : longest + 1].tolist(),
            "after": summary.lengths[1, : longest + 1].tolist(),
        },
    }


def _relative(file: WrittenFile, output: str) -> dict[str, Any]:
    return dataclasses.asdict(file) | {"path": file.path[len(output.rstrip("/")) + 1 :]}


def _named(names: tuple[str, ...], counts) -> dict[str, int]:
    return dict(zip(names, counts.tolist(), strict=True))


def _rule(policy: Policy) -> str:
    if policy.threshold is not None:
        return "threshold"
    return "auto" if policy.drop_rate == "auto" else "drop_rate"


def _describe_share(plan: DropPlan, summary: Summary) -> dict[str, Any]:
    """The share of noise among judged interactions; where it is unknown, probabilities are for the model's own."""
    share, dropped = plan.share, summary.dropped if plan.recalibration is not None else 0
    if not isinstance(share, NoiseShare):
        return {"estimate": None, "lower": None, "upper": None, "unknown_because": share.reason, "among_dropped": None}
    return {
        "estimate": round(share.estimate, 6),
        "lower": round(share.lower, 6),
        "upper": round(share.upper, 6),
        "unknown_because": None,
        "among_dropped": round(1 - float(summary.genuine[1].sum()) / dropped, 6) if dropped else None,
    }


def _buckets(item_counts: ItemCounts, summary: Summary, plan: DropPlan) -> list[dict[str, Any]]:
    known = plan.recalibration is not None
    return [
        {
            "label": f"{low}-{high}" if low < high else str(low),
            "min_count": low,
            "max_count": high,
            "items": items,
            "interactions": interactions,
            "dropped": dropped,
            "drop_rate": round(dropped / interactions, 6),
            "expected_genuine_drop_rate": round(lost / genuine, 6) if known and genuine else None,
        }
        for (low, high, items), interactions, dropped, genuine, lost in zip(
            item_counts.bucket_ranges(),
            *summary.popularity.tolist(),
            *summary.genuine.tolist(),
            strict=True,
        )
    ]


def read_manifest(output: str) -> dict[str, Any]:
    """Reads the manifest of a finished run.

    Raises:
        InputError: There is none, it is damaged, or the file system does not say.
    """
    try:
        path = join(output, MANIFEST)
        if not exists(path):
            raise ValueError("there is none")
        manifest = json.loads(read_bytes(path))
        if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
            raise ValueError(f"no manifest of format {FORMAT_VERSION}")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{output} holds no finished run",
            code="OUTPUT-UNFINISHED",
            found=f"{MANIFEST}: {error}",
            expected="a directory that `iadsr clean` has finished",
            fix="run `iadsr clean` again with the same arguments: it goes on where it was cut off",
        ) from error
    return manifest
