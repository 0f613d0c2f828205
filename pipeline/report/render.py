"""Renders the report of a cleaning run: one HTML file that a browser can show without any other file.

Ids, texts, paths and option values come from the data, so they may be hostile. The template escapes everything by
default. Only the charts are inserted as they are: they are drawn from numbers.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from ...models.core.reasons import REASON_BY_CODE, REASONS
from ...transforms.write.summary import STANDING_OUT

if TYPE_CHECKING:
    from ...transforms.run.manifest import (
        AppliedPolicy,
        Manifest,
        NoiseShareEstimate,
        PopularityBucket,
        ProbabilityHistogram,
        RowCounts,
        RuleFindings,
    )

MAX_SHOWN_INTERACTIONS = 400
"""Interactions of an example user that the report shows. It says how many more there are."""

MAX_SHOWN_FILES = 40
"""Input files that the report lists. The manifest lists all of them."""

# Runs of kept interactions that are longer than this are folded. Their first and last stay visible as context.
_FOLD_LONGER_THAN = 5

_YEAR_1990, _YEAR_2100 = 631_152_000, 4_102_444_800  # seconds since 1970

# HTML does not allow control characters, and UTF-8 cannot hold a lone surrogate.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render_report(
    manifest: "Manifest", examples: Sequence[Mapping[str, Any]], standing_out: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Renders the report of one run. The same input gives the same bytes.

    Args:
        manifest: The run's manifest.
        examples: Users to show, each `{"user_id", "interactions": [{"item_id", "text", "timestamp", "keep", "reason",
            "noise_probability"}, ...]}` in time order.
        standing_out: Rows of `users/` of those whom a rule names as a whole.

    Returns:
        An HTML document that contains its styles and charts, runs no script and makes no request.
    """
    source = files("iadsr.pipeline.report") / "templates" / "report.html.j2"
    template = _environment().from_string(source.read_text("utf-8"))
    rows, policy, reasons = manifest.rows, manifest.policy, manifest.reasons
    histogram, lengths = manifest.noise_probability_histogram, manifest.sequence_lengths
    return template.render(
        manifest=manifest,
        rows=rows,
        valid=rows.kept + rows.dropped,
        users=manifest.users,
        items=manifest.items,
        policy=policy,
        not_judged=any(reasons.kept.get(reason.code) for reason in REASONS if not reason.judged),
        protected=any(reasons.kept.get(reason.code) for reason in REASONS if reason.protects),
        adds_up=rows.read == rows.kept + rows.dropped + rows.rejected,
        rule=["Rules alone decide, and no model was asked."] if policy is None else describe_policy(policy),
        noise_share=None if manifest.noise_share is None else describe_noise_share(manifest.noise_share),
        rules=[_rule_row(found) for found in manifest.rules],
        standing_out=standing_out,
        max_standing_out=STANDING_OUT,
        ordered_behaviours=bool(manifest.options.get("columns", {}).get("behaviours")),
        threshold=None if policy is None else policy.threshold,
        dropped=_reason_rows(reasons.dropped, rows.dropped),
        kept=_reason_rows(reasons.kept, rows.kept),
        ordinary=_ordinary_row(rows.kept, reasons.kept),
        rejected=_reason_rows(reasons.rejected, rows.rejected),
        **(_judged(rows, policy, histogram, manifest.popularity_buckets) if policy and histogram else {}),
        lengths=list(zip(map(_range, lengths.labels), lengths.before, lengths.after, strict=True)),
        most_users=max(*lengths.before, *lengths.after, 1),
        examples=[_example(example) for example in examples],
        unix_times=any(read_unix_time(entry["timestamp"]) for user in examples for entry in user["interactions"]),
        shown_files=manifest.files[:MAX_SHOWN_FILES],
        max_files=MAX_SHOWN_FILES,
        hidden_files=len(manifest.files) - MAX_SHOWN_FILES,
        metrics=None if manifest.model is None else _flatten(manifest.model.metrics, _figure),
        embeddings=(
            None if manifest.embeddings is None else _flatten(dataclasses.asdict(manifest.embeddings), _option)
        ),
        options=_flatten(manifest.options, _option),
        versions=sorted(manifest.versions.items()),
        durations=_flatten(manifest.durations_seconds, _seconds),
    )


