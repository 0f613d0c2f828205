"""What an evaluation found: figures for each treatment of the log, and plain words on what they mean."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from ...models.evaluation.bootstrap import Estimate
from ...models.evaluation.ranking import METRICS
from ...transforms.read.input_plan import SkippedFile
from ...transforms.run.manifest import RuleFindings
from .messages import describe_left_out, describe_rules
from .results import Result, Table

MAIN_METRIC = "NDCG@10"
"""What the verdict and the recovered share are about."""

RAW, DROPPED, WEIGHTED, ORACLE, RANDOM = "raw", "dropped", "weighted", "oracle", "random"

_MEANINGS = {
    RAW: "the log as it is",
    DROPPED: "without what iadsr clean drops",
    WEIGHTED: "by the weights of iadsr clean, and without what weighs 0",
    ORACLE: "without exactly the inserted noise",
    RANDOM: "without as many as weigh 0, chosen at random",
}


@dataclasses.dataclass(frozen=True)
class TreatmentResult:
    """What one way of cleaning is worth."""

    name: str
    """raw, dropped, weighted, oracle or random."""
    interactions: int
    """Interactions that are left to train on."""
    metrics: dict[str, Estimate]
    """HR and NDCG at each cutoff, mean over users and seeds."""
    lifts: dict[str, Estimate]
    """Relative difference of each metric to the raw log."""
    verdict: str | None
    """What the lift in the main metric means; None for the raw log itself."""
    recovered: Estimate | None
    """Share of the oracle's gain in the main metric; None where there is no oracle to compare with."""


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """What came out of an evaluation."""

    recommender: str
    """The recommender that was trained."""
    users: int
    """Users who were tested."""
    items: int
    """Items of the log."""
    training_interactions: int
    """Interactions to train on, inserted ones included."""
    inserted: int
    """Interactions inserted as noise."""
    recommends_seen: bool
    """Whether items that a user already has could be recommended."""
    seeds: int
    """Trainings on each log."""
    treatments: list[TreatmentResult]
    """The raw log first."""
    rejected: dict[str, int]
    """Rows of the log that could not be used, by reason."""
    skipped: tuple[SkippedFile, ...]
    """Files of the log that were left out."""
    notes: tuple[str, ...] = ()
    """What looks wrong or may surprise in how the log was read."""
    found: tuple[RuleFindings, ...] = ()
    """What the rules have found. What they drop is in no treatment."""

    def __str__(self) -> str:
        """Says how the recommender does on each treatment of the log, and whether cleaning helps."""
        return describe_evaluation(self)

    def tables(self) -> Iterator[Table]:
        """Returns the figures of each treatment."""
        yield _figures(self)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON-able values."""
        return dataclasses.asdict(self)


def describe_evaluation(evaluation: Evaluation) -> str:
    """Says how a recommender does on each treatment of the log, and whether cleaning helps."""
    owned = "can be recommended again" if evaluation.recommends_seen else "are left out"
    inserted = f", {evaluation.inserted:,} of them inserted noise" if evaluation.inserted else ""
    several = evaluation.seeds > 1
    over = (
        f"users and {evaluation.seeds} trainings" if several else "users only; --seeds 3 adds how much trainings differ"
    )
    introduction = [
        f"{evaluation.recommender} trained on {evaluation.training_interactions:,} interactions{inserted}.",
        f"{evaluation.users:,} users' last item ranked among all {evaluation.items:,}; items they have {owned}.",
        f"95% intervals over {over}.",
        *describe_left_out(evaluation.skipped, evaluation.rejected, evaluation.notes),
        *describe_rules(evaluation.found),
    ]
    table = [f"{row[0]:<8}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in _figures(evaluation)]
    ruled = any(found.drops and found.interactions for found in evaluation.found)
    # A share of a gain that may be nothing says nothing.
    gains = any(result.name == ORACLE and result.verdict == "helps" for result in evaluation.treatments)
    words = [_in_words(result, ruled=ruled, oracle_gains=gains) for result in evaluation.treatments]
    return "\n".join([*introduction, "", *table, "", *words])


def _figures(evaluation: Evaluation) -> list[list[str]]:
    """Returns a heading, and a row of figures for each metric, with a column for each treatment."""
    results = evaluation.treatments
    return [
        ["", *(result.name for result in results)],
        ["learnt", *(f"{result.interactions:,}" for result in results)],
        *([metric, *(_figure(result.metrics[metric]) for result in results)] for metric in METRICS),
    ]


def _figure(estimate: Estimate) -> str:
    return f"{estimate.value:.4f}±{max(estimate.high - estimate.value, estimate.value - estimate.low):.4f}"


def _in_words(result: TreatmentResult, *, ruled: bool, oracle_gains: bool) -> str:
    if result.name == RAW:
        return f"{RAW}: {'the log as the rules leave it' if ruled else _MEANINGS[RAW]}"
    line = f"{result.name}: {_MEANINGS[result.name]}"
    line += f"\n  {result.verdict}: {MAIN_METRIC} {percent(result.lifts[MAIN_METRIC], signed=True)} against raw"
    shown = result.recovered if oracle_gains else None
    return line + (f", {percent(shown)} of what the oracle gains" if shown else "")


def percent(estimate: Estimate, *, signed: bool = False) -> str:
    """Writes an estimate and its interval as percentages."""
    if math.isnan(estimate.value):
        return "not defined"
    style = "+z.1%" if signed else "z.1%"  # z: no minus before a zero
    return f"{estimate.value:{style}} [{estimate.low:{style}}, {estimate.high:{style}}]"
