"""Closes a run inside the graph: checks that no row was lost, writes the report, and the manifest last of all files.

A run without a manifest is not finished. All of this is a transform, because a templated job has nobody waiting
after it.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from ..models.errors import InputError
from ..models.noise_share import NoiseShare
from .conservation import check_conservation
from .deciding import DROP_REASONS, KEEP_REASONS, Policy
from .drop_plan import DropPlan
from .files import delete, exists, join, read_bytes, write_atomically
from .joining import Catalogue, open_items
from .popularity import ItemCounts, read_item_counts
from .pseudonyms import name_users
from .reading import SplitCounts, check_unchanged
from .run_facts import RunFacts
from .run_marker import check_still_ours
from .summary import HISTOGRAM_BINS, Summary, length_labels
from .table_files import WrittenFile
from .validation import UNREADABLE

MANIFEST, REPORT = "manifest.json", "report.html"
FORMAT_VERSION = 1

RenderReport = Callable[[dict[str, Any], list[dict[str, Any]]], str]


def build_manifest(
    facts: RunFacts,
    counts: list[SplitCounts],
    summary: Summary,
    plan: DropPlan,
    item_counts: ItemCounts,
    catalogue: Catalogue,
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
        _refuse_unknown(manifest["items"])
        examples = name_users([example for _, example in summary.examples], self._facts.report_users)
        report = self._render(manifest, examples)
        _write_text(join(self._output, REPORT), report)
        path = join(self._output, MANIFEST)
        _write_text(path, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        yield path, None


def _refuse_unknown(items: dict[str, int]) -> None:
    """Checks that some item of the log is known: a log of which nothing can be judged has not been cleaned.

    Raises:
        InputError: None is.
    """
    if items["unknown"] == items["total"]:
        raise InputError(
            "Neither the embeddings nor the model know any item of the log",
            code="IDS-UNKNOWN",
            found=f"{items['total']:,} items, all of them unknown",
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
