"""The Python API: each command as a function of plain keyword arguments, named as the options of the command line.

Importing this module loads neither torch nor Beam; a call does. The command line runs the same functions.
"""

from typing import TYPE_CHECKING

from .command_options import (
    CheckOptions,
    CleanOptions,
    DiffOptions,
    EmbedOptions,
    EvaluateOptions,
    ExportOptions,
    MetricsOptions,
    PublishOptions,
    TrainOptions,
    TuneOptions,
    VerifyOptions,
)
from .keyword_function import keyword_function

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from ..engines.progress import Progress
    from .check import CheckResult
    from .clean import CleanResult
    from .diff import DiffResult
    from .embed import EmbedSummary
    from .evaluation import Evaluation
    from .export import ExportResult
    from .metrics import MetricsResult
    from .publish import PublishResult
    from .train import TrainSummary
    from .tuning import Tuning
    from .verify import VerifyResult


@keyword_function(EmbedOptions)
def embed(options: EmbedOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "EmbedSummary":
    """Embed the item texts with a language model.

    A second run into the same directory embeds only new and changed items.
    """
    from ..engines.runner import refuse_other_runners
    from .embed import run_embed

    refuse_other_runners("embed", beam_options)
    return run_embed(options, progress)


@keyword_function(TrainOptions)
def train(options: TrainOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "TrainSummary":
    """Train a noise detector on a log and its item embeddings."""
    from ..engines.runner import refuse_other_runners
    from .train import run_train

    refuse_other_runners("train", beam_options)
    return run_train(options, progress)


@keyword_function(CleanOptions)
def clean(options: CleanOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "CleanResult":
    """Score every interaction of a log and write it cleaned, with a report."""
    from .clean import run_clean

    return run_clean(options, beam_options, progress)


@keyword_function(EvaluateOptions)
def evaluate(options: EvaluateOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "Evaluation":
    """Measure whether cleaning helps a recommender on your log.

    Keeps each user's last two interactions back. Trains the detector on the rest, and cleans the rest with it. Then
    trains a recommender on the log as it is and on the cleaned one, and ranks all items for each user's last
    interaction.
    """
    from .evaluate import run_evaluate

    return run_evaluate(options, beam_options, progress)


@keyword_function(TuneOptions)
def tune(options: TuneOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "Tuning":
    """Find the policy of cleaning that helps a recommender most on your log, for clean --policy.

    Keeps each user's last two interactions back, and trains the detector on the rest. Then trains a recommender on the
    log as it is and as each policy leaves it. Each user's last interaction but one chooses the policy. The very last
    one says once what it is worth. If nothing helps, the policy changes nothing.
    """
    from ..engines.runner import refuse_other_runners
    from .tune import run_tune

    refuse_other_runners("tune", beam_options)
    return run_tune(options, progress)


@keyword_function(VerifyOptions)
def verify(options: VerifyOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "VerifyResult":
    """Check a finished run from its files: nothing missing, added or changed, all rows accounted for.

    Input files that are unchanged since the run are read again and compared with the output.
    """
    from .verify import run_verify

    return run_verify(options)


@keyword_function(CheckOptions)
def check(options: CheckOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "CheckResult":
    """Compare a finished run with its gates, alone or against an earlier run, and say whether to train again.

    The command exits with 5 if a gate fails. Warnings do not count.
    """
    from .check import run_check

    return run_check(options)


@keyword_function(DiffOptions)
def diff(options: DiffOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "DiffResult":
    """Say which rows and decisions changed between two finished runs, and why.

    A decision changes because the user has new or removed rows, because the model, the rules or the policy are others,
    or because the rest of the log has moved what a score means.
    """
    from .diff import run_diff

    return run_diff(options)


@keyword_function(PublishOptions)
def publish(options: PublishOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "PublishResult":
    """Let readers take a finished run, if it passes its gates: moves the pointer LATEST beside it to it.

    The run is compared with the one that is published now. If a gate fails, the pointer stays, and the command exits
    with 5.
    """
    from .publish import run_publish

    return run_publish(options)


@keyword_function(MetricsOptions)
def metrics(options: MetricsOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "MetricsResult":
    """Tell the figures of a finished run to Prometheus or OpenLineage, those of its gates among them.

    Of a run that has stopped before its end, an event of OpenLineage says that it has failed.
    """
    from .metrics import run_metrics

    return run_metrics(options)


@keyword_function(ExportOptions)
def export(options: ExportOptions, beam_options: "PipelineOptions", progress: "Progress | None") -> "ExportResult":
    """Write a finished run in the form that a recommender library reads.

    Each user's interactions stay in the order of the run, with its weights and its held-out interactions. A README in
    the output says how to load it.
    """
    from .export import run_export

    return run_export(options, progress)
