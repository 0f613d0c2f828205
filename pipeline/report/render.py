"""Renders the report of a cleaning run: one HTML file that needs nothing else to be read.

Everything that comes from the data (ids, texts, paths, option values) is hostile until escaped: the template escapes
by default, and only charts, drawn from numbers, are inserted as they are.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

MAX_SHOWN_INTERACTIONS = 400
"""Interactions of an example user that the report holds; the rest is counted."""


MAX_SHOWN_FILES = 40
"""Input files that the report lists; the manifest lists all."""


DROP_MEANINGS = {
    "noise:long_term_semantic": "What the user did around this point agrees least, by text, with the rest of the "
    "sequence: cos(S, c\u209c).",
    "noise:long_term_collaborative": "The item's text agrees least with what the rest of the sequence shows by "
    "behaviour: cos(C, s\u209c).",
    "noise:short_term": "The item's text agrees least with what the user did around this point: cos(c\u209c, s\u209c).",
    "noise:collaborative_only": "The item has no text: judged noise from behaviour alone, without a second opinion.",
}


KEEP_MEANINGS = {
    "min_length": "Judged noise, but dropping it would leave the user with fewer interactions than --min-length.",
    "keep_last": "Judged noise, but among the user's last interactions that --keep-last protects.",
    "unknown_item": "Not judged: neither the model nor the item embeddings know the item.",
    "too_short": "Not judged: the user's sequence holds nothing else to compare it with.",
    "collaborative_only": "Judged genuine from behaviour alone: the item has no text.",
}


_BADGES = {
    "min_length": "protected by --min-length",
    "keep_last": "protected by --keep-last",
    "unknown_item": "not judged: unknown item",
    "too_short": "not judged: nothing to compare",
    "collaborative_only": "kept: judged without text",
}


_PROTECTED = ("min_length", "keep_last")


_NOT_JUDGED = ("unknown_item", "too_short")


# A run of kept interactions folds when it is longer than this; its first and last stay in sight as context.
_FOLD_LONGER_THAN = 5


_YEAR_1990, _YEAR_2100 = 631_152_000, 4_102_444_800  # seconds since 1970


# Control characters have no place in HTML, and a lone surrogate cannot be written as UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render_report(manifest: Mapping[str, Any], examples: Sequence[Mapping[str, Any]]) -> str:
    """Renders the report of one run; the same input gives the same bytes.

    Args:
        manifest: The run's manifest, as written to `manifest.json`.
        examples: Users to show, each `{"user_id", "interactions": [{"item_id", "text", "timestamp", "keep", "reason",
            "noise_probability"}, ...]}` in time order.

    Returns:
        An HTML document that holds its styles and charts, runs no script and makes no request.
    """
    # Imports matplotlib: only here, and not for everybody who imports the pipeline.
    from . import charts

    source = files(__package__) / "templates" / "report.html.j2"
    template = _environment().from_string(source.read_text("utf-8"))
    rows, policy = manifest["rows"], manifest["policy"]
    valid = rows["kept"] + rows["dropped"]
    histogram, lengths = manifest["noise_probability_histogram"], manifest["sequence_lengths"]
    buckets = manifest["popularity_buckets"]
    rates = [bucket["dropped"] / bucket["interactions"] if bucket["interactions"] else None for bucket in buckets]
    genuine = [bucket["expected_genuine_drop_rate"] for bucket in buckets]
    reasons = manifest["reasons"]
    return template.render(
        manifest=manifest,
        rows=rows,
        valid=valid,
        users=manifest["users"],
        items=manifest["items"],
        policy=policy,
        not_judged=any(reasons["kept"].get(reason) for reason in _NOT_JUDGED),
        protected=any(reasons["kept"].get(reason) for reason in _PROTECTED),
        adds_up=rows["read"] == rows["kept"] + rows["dropped"] + rows["rejected"],
        rule=describe_policy(policy),
        noise_share=describe_noise_share(manifest["noise_share"]),
        dropped=_reason_rows(reasons["dropped"], rows["dropped"], DROP_MEANINGS),
        kept=_reason_rows(reasons["kept"], rows["kept"], KEEP_MEANINGS),
        ordinary=_ordinary_row(rows["kept"], reasons["kept"]),
        rejected=_reason_rows(reasons["rejected"], rows["rejected"], {}),
        histogram_chart=charts.noise_probability_chart(
            histogram["edges"],
            histogram["kept"],
            histogram["dropped"],
            policy["threshold"],
            f"Histogram of {valid:,} interactions in {len(histogram['kept'])} bins from 0 to 1. {rows['kept']:,} were "
            f"kept and {rows['dropped']:,} dropped. The figures are in the table below the chart.",
        ),
        histogram=_histogram_rows(histogram["edges"], histogram["kept"], histogram["dropped"]),
        histogram_log=charts.needs_log_scale([*histogram["kept"], *histogram["dropped"]]),
        popularity_chart=charts.drop_rate_chart(
            [_range(bucket["label"]) for bucket in buckets],
            rates,
            genuine,
            rows["dropped"] / valid if valid else None,
            "Share of interactions dropped, for items from rare to popular: "
            + "; ".join(
                f"{bucket['label']} times: {_share(bucket['dropped'], bucket['interactions'])}" for bucket in buckets
            )
            + ".",
        ),
        buckets=buckets,
        genuine_known=any(share is not None for share in genuine),
        popularity_reading=_read_popularity(buckets, rates, genuine),
        lengths_chart=charts.sequence_length_chart(
            [_range(label) for label in lengths["labels"]],
            lengths["before"],
            lengths["after"],
            "Number of users by sequence length: "
            + "; ".join(
                f"{label}: {before:,} before, {after:,} after"
                for label, before, after in zip(lengths["labels"], lengths["before"], lengths["after"], strict=True)
            )
            + ".",
        ),
        lengths=zip(map(_range, lengths["labels"]), lengths["before"], lengths["after"], strict=True),
        examples=[_example(example) for example in examples],
        unix_times=any(read_unix_time(entry["timestamp"]) for user in examples for entry in user["interactions"]),
        shown_files=manifest["files"][:MAX_SHOWN_FILES],
        max_files=MAX_SHOWN_FILES,
        hidden_files=len(manifest["files"]) - MAX_SHOWN_FILES,
        metrics=_flatten(manifest["model"]["metrics"], _figure),
        embeddings=_flatten(manifest["embeddings"], _option),
        options=_flatten(manifest["options"], _option),
        versions=sorted(manifest["versions"].items()),
        durations=_flatten(manifest["durations_seconds"], _seconds),
    )


def describe_policy(policy: Mapping[str, Any]) -> list[str]:
    """States the decision rule in plain sentences, the rule itself first and its exceptions after it."""
    if policy["rule"] == "threshold":
        sentences = [
            f"An interaction is dropped when its noise probability is {_threshold(policy['threshold'])} or more."
        ]
    elif not policy["drop_rate"]:
        sentences = ["Nothing was to be dropped."]
        if policy["rule"] == "auto":
            sentences = ["What the log holds of noise with some certainty was to be dropped: nothing."]
    else:
        asked = f"The noisiest {_percent(policy['drop_rate'])} of all interactions were to be dropped"
        if policy["rule"] == "auto":
            asked += ", as much as the log holds of noise with some certainty"
        if policy["threshold"] is None:
            sentences = [f"{asked}; no threshold in reach does that, so none were."]
        else:
            sentences = [f"{asked}: those with a noise probability of {_threshold(policy['threshold'])} or more."]
    if n := policy["min_length"]:
        fewest = "1 interaction; the least noisy is" if n == 1 else f"{n:,} interactions; the least noisy are"
        sentences.append(f"No user is shortened below {fewest} kept to reach it.")
    if n := policy["keep_last"]:
        sentences.append("Each user's last " + ("interaction is" if n == 1 else f"{n:,} interactions are") + " kept.")
    return sentences


def describe_noise_share(share: Mapping[str, Any]) -> str:
    """States how much noise the log holds, how certain that is, and how much of what was dropped it makes up."""
    if share["estimate"] is None:
        return (
            f"The log's share of noise is not known: {share['unknown_because']}. Noise probabilities are for a log "
            "with as much noise as training inserted: read them as an ordering."
        )
    text = (
        f"Of the interactions that could be judged, {_percent(share['estimate'])} are estimated to be noise "
        f"(95% interval {_percent(share['lower'])} to {_percent(share['upper'])})."
    )
    if not share["lower"]:
        return f"{text} None of it is certain, so noise probabilities are for a log with as much as training inserted."
    if share["among_dropped"] is not None:
        text += f" Of those dropped, {_percent(round(share['among_dropped'], 2))} are expected to be."
    return text


def read_unix_time(text: str) -> str | None:
    """Reads an integer time as a date of 1990 to 2100, in whichever unit gives one: their ranges do not overlap."""
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
        "plural": lambda count, one, many=None: f"{count:,} {one if count == 1 else many or one + 's'}",
    }
    return environment


def _printable(value: Any) -> Any:
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub("\ufffd", value)


def _percent(share: float) -> str:
    """Writes a share with four significant digits at most; what is not 0 or 100% never reads as if it were."""
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
    """Writes an ISO time for people: to the second, in UTC where it says so."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(Z|\+00:00)?", value)
    return f"{match[1]} {match[2]}{' UTC' if match[3] else ''}" if match else value


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def _range(label: str) -> str:
    """Sets a range such as 3-4 with the dash that ranges take."""
    return re.sub(r"(?<=\d)-(?=\d)", "\u2013", label)


