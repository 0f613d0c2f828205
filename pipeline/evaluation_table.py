"""What the evaluate command says when it is done: a table of figures, and plain words on what they mean."""

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..models.bootstrap import Estimate
from ..models.ranking import METRICS
from .evaluate import DROPPED, MAIN_METRIC, ORACLE, RANDOM, RAW, Evaluation, TreatmentResult

_MEANINGS = {
    RAW: "the log as it is",
    DROPPED: "without what iadsr clean drops",
    ORACLE: "without exactly the inserted noise",
    RANDOM: "as many dropped at random",
}


def describe_evaluation(evaluation: Evaluation) -> Group:
    """Says how a recommender does on each treatment of the log, and whether cleaning helps."""
    seen = (
        "everything can be recommended, also what a user has"
        if evaluation.recommends_seen
        else ("what a user already has is not recommended")
    )
    inserted = f", {evaluation.inserted:,} of them inserted noise" if evaluation.inserted else ""
    introduction = (
        f"{evaluation.recommender} on {evaluation.training_interactions:,} interactions{inserted}; "
        f"{evaluation.users:,} users tested on their last item\n"
        f"against all {evaluation.items:,} items ({seen}). 95% intervals over users"
        + (f", mean of {evaluation.seeds} trainings." if evaluation.seeds > 1 else ".")
    )
    words = "\n".join(_verdict(result) for result in evaluation.treatments if result.name == DROPPED)
    return Group(Text(introduction), _table(evaluation), Text(words))


def _table(evaluation: Evaluation) -> Table:
    recovers = any(result.recovered for result in evaluation.treatments)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("trained on")
    table.add_column("interactions", justify="right")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    table.add_column(f"{MAIN_METRIC} against raw", justify="right")
    if recovers:
        table.add_column("of the oracle's gain", justify="right")
    for result in evaluation.treatments:
        lift = "" if result.name == RAW else _percent(result.lifts[MAIN_METRIC], signed=True)
        cells = [f"{result.name}: {_MEANINGS[result.name]}", f"{result.interactions:,}"]
        cells += [f"{result.metrics[metric].value:.4f}" for metric in METRICS]
        table.add_row(*cells, lift, *([_percent(result.recovered) if result.recovered else ""] if recovers else []))
    return table


def _verdict(result: TreatmentResult) -> str:
    line = f"Cleaning: {result.verdict}. {MAIN_METRIC} {_percent(result.lifts[MAIN_METRIC], signed=True)}."
    if result.recovered:
        line += f"\nIt recovers {_percent(result.recovered)} of what removing exactly the inserted noise would gain."
    return line


def _percent(estimate: Estimate, *, signed: bool = False) -> str:
    if estimate.value != estimate.value:
        return "not defined"
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.1%} [{estimate.low:{sign}.1%}, {estimate.high:{sign}.1%}]"