def _judged(
    rows: "RowCounts",
    policy: "AppliedPolicy",
    histogram: "ProbabilityHistogram",
    buckets: "Sequence[PopularityBucket]",
) -> dict[str, Any]:
    """Returns what the report shows of the model's decisions in charts and tables."""
    # This imports matplotlib, which takes a second, and which a run without a model does not need.
    from . import charts

    overall_rate = _overall_rate(buckets)
    genuine_known = any(bucket.expected_genuine_drop_rate is not None for bucket in buckets)
    return {
        "histogram_chart": charts.noise_probability_chart(
            histogram.edges,
            histogram.kept,
            histogram.dropped,
            policy.threshold,
            f"Histogram of {rows.kept + rows.dropped:,} interactions in {len(histogram.kept)} bins from 0 to 1. "
            f"{rows.kept:,} were kept and {rows.dropped:,} dropped. The figures are in the table below the chart.",
        ),
        "histogram": _histogram_rows(histogram.edges, histogram.kept, histogram.dropped),
        "histogram_log": charts.needs_log_scale([*histogram.kept, *histogram.dropped]),
        "popularity_chart": charts.drop_rate_chart(
            [_range(bucket.label) for bucket in buckets],
            [_drop_rate(bucket) for bucket in buckets],
            [bucket.expected_genuine_drop_rate for bucket in buckets],
            overall_rate,
            "Share of interactions dropped, for items from rare to popular: "
            + "; ".join(f"{bucket.label} times: {_share(bucket.dropped, bucket.interactions)}" for bucket in buckets)
            + ".",
        ),
        "buckets": buckets,
        "overall_rate": overall_rate,
        "genuine_known": genuine_known,
        "popularity_reading": _read_popularity(buckets, genuine_known=genuine_known),
    }


def describe_policy(policy: "AppliedPolicy") -> list[str]:
    """States the rule in plain sentences: the rule itself first, then its exceptions."""
    if policy.rule == "threshold":
        sentences = [f"An interaction is dropped when its noise probability is {_threshold(policy.threshold)} or more."]
    elif policy.rule == "weightless":
        sentences = ["An interaction is dropped when it weighs 0 in training."]
    elif not policy.drop_rate:
        sentences = ["Nothing was to be dropped."]
        if policy.rule == "auto":
            sentences = ["As much noise as the log certainly holds was to be dropped, and none is certain."]
    else:
        asked = f"The noisiest {_percent(policy.drop_rate)} of all interactions were to be dropped"
        if policy.rule == "auto":
            asked += ", as much noise as the log certainly holds"
        if policy.threshold is None:
            sentences = [f"{asked}; no threshold does that, so none were."]
        else:
            sentences = [f"{asked}: those with a noise probability of {_threshold(policy.threshold)} or more."]
    if n := policy.min_length:
        fewest = "1 interaction; the least noisy is" if n == 1 else f"{n:,} interactions; the least noisy are"
        sentences.append(f"No user is shortened below {fewest} kept to reach it.")
    if n := policy.keep_last:
        sentences.append("Each user's last " + ("interaction is" if n == 1 else f"{n:,} interactions are") + " kept.")
    return sentences


def describe_noise_share(share: "NoiseShareEstimate") -> str:
    """States how much noise the log holds, how certain that is, and the share of noise among the dropped."""
    if share.estimate is None or share.lower is None or share.upper is None:
        return (
            f"The log's share of noise is not known: {share.unknown_because}. Noise probabilities assume "
            "as much noise as training inserted: read them as an order only."
        )
    text = (
        f"Of the interactions that could be judged, {_percent(share.estimate)} are estimated to be noise "
        f"(95% interval {_percent(share.lower)} to {_percent(share.upper)})."
    )
    if not share.lower:
        return (
            f"{text} No noise in this log is certain, so noise probabilities assume as much noise as training inserted."
        )
    if share.among_dropped is not None:
        text += f" Of those dropped, {_percent(round(share.among_dropped, 2))} are expected to be noise."
    return text


