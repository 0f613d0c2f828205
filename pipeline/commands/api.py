"""The Python API: each command as a function of plain keyword arguments, named as the options of the command line.

Importing this module loads neither torch nor Beam; a call does. The command line runs the same functions.
"""

from typing import TYPE_CHECKING

from .command_options import CleanOptions, EmbedOptions, EvaluateOptions, TrainOptions, TuneOptions, VerifyOptions
from .keyword_function import keyword_function

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from ..engines.progress import Progress
    from .clean import CleanResult
    from .embed import EmbedSummary
    from .evaluation import Evaluation
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
