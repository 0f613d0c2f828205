"""What the commands print when they are done: a few lines of plain text each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...models.core.printable import printable
from ...models.core.reasons import REASON_BY_CODE, REASONS
from ...models.encoders.packaged import MULTILINGUAL_ENCODER
from ...transforms.contract.output_layout import INTERACTIONS, MANIFEST, REJECTED, REPORT, SEQUENCES
from ...transforms.files.found_files import find_files
from ...transforms.files.storage import join
from ...transforms.read.behaviours import shown

if TYPE_CHECKING:
    # Each command loads modules that take seconds, and the other commands do not need them.
    from ...models.encoders.coverage import Coverage
    from ...transforms.export.write_export import Exported
    from ...transforms.items.item_texts import CatalogueNotes
    from ...transforms.read.input_plan import SkippedFile
    from ...transforms.run.manifest import BehaviourCounts, Manifest, NoiseShareEstimate, RuleFindings
    from ...transforms.run.verification import Verified
    from .doctor import Finding
    from .embed import EmbedSummary
    from .train import TrainSummary

_NAMED = 3
"""Files that a message names; it counts the others."""

_NAMED_BEHAVIOURS = 10
"""Behaviours that a message names, the strongest ones."""

_KNOWS_TOO_LITTLE = (
    "In a log this small the model has seen too little noise: clean will not estimate how much noise a log holds, "
    "and drops nothing unless you give --drop-rate or --threshold."
)


def describe_embedding(summary: "EmbedSummary", output: str) -> str:
    """Says how many items were embedded, reused, or have no text."""
    columns = " and ".join(summary.metadata.text_columns)
    lines = [f"Embedded {columns} of {counted(summary.items, 'item')} with {summary.metadata}."]
    if summary.texts:
        speed = f" at {summary.texts / summary.seconds:,.0f} a second" if summary.seconds > 0 else ""
        lines.append(
            f"New or changed: {counted(summary.embedded, 'item')}, {counted(summary.texts, 'distinct text')}{speed}."
        )
    if summary.replaced:
        lines.append(f"The vectors found in {output} could not be reused: {summary.replaced}.")
    if summary.reused:
        lines.append(f"Kept from an earlier run: {counted(summary.reused, 'item')}.")
    if summary.removed:
        lines.append(f"No longer in the catalogue, removed: {counted(summary.removed, 'item')}.")
    lines += _without_text(summary.without_text)
    if summary.repeated_rows:
        lines.append(
            f"Left out because their item id occurred before: {counted(summary.repeated_rows, 'row')}, "
            f"{summary.conflicting_rows:,} with another text."
        )
    lines += describe_left_out(summary.skipped, {}, summary.reading)
    lines += describe_catalogue(summary.notes.catalogue)
    if summary.notes.coverage is not None:
        lines += describe_coverage(summary.notes.coverage, summary.metadata.encoder)
    return _text([*lines, _place("Embeddings", output)])


def describe_catalogue(notes: "CatalogueNotes") -> list[str]:
    """Says what was left out of a catalogue, and what was changed in its texts."""
    lines = []
    if notes.rows_left_out:
        listed = ", ".join(f"{reason} {rows:,}" for reason, rows in notes.rows_left_out.items())
        lines.append(f"Left out, without a usable id: {counted(sum(notes.rows_left_out.values()), 'row')} ({listed}).")
    if notes.not_utf8:
        lines.append(f"With text that is not UTF-8, which was left out: {counted(notes.not_utf8, 'row')}.")
    if notes.with_html:
        lines.append(f"With HTML in the text, which was removed: {counted(notes.with_html, 'row')}.")
    if notes.not_text:
        listed = ", ".join(f"{name} ({kind})" for name, kind in notes.not_text.items())
        lines.append(f"Columns left out because they hold no text: {listed}.")
    if notes.other_columns:
        lines.append(f"Columns not embedded unless --text-columns names them: {', '.join(notes.other_columns)}.")
    return lines


def describe_coverage(coverage: "Coverage", encoder: str) -> list[str]:
    """Says that an encoder does not know the language of the texts, if that is so."""
    if not coverage.is_poor:
        return []
    signs = {
        "of all tokens are unknown to it": coverage.unknown_tokens,
        "of the texts share their vector with another text": coverage.shared_vectors,
        "of the texts are read letter by letter": coverage.spelled_texts,
    }
    told = ", ".join(f"{share:.0%} {what}" for what, share in signs.items() if share >= 0.005)
    other = MULTILINGUAL_ENCODER
    advice = f"--encoder {other} knows about 100 languages" if encoder != other else "take a model of that language"
    return [f"WARNING: the encoder {encoder} does not know the language of these texts ({told}); {advice}."]


_LEANING = 0.5
"""From this lean on, either way, it is said which noise the log shows."""


def describe_training(summary: "TrainSummary", output: str) -> str:
    """Says what the model was trained on, how well it detects noise, and where it lies."""
    metrics = summary.metrics
    return _text(
        [
            f"Trained on {counted(metrics['interactions'], 'interaction')} of {counted(metrics['users'], 'user')} "
            f"with {counted(metrics['items'], 'item')}.",
            *_sampled(metrics),
            *_started(metrics, summary.start),
            *_without_text(summary.items_without_text),
            *describe_left_out(summary.skipped, summary.rejected, summary.notes),
            *describe_rules(summary.found),
            *_expected_noise(metrics["noise_lean"]),
            f"On held-out users it tells inserted noise from the rest with AUROC {metrics['held_out_auroc']:.3f}.",
            *([] if summary.knows_noise else [_KNOWS_TOO_LITTLE]),
            _place("Model", output),
        ]
    )


def _expected_noise(lean: float) -> list[str]:
    if abs(lean) < _LEANING:
        return []
    kinds = ", mostly single items" if lean < 0 else " of all kinds"
    return [f"The log itself shows noise{kinds}: that is what the model expects."]


def _sampled(metrics: Mapping[str, Any]) -> list[str]:
    if "sampled_users" not in metrics:
        return []
    return [
        f"The net was trained on {metrics['sampled_users']:,} of these users, and which items users have together was "
        "counted from all. --users N takes more."
    ]


def _started(metrics: Mapping[str, Any], start: str | None) -> list[str]:
    if start is None:
        return []
    return [
        f"Started from {printable(start)}, which knew {metrics['start_items']:,} of these items. On the held-out "
        f"users, its AUROC was {metrics['start_held_out_auroc']:.3f} before. That flatters it: noise that a model has "
        "never seen is easier to tell.",
    ]


def describe_cleaning(manifest: "Manifest | None", output: str) -> str:
    """Says what was dropped, why, and where the result lies."""
    if manifest is None:
        return f"The job template is written. A run of it will write to {printable(output)}."
    rows, users = manifest.rows, manifest.users
    usable = rows.read - rows.rejected
    kept = {**manifest.reasons.kept, "weightless": manifest.weightless}  # also what --min-length protects
    return _text(
        [
            *describe_rules(manifest.rules),
            *_dropped_as_noise(manifest, usable),
            f"Shortened {users.shortened:,} of {counted(users.total, 'user')}"
            + (f"; {users.emptied:,} {'have' if users.emptied > 1 else 'has'} nothing left" if users.emptied else "")
            + ".",
            *([] if rows.kept else ["WARNING: no interaction is left."]),
            *_behaviours(manifest.behaviours),
            *_shared_accounts(users.shared_accounts),
            *_lookalikes(users.lookalikes),
            *_without_text(manifest.items.without_text),
            *(
                f"{reason.message}: {counted(kept[reason.code], 'interaction')}."
                for reason in REASONS
                if reason.message and kept.get(reason.code)
            ),
            *manifest.notes,
            *_skipped(manifest.skipped_files, f"; see {MANIFEST}"),
            *_rejected(manifest.reasons.rejected, f"see {join(output, REJECTED)}"),
            *_nobody_forgotten(manifest),
            *manifest.times.notes,
            *(
                [f"Taken over from {taken.run}: the scores of {counted(taken.scored_users, 'user')}."]
                if (taken := manifest.taken_over) is not None
                else []
            ),
            _place("Cleaned sequences", join(output, SEQUENCES)),
            _place("Every interaction", join(output, INTERACTIONS)),
            _place("Report", join(output, REPORT)),
        ]
    )


def _nobody_forgotten(manifest: "Manifest") -> list[str]:
    asked = manifest.options.get("columns", {}).get("forget") is not None
    if not asked or any(reason.startswith("forgotten ") for reason in manifest.reasons.rejected):
        return []
    return ["WARNING: the log has no row of the users that --forget lists."]


def _shared_accounts(users: int | None) -> list[str]:
    return [f"Named as shared accounts: {counted(users, 'user')}."] if users else []


def _lookalikes(users: int) -> list[str]:
    return (
        [f"Perhaps one person twice: about {counted(users, 'user')}, whose ids differ in case, form or zeros only."]
        if users
        else []
    )


def _behaviours(counts: "Iterable[BehaviourCounts]") -> list[str]:
    listed = [f"{shown(each.behaviour)}: {each.dropped:,} of {each.interactions:,}" for each in counts]
    more = f"; {len(listed) - _NAMED_BEHAVIOURS:,} more in {MANIFEST}" if len(listed) > _NAMED_BEHAVIOURS else ""
    return [f"Dropped by behaviour: {', '.join(listed[-_NAMED_BEHAVIOURS:])}{more}."] if listed else []


def describe_rules(findings: "Iterable[RuleFindings]") -> list[str]:
    """Says what each rule has dropped, and what it has found and left."""
    lines, nothing, literal = [], [], []
    for found in findings:
        what = f"{REASON_BY_CODE[found.rule].rule} ({found.rule})"
        if found.interactions:
            what += f": {found.interactions:,} by {counted(found.users, 'user')}"
            lines.append(f"Dropped {what}." if found.drops else f"Found, not dropped: {what}.")
        elif found.parameters.get("mode", "drop") not in ("auto", "count"):  # it was asked for
            nothing.append(what)
            values = found.parameters.get("values", ()) if found.rule == "returned" else ()
            literal += [value for value in values if "=" in value]
    hint = f" Without --behaviours, {', '.join(literal)} is looked for as it stands." if literal else ""
    return [*lines, *([f"Asked for, and nothing found: {', '.join(nothing)}.{hint}"] if nothing else [])]


def _dropped_as_noise(manifest: "Manifest", usable: int) -> list[str]:
    rows, policy, share = manifest.rows, manifest.policy, manifest.noise_share
    by_rules = sum(manifest.reasons.dropped.get(reason.code, 0) for reason in REASONS if reason.rule)
    if policy is None or share is None:
        share_of_all = f" ({rows.dropped / usable:.1%})" if usable else ""
        return [f"Dropped {rows.dropped:,} of {counted(usable, 'interaction')}{share_of_all} by rules."]
    rule = {
        "auto": "what is noise with some certainty"
        if share.estimate is not None
        else "none, as the share of noise is not known",
        "drop_rate": f"--drop-rate {policy.drop_rate}",
        "weightless": "what weighs 0 in training",
        "threshold": f"noise probability at or above {policy.threshold}",
    }[policy.rule]
    dropped, judged = rows.dropped - by_rules, usable - by_rules - manifest.reasons.kept.get("held_out", 0)
    if not judged:
        return ["The rules leave nothing to judge." if by_rules else "There is nothing to judge."]
    what = f"Dropped {'as noise ' * bool(by_rules)}{dropped:,} of {counted(judged, 'interaction')}"
    return [*_noise_share(share, policy.rule), f"{what} ({dropped / judged:.1%}): {rule}."]


def describe_findings(findings: "Iterable[Finding]") -> Iterator[str]:
    """Says for each thing that was checked whether a run can work with it."""
    for finding in findings:
        first, *more = finding.text.splitlines()
        yield _text([f"{'ok' if finding.healthy else 'PROBLEM':<9}{finding.what:<22}{first}", *more])


def describe_left_out(
    skipped: "Iterable[SkippedFile]", rejected: dict[str, int], notes: "Iterable[str]" = ()
) -> list[str]:
    """Says how a log was read, and which files and rows a command left out, for commands that write no manifest."""
    return [printable(line) for line in (*notes, *_skipped(tuple(skipped)), *_rejected(rejected, "left out"))]


def describe_vector_files(path: str) -> list[str]:
    """Says how a directory of embeddings was read, and which files of it were left out.

    Raises:
        InputError: Nothing is there, or the file system does not answer.
    """
    found = find_files(path)
    return describe_left_out(found.left_out, {}, found.notes)


def _text(lines: list[str]) -> str:
    """Joins lines. Paths, columns and reasons may hold anything, so each line is made safe to print."""
    return "\n".join(map(printable, lines))


def describe_verification(verified: "Verified", output: str) -> str:
    """Says what has been checked and found right."""
    rows = verified.rows
    compared, inputs = verified.inputs_compared, counted(verified.inputs, "input file")
    return _text(
        [
            f"{output} is complete: {counted(verified.files, 'file')}, unchanged since they were written.",
            f"{counted(rows.read, 'row')} read = {rows.kept:,} kept + {rows.dropped:,} dropped + "
            f"{rows.rejected:,} rejected, in each input file and in total.",
            f"Interactions of {counted(verified.users, 'user')} are in order; the sequences are exactly the kept ones.",
            "Compared with all input files."
            if compared == verified.inputs
            else f"Compared with {compared:,} of {inputs}; "
            "the others no longer exist, have changed or cannot be reached.",
            *([f"The run left out {counted(verified.skipped, 'file')}."] if verified.skipped else []),
        ]
    )


def describe_export(exported: "Exported", output: str) -> str:
    """Says what an export holds, and what it leaves out."""
    parts = ", ".join(f"{count:,} {split}" for split, count in exported.interactions.items())
    named = {
        reason: ": " + ", ".join(items) + ", ..." * (exported.left_out_items[reason] > len(items))
        for reason, items in exported.some_items.items()
    }
    return _text(
        [
            f"Exported for {exported.library}: {counted(exported.users, 'user')}; interactions: {parts}.",
            *(
                f"Left out: {counted(number, noun)} ({reason}{named.get(reason, '') if noun == 'item' else ''})."
                for noun, reasons in (
                    ("user", exported.left_out_users),
                    ("item", exported.left_out_items),
                    ("interaction", exported.left_out_interactions),
                )
                for reason, number in reasons.items()
            ),
            *(
                f"New, with numbers of their own: {counted(number, kind)}."
                for kind, number in exported.new_ids.items()
                if number
            ),
            _place("How to load it", join(output, "README.md")),
        ]
    )


def _noise_share(share: "NoiseShareEstimate", rule: str) -> list[str]:
    if share.estimate is None:
        hint = (
            "; nothing is dropped as noise without --drop-rate R or --threshold P"
            if rule in ("auto", "weightless")
            else ""
        )
        return [f"The log's share of noise is not known: {share.unknown_because}{hint}."]
    return [
        f"Noise in the log: {share.estimate:.1%} of what could be judged "
        f"(95% interval {share.lower:.1%} to {share.upper:.1%})."
    ]


def _without_text(items: int | None) -> list[str]:
    return [f"Without text, judged by behaviour alone: {counted(items, 'item')}."] if items else []


def _rejected(reasons: dict[str, int], note: str) -> list[str]:
    if not reasons:
        return []
    listed = ", ".join(f"{reason} {rows:,}" for reason, rows in reasons.items())
    return [f"Unusable, {note}: {counted(sum(reasons.values()), 'row')} ({listed})."]


def _skipped(files: "Sequence[SkippedFile]", note: str = "") -> list[str]:
    if not files:
        return []
    named = "; ".join(f"{file.reason} ({file.code})" for file in files[:_NAMED])
    rest = f"; and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
    return [f"Left out: {counted(len(files), 'file')}: {named}{rest}{note}."]


def table_of(rows: "Sequence[Sequence[str]]") -> list[str]:
    """Returns the lines of a table, the first row of which is its heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [line.rstrip() for line in lines]


def counted(number: int, noun: str) -> str:
    """Returns such as `1 row` or `1,000 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _place(what: str, path: str) -> str:
    return f"  {what:<18} {path}"