def read_unix_time(text: str) -> str | None:
    """Reads an integer as a Unix time; None if it is none.

    The unit is the one of seconds, milliseconds, microseconds and nanoseconds that gives a date from 1990 to 2100. At
    most one of them does.
    """
    if not re.fullmatch(r"[0-9]{9,19}", text):
        return None
    for unit in (1, 10**3, 10**6, 10**9):
        seconds = int(text) // unit
        if _YEAR_1990 <= seconds < _YEAR_2100:
            return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return None


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_printable
    )
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "share": _share,
        "percent": lambda value: "\u2013" if value is None else _percent(value),
        "probability": lambda value: f"{value:.3f}",
        "threshold": _threshold,
        "moment": _moment,
        "seconds": _seconds,
        "resolution": _resolution,
        "plural": lambda count, one, many=None: f"{count:,} {one if count == 1 else many or one + 's'}",
    }
    return environment


def _printable(value: Any) -> Any:
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub("\ufffd", value)


def _percent(share: float) -> str:
    """Writes a share as percent with up to two decimals. A share that is not quite 0 or 1 does not read 0% or 100%."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9999 < share < 1:
        return ">99.99%"
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def _share(part: int, whole: int) -> str:
    return _percent(part / whole) if whole else "\u2013"


def _threshold(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.4g}"


def _moment(value: str) -> str:
    """Writes an ISO time for people, to the second."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(Z|\+00:00)?", value)
    return f"{match[1]} {match[2]}{' UTC' if match[3] else ''}" if match else value


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def _resolution(seconds: float) -> str:
    names = {1: "the second", 60: "the minute", 3600: "the hour", 86_400: "the day"}
    return names.get(int(seconds), "a fraction of a second") if seconds >= 1 else "a fraction of a second"


def _range(label: str) -> str:
    """Replaces the hyphen of a range such as 3-4 by an en dash."""
    return re.sub(r"(?<=\d)-(?=\d)", "\u2013", label)


def _drop_rate(bucket: "PopularityBucket") -> float | None:
    return bucket.dropped / bucket.interactions if bucket.interactions else None


def _overall_rate(buckets: "Sequence[PopularityBucket]") -> float | None:
    interactions = sum(bucket.interactions for bucket in buckets)
    return sum(bucket.dropped for bucket in buckets) / interactions if interactions else None


def _rule_row(found: "RuleFindings") -> dict[str, Any]:
    return {
        "code": found.rule,
        "drops": found.drops,
        "interactions": found.interactions,
        "users": found.users,
        "parameters": ", ".join(
            f"{name.replace('_', ' ')} {_option(value)}"
            for name, value in found.parameters.items()
            if value is not None and name != "mode"
        ),
        "meaning": REASON_BY_CODE[found.rule].meaning if found.rule in REASON_BY_CODE else "",
    }


def _reason_rows(counts: Mapping[str, int], total: int) -> list[dict[str, Any]]:
    """Lists the reasons that occurred, the most frequent first."""
    return [
        {
            "code": code,
            "count": count,
            "share": _share(count, total),
            "meaning": REASON_BY_CODE[code].meaning if code in REASON_BY_CODE else "",
        }
        for code, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        if count
    ]


def _ordinary_row(kept: int, reasons: Mapping[str, int]) -> dict[str, Any] | None:
    """Returns the last line of the table of kept interactions: those without a reason. None if it has no other line."""
    if not any(reasons.values()):
        return None
    count = kept - sum(reasons.values())
    return {"count": count, "share": _share(count, kept), "meaning": "Judged genuine, from text and behaviour."}


