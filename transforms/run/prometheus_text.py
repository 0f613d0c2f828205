"""The figures of a run as metrics of Prometheus, in the text format that node exporter's textfile collector reads.

To add a metric, add a record to METRICS. All are gauges: they describe the latest run, and a run may have fewer rows
than the one before. Units are base units: seconds, bytes, and ratios from 0 to 1. A sample whose value is not known is
left out.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from .gates import Checked, Level
from .manifest import Manifest

PREFIX = "iadsr_"
"""Begins the name of every metric."""

LEVELS: tuple[Level, ...] = ("ok", "warn", "fail", "unknown")

Sample = tuple[dict[str, str], float | None]
"""Labels and a value."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str
    """Its name, without PREFIX."""
    help: str
    """What it is."""
    samples: Callable[[Manifest], Iterable[Sample]]
    """Computes its samples."""


def _one(value: Callable[[Manifest], float | None]) -> Callable[[Manifest], Iterable[Sample]]:
    return lambda run: [({}, value(run))]


def _by(label: str, values: Callable[[Manifest], Mapping[str, float]]) -> Callable[[Manifest], Iterable[Sample]]:
    return lambda run: [({label: name}, value) for name, value in values(run).items()]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _auroc(run: Manifest) -> float | None:
    value = None if run.model is None else run.model.metrics.get("held_out_auroc")
    return float(value) if isinstance(value, (int, float)) else None


def _steps(run: Manifest) -> dict[str, float]:
    return {name: seconds for name, seconds in run.durations_seconds.items() if name != "total"}


METRICS = (
    Metric(
        "run_info",
        "What made the latest run: always 1.",
        lambda run: [({"version": run.iadsr_version, "model": run.model.fingerprint[:12] if run.model else ""}, 1)],
    ),
    Metric("run_start_timestamp_seconds", "When the latest run started.", _one(lambda run: _seconds(run.started_at))),
    Metric("run_end_timestamp_seconds", "When the latest run finished.", _one(lambda run: _seconds(run.finished_at))),
    Metric("run_duration_seconds", "How long the latest run took.", _one(lambda run: run.total_seconds)),
    Metric("run_step_duration_seconds", "Time of each step, summed over all workers.", _by("step", _steps)),
    Metric(
        "input_files",
        "Files of the log, and those that were left out.",
        _by("state", lambda run: {"read": len(run.files), "skipped": len(run.skipped_files)}),
    ),
    Metric("input_bytes", "Size of the files of the log.", _one(lambda run: sum(file.bytes for file in run.files))),
    Metric("output_bytes", "Size of the result.", _one(lambda run: sum(file.size for file in run.outputs))),
    Metric("input_rows", "Rows read.", _one(lambda run: run.rows.read)),
    Metric(
        "rows",
        "Rows by what became of them. They add up to iadsr_input_rows.",
        _by("state", lambda run: {name: getattr(run.rows, name) for name in ("kept", "dropped", "rejected")}),
    ),
    Metric("interactions_dropped", "Interactions dropped, by reason.", _by("reason", lambda run: run.reasons.dropped)),
    Metric(
        "interactions_kept",
        "Interactions kept that have a reason, by reason.",
        _by("reason", lambda run: run.reasons.kept),
    ),
    Metric("rows_rejected", "Rows that could not be used, by reason.", _by("reason", lambda run: run.reasons.rejected)),
    Metric("users", "Users of the log.", _one(lambda run: run.users.total)),
    Metric("users_shortened", "Users who lost an interaction.", _one(lambda run: run.users.shortened)),
    Metric("users_emptied", "Users who lost all their interactions.", _one(lambda run: run.users.emptied)),
    Metric("items", "Items of the log.", _one(lambda run: run.items.total)),
    Metric("items_without_text", "Items that the embeddings do not know.", _one(lambda run: run.items.without_text)),
    Metric("items_unknown", "Items that nothing knows: not judged.", _one(lambda run: run.items.unknown)),
    Metric(
        "noise_ratio",
        "Estimated share of noise in the log, and the ends of its 95% interval.",
        lambda run: [
            ({"bound": name}, None if run.noise_share is None else getattr(run.noise_share, name))
            for name in ("estimate", "lower", "upper")
        ],
    ),
    Metric(
        "bucket_dropped_ratio",
        "Share of the interactions dropped as noise, by popularity of the items.",
        lambda run: [({"bucket": bucket.label}, bucket.drop_rate) for bucket in run.popularity_buckets],
    ),
    Metric("model_auroc", "AUROC of the model on held-out users.", _one(_auroc)),
    Metric(
        "model_changed_timestamp_seconds",
        "When the model was trained.",
        _one(lambda run: (run.model and run.model.changed_at) or None),
    ),
    Metric(
        "embeddings_changed_timestamp_seconds",
        "When the embeddings were written.",
        _one(lambda run: (run.embeddings and run.embeddings.changed_at) or None),
    ),
)
"""All metrics of a run. Those of its gates come after them."""


def prometheus_text(run: Manifest, checked: Checked, name: str) -> str:
    """Returns the metrics of a run and of its gates.

    Args:
        run: Manifest of the run.
        checked: What the gates say of it.
        name: What is cleaned. Each sample has it as the label `dataset`.
    """
    lines: list[str] = []
    for metric in METRICS:
        lines += _metric(metric.name, metric.help, metric.samples(run), name)
    gates = checked.gates
    lines += _metric("gate_value", "Figure of each gate.", (({"gate": g.name}, g.value) for g in gates), name)
    lines += _metric(
        "gate_level",
        "What each gate says: 1 for its level, 0 for the others.",
        (({"gate": gate.name, "level": level}, gate.level == level) for gate in gates for level in LEVELS),
        name,
    )
    retrain = [({}, float(bool(checked.retrain)))]
    lines += _metric("retrain", "Whether a new model should be trained: 1 if so.", retrain, name)
    return "".join(f"{line}\n" for line in lines)


def _metric(metric: str, help: str, samples: Iterable[Sample], dataset: str) -> Iterator[str]:
    known = [(labels, float(value)) for labels, value in samples if value is not None]
    if not known:
        return
    yield f"# HELP {PREFIX}{metric} {help}"
    yield f"# TYPE {PREFIX}{metric} gauge"
    for labels, value in known:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in {"dataset": dataset, **labels}.items())
        yield f"{PREFIX}{metric}{{{written}}} {_number(value)}"


def _escaped(text: str) -> str:
    # A lone surrogate, in the name of a file, has no UTF-8.
    text = text.encode(errors="backslashreplace").decode()
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(int(value) if value == int(value) else value)
