"""What the commands say when they are done: a few lines of plain text each."""

from typing import Any

from ..transforms.files import join
from ..transforms.manifest import REPORT
from ..transforms.writing import INTERACTIONS, REJECTED, SEQUENCES
from .embed import EmbedSummary
from .train import TrainSummary


def describe_embedding(summary: EmbedSummary, output: str) -> str:
    """Says how many items were embedded, reused, or have no text."""
    return summary.describe(output)


def describe_training(summary: TrainSummary, output: str) -> str:
    """Says what the model was trained on, how well it detects noise, and where it lies."""
    metrics = summary.metrics
    lines = [
        f"Trained on {metrics['interactions']:,} interactions of {metrics['users']:,} users "
        f"with {metrics['items']:,} items.",
    ]
    if summary.items_without_text:
        lines.append(f"{summary.items_without_text:,} items have no text and are judged by behaviour alone.")
    lines += _rejected(summary.rejected, "they were left out of the training")
    lines += [
        f"On held-out users it tells inserted noise from the rest with AUROC {metrics['held_out_auroc']:.3f}.",
        _place("Model", output),
    ]
    return "\n".join(lines)


def describe_cleaning(manifest: dict[str, Any] | None, output: str) -> str:
    """Says what was dropped, why, and where the result lies."""
    if manifest is None:
        return f"The job template is written. A run of it will write to {output}."
    rows, users, policy = manifest["rows"], manifest["users"], manifest["policy"]
    judged = max(rows["read"] - rows["rejected"], 1)
    rule = (
        f"noise probability at or above {policy['threshold']:.3g}"
        if policy["rule"] == "threshold"
        else f"the worst {policy['drop_rate']:.1%}, noise probability at or above {policy['threshold']:.3g}"
    )
    lines = [
        f"Dropped {rows['dropped']:,} of {judged:,} interactions ({rows['dropped'] / judged:.1%}): {rule}.",
        f"{users['shortened']:,} of {users['total']:,} users are shortened"
        + (f", {users['emptied']:,} have nothing left." if users["emptied"] else "."),
    ]
    protected = {name: manifest["reasons"]["kept"][name] for name in ("min_length", "keep_last")}
    lines += [f"{count:,} would have gone but are protected ({name})." for name, count in protected.items() if count]
    if unknown := manifest["reasons"]["kept"]["unknown_item"]:
        lines.append(f"{unknown:,} are kept unjudged: neither the embeddings nor the model know their items.")
    lines += _rejected(manifest["reasons"]["rejected"], f"see {join(output, REJECTED)}")
    return "\n".join(
        [
            *lines,
            _place("Cleaned sequences", join(output, SEQUENCES)),
            _place("Every interaction", join(output, INTERACTIONS)),
            _place("Report", join(output, REPORT)),
        ]
    )


def _rejected(reasons: dict[str, int], note: str) -> list[str]:
    if not reasons:
        return []
    listed = ", ".join(f"{reason} {rows:,}" for reason, rows in reasons.items())
    return [f"{sum(reasons.values()):,} rows could not be used ({listed}); {note}."]


def _place(what: str, path: str) -> str:
    return f"  {what:<18} {path}"
