"""Markdown tables of results: the mean, and with several seeds the standard deviation."""

from collections.abc import Callable

import numpy as np

from iadsr.models.noise.share import NoiseShare, NoShare

from .datasets import Setting
from .measures import BUCKETS, Dropping
from .results import Result
from .scorers import OURS, PAPER, SCORERS

BySeed = dict[str, list[Result]]
"""The results of each scorer, one for each seed. All scorers have the same seeds."""


def format_share(share: NoiseShare | NoShare) -> str:
    """Formats the estimated share of noise in a log, with its interval."""
    if isinstance(share, NoShare):
        return f"not known: {share.reason}"
    return f"{share.estimate:.1%} ({share.lower:.1%} to {share.upper:.1%})"


def comparison(results: BySeed) -> str:
    """Compares scorers in one setting: how well they detect, how fair they are and what they cost.

    Ratios to iadsr and to the paper's model are left out if those were not run.
    """
    lines = _table(
        "scorer",
        "AUROC",
        "misordered against iadsr",
        "average precision",
        "precision at the noise count",
        "genuine drops, most/least affected",
        "training CPU s",
        "scoring CPU s",
        "scoring against the paper's",
    )
    for name, runs in results.items():
        auroc = _values(runs, lambda result: result.detection.auroc)
        ours = _values(results.get(OURS, []), lambda result: result.detection.auroc)
        scoring = _values(runs, lambda result: result.scoring_seconds)
        paper = _values(results.get(PAPER, []), lambda result: result.scoring_seconds)
        cells = [
            _spread(auroc),
            f"{((1 - auroc) / (1 - ours)).mean():.2f}" if len(ours) else "",
            _spread(_values(runs, lambda result: result.detection.average_precision)),
            _spread(_values(runs, lambda result: result.detection.dropping.recall)),
            _ratio(_mean_dropping([result.detection.dropping for result in runs]).ratio),
            _seconds(_values(runs, lambda result: result.training_seconds)),
            _seconds(scoring),
            f"{(scoring / paper).mean():.2f}" if len(paper) else "",
        ]
        lines.append(f"| {SCORERS[name].title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def drops_by_popularity(results: BySeed) -> str:
    """Shows the share of genuine interactions dropped in each popularity bucket."""
    lines = _table("scorer", *(str(bucket + 1) for bucket in range(BUCKETS)), "most/least", "recall of noise")
    for name, runs in results.items():
        lines.append(_drops(SCORERS[name].title, [result.detection.dropping for result in runs]))
    return "\n".join(lines)


def _drops(title: str, runs: list[Dropping]) -> str:
    mean = _mean_dropping(runs)
    shares = " | ".join(f"{share:.1%}" for share in mean.genuine_drops)
    return f"| {title} | {shares} | {_ratio(mean.ratio)} | {_spread(np.array([run.recall for run in runs]))} |"


def calibration(results: BySeed) -> str:
    """Lists the expected calibration error of the scorers whose scores are probabilities."""
    return "\n".join(
        f"- {SCORERS[name].title}: {_spread(_values(runs, lambda result: result.detection.calibration_error or 0))}"
        for name, runs in results.items()
        if all(result.detection.calibration_error is not None for result in runs)
    )


def overview(by_setting: dict[Setting, BySeed]) -> str:
    """Shows the AUROC of every scorer in every setting of one data set."""
    lines = _table("AUROC", *map(str, by_setting))
    for name in next(iter(by_setting.values())):
        cells = [_spread(_values(results[name], lambda r: r.detection.auroc), 3) for results in by_setting.values()]
        lines.append(f"| {SCORERS[name].title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _table(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", "| --- |" + " --- |" * (len(columns) - 1)]


def _values(runs: list[Result], of: Callable[[Result], float]) -> np.ndarray:
    return np.array([of(result) for result in runs])


def _mean_dropping(runs: list[Dropping]) -> Dropping:
    return Dropping(
        float(np.mean([run.recall for run in runs])), np.nanmean([run.genuine_drops for run in runs], axis=0).tolist()
    )


def _spread(values: np.ndarray, digits: int = 4) -> str:
    mean = f"{values.mean():.{digits}f}"
    return f"{mean} ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else mean


def _seconds(values: np.ndarray) -> str:
    return f"{values.mean():.0f}" if values.mean() >= 10 else f"{values.mean():.1f}"


def _ratio(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "∞"