def _reason_rows(counts: Mapping[str, int], total: int, meanings: Mapping[str, str]) -> list[dict[str, Any]]:
    """Lists the reasons that occurred, most frequent first."""
    return [
        {"code": code, "count": count, "share": _share(count, total), "meaning": meanings.get(code)}
        for code, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        if count
    ]


def _ordinary_row(kept: int, reasons: Mapping[str, int]) -> dict[str, Any] | None:
    """Completes the table of kept interactions, where it has any lines: those that were simply judged genuine."""
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


def _read_popularity(
    buckets: Sequence[Mapping[str, Any]], rates: Sequence[float | None], genuine: Sequence[float | None]
) -> str | None:
    """Says in words whether rare items were cleaned harder than popular ones, by genuine interactions where known."""
    known = any(share is not None for share in genuine)
    shares, what = (genuine, "Genuine interactions") if known else (rates, "Interactions")
    present = [
        (rate, _range(bucket["label"])) for bucket, rate in zip(buckets, shares, strict=True) if rate is not None
    ]
    if len(present) < 2 or not any(rate for rate, _ in present):
        return None
    (rare, rare_label), (popular, popular_label) = present[0], present[-1]
    comparison = (
        f"{_percent(rare)} for items seen {rare_label} times, {_percent(popular)} for those seen {popular_label} times"
    )
    expected = ", as far as their noise probabilities tell" if known else ""
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
    reason = entry["reason"]
    if entry["keep"]:
        badge, kind = (
            _BADGES.get(reason, reason),
            "protected" if reason in _PROTECTED else "noted" if reason else "kept",
        )
    else:
        badge, kind = f"dropped: {reason.removeprefix('noise:')}" if reason else "dropped", "dropped"
    # Not judged is not a probability of 0.
    probability = None if reason in _NOT_JUDGED else min(max(entry["noise_probability"], 0.0), 1.0)
    time = read_unix_time(entry["timestamp"])
    return {**entry, "time": time or entry["timestamp"], "badge": badge, "kind": kind, "probability": probability}


def _fold(interactions: Sequence[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Groups interactions into runs, long runs of ordinary ones to be folded away but for their two ends."""
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
    """Lists nested values as dotted names with their text, in the order given."""
    result: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            result += _flatten(value, write, f"{prefix}{key}.")
        else:
            result.append((f"{prefix}{key}", write(value)))
    return result


def _figure(value: Any) -> str:
    """Writes a measured value for reading."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else _option(value)


def _option(value: Any) -> str:
    """Writes an option's value exactly."""
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
