"""What the evaluate command says when it is done: a table of figures, and plain words on what they mean."""

import math

from ...models.evaluation.bootstrap import Estimate
from ...models.evaluation.ranking import METRICS
from .evaluate import DROPPED, MAIN_METRIC, ORACLE, RANDOM, RAW, WEIGHTED, Evaluation, TreatmentResult
from .messages import describe_left_out

_MEANINGS = {
    RAW: "the log as it is",
    DROPPED: "without what iadsr clean drops",
    WEIGHTED: "by the weights of iadsr clean, and without what weighs 0",
    ORACLE: "without exactly the inserted noise",
    RANDOM: "without as many as weigh 0, whichever",
}


def describe_evaluation(evaluation: Evaluation) -> str:
    """Says how a recommender does on each treatment of the log, and whether cleaning helps."""
    owned = "can be recommended again" if evaluation.recommends_seen else "are left out"
    inserted = f", {evaluation.inserted:,} of them inserted noise" if evaluation.inserted else ""
    several = evaluation.seeds > 1
    over = (
        f"users and {evaluation.seeds} trainings"
        if several
        else "users; how much trainings differ is not in them, with --seeds 3 it is"
    )
    introduction = [
        f"{evaluation.recommender} trained on {evaluation.training_interactions:,} interactions{inserted}.",
        f"{evaluation.users:,} users' last item ranked among all {evaluation.items:,}; items they have {owned}.",
        f"95% intervals over {over}.",
        *describe_left_out(evaluation.skipped, evaluation.rejected),
    ]
    words = [_in_words(result) for result in evaluation.treatments]
    return "\n".join([*introduction, "", *_table(evaluation), "", *words])


def _table(evaluation: Evaluation) -> list[str]:
    results = evaluation.treatments
    rows = [
        ["", *(result.name for result in results)],
        ["learnt", *(f"{result.interactions:,}" for result in results)],
        *([metric, *(_figure(result.metrics[metric]) for result in results)] for metric in METRICS),
    ]
    return [f"{row[0]:<8}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in rows]


def _figure(estimate: Estimate) -> str:
    return f"{estimate.value:.4f}±{max(estimate.high - estimate.value, estimate.value - estimate.low):.4f}"


def _in_words(result: TreatmentResult) -> str:
    line = f"{result.name}: {_MEANINGS[result.name]}"
    if result.name == RAW:
        return line
    line += f"\n  {result.verdict}: {MAIN_METRIC} {_percent(result.lifts[MAIN_METRIC], signed=True)} against raw"
    return line + (f", {_percent(result.recovered)} of what the oracle gains" if result.recovered else "")


def _percent(estimate: Estimate, *, signed: bool = False) -> str:
    if math.isnan(estimate.value):
        return "not defined"
    style = "+z.1%" if signed else "z.1%"  # z: no minus before a zero
    return f"{estimate.value:{style}} [{estimate.low:{style}}, {estimate.high:{style}}]"