def _histogram_rows(
    edges: Sequence[float], kept: Sequence[int], dropped: Sequence[int]
) -> list[tuple[str, str, int, int]]:
    bins = zip(edges[:-1], edges[1:], kept, dropped, strict=True)
    return [
        (f"{left:.3g}", f"{right:.3g}", n_kept, n_dropped)
        for left, right, n_kept, n_dropped in bins
        if n_kept or n_dropped
    ]


def _read_popularity(buckets: "Sequence[PopularityBucket]", *, genuine_known: bool) -> str | None:
    """Says in words whether rare items were cleaned harder than popular ones.

    Genuine interactions are compared if their drop rates are known, and all interactions otherwise.
    """
    what = "Genuine interactions" if genuine_known else "Interactions"
    rates = [bucket.expected_genuine_drop_rate if genuine_known else _drop_rate(bucket) for bucket in buckets]
    present = [(rate, _range(bucket.label)) for bucket, rate in zip(buckets, rates, strict=True) if rate is not None]
    if len(present) < 2 or not any(rate for rate, _ in present):
        return None
    (rare, rare_label), (popular, popular_label) = present[0], present[-1]
    comparison = (
        f"{_percent(rare)} for items seen {rare_label} times, {_percent(popular)} for those seen {popular_label} times"
    )
    expected = ", as far as their noise probabilities tell" if genuine_known else ""
    if rare > 1.5 * popular:
        return f"{what} with rare items were dropped more often than with popular ones{expected}: {comparison}."
    if popular > 1.5 * rare:
        return f"{what} with rare items were dropped less often than with popular ones{expected}: {comparison}."
    return f"{what} with rare items were dropped about as often as with popular ones{expected}: {comparison}."


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    interactions = [_interaction(entry) for entry in example["interactions"]]
    return {
        "user_id": example["user_id"],
        "total": len(interactions),
        "dropped": sum(not entry["keep"] for entry in interactions),
        "noted": sum(entry["keep"] and entry["badge"] is not None for entry in interactions),
        "runs": list(_fold(interactions[:MAX_SHOWN_INTERACTIONS])),
        "hidden": max(0, len(interactions) - MAX_SHOWN_INTERACTIONS),
    }


def _interaction(entry: Mapping[str, Any]) -> dict[str, Any]:
    code = entry["reason"]
    reason = REASON_BY_CODE.get(code)
    if not entry["keep"]:
        kind, badge = "dropped", "dropped" + (f": {code}" if code else "")
    elif code:
        kind, badge = "protected" if reason and reason.protects else "noted", code
    else:
        kind, badge = "kept", None
    # An interaction that was not judged has no probability, which is not the same as a probability of 0.
    judged = reason is None or reason.judged
    time, probability = read_unix_time(entry["timestamp"]), entry["noise_probability"]
    return {
        **entry,
        "time": time or entry["timestamp"],
        "badge": reason.badge if reason else badge,
        "kind": kind,
        "probability": min(max(probability, 0.0), 1.0) if judged and probability is not None else None,
    }


def _fold(interactions: Sequence[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Groups interactions into runs. Of long runs of ordinary ones, all but the first and the last are folded."""
    start = 0
    while start < len(interactions):
        ordinary = interactions[start]["kind"] == "kept"
        end = start
        while end < len(interactions) and (interactions[end]["kind"] == "kept") == ordinary:
            end += 1
        run = interactions[start:end]
        if ordinary and len(run) > _FOLD_LONGER_THAN:
            yield {"folded": False, "interactions": run[:1]}
            yield {"folded": True, "interactions": run[1:-1]}
            yield {"folded": False, "interactions": run[-1:]}
        else:
            yield {"folded": False, "interactions": run}
        start = end


def _flatten(values: Mapping[str, Any], write: Callable[[Any], str], prefix: str = "") -> list[tuple[str, str]]:
    """Lists nested values by dotted names, in the order given."""
    result: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            result += _flatten(value, write, f"{prefix}{key}.")
        else:
            result.append((f"{prefix}{key}", write(value)))
    return result


def _figure(value: Any) -> str:
    """Writes a measured value, rounded for reading."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else _option(value)


def _option(value: Any) -> str:
    """Writes an option's value exactly."""
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
