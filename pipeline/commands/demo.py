"""The demo command: embed, train and clean in a row."""

import posixpath
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console

from ...models.core.errors import InputError, UsageError
from ...transforms.contract.columns import InteractionColumns
from ...transforms.files.storage import is_local
from ...transforms.judge.policy import Policy
from ...transforms.read.log_source import LogSource
from ..engines.progress import Progress
from ..engines.runner import runs_here
from .clean import refuse_local_output, run_clean
from .command_options import CleanOptions, DemoOptions, EmbedOptions, TrainOptions
from .embed import run_embed
from .movielens import TERMS, fetch_movielens
from .results import Result
from .train import run_train

MOVIELENS_COLUMNS = InteractionColumns(position="position")

DROP_RATE = 0.05
"""Shows what is dropped first. By default `clean` drops only what is noise with some certainty: maybe nothing."""


def run_demo(
    options: DemoOptions, beam_options: PipelineOptions, progress: Progress, out: Console
) -> tuple[Result, Result, Result]:
    """Runs the three commands and returns their results.

    Raises:
        IadsrError: One of the commands raises it, or MovieLens-100K cannot be fetched.
    """
    _check(options)
    # Not joined by Beam, which fails on a file system that it does not know. The first command has a better error.
    embeddings, model, cleaned = (posixpath.join(options.output, name) for name in ("embeddings", "model", "cleaned"))
    if not runs_here(beam_options):
        refuse_local_output(cleaned, beam_options)
    if options.interactions is not None and options.items is not None:
        log, items = LogSource(options.interactions, options.columns), options.items
    else:
        _refuse_remote(options.output)
        with progress.task("Fetching MovieLens-100K"):
            data = fetch_movielens(Path(options.output) / "movielens-100k")
        log, items = LogSource(str(data.interactions), MOVIELENS_COLUMNS), str(data.items)
        out.print(TERMS, style="dim")

    embed = EmbedOptions(
        items,
        embeddings,
        text_columns=options.text_columns,
        item_column=log.columns.item,
        encoder=options.encoder,
    )
    train = TrainOptions(log, embeddings, model, overwrite=True, backbone=options.backbone, seed=options.seed)
    policy = Policy(drop_rate=DROP_RATE)
    clean = CleanOptions(
        log, cleaned, embeddings=embeddings, model=model, overwrite=True, added=options.added, policy=policy
    )
    results = (run_embed(embed, progress), run_train(train, progress), run_clean(clean, beam_options, progress))
    out.print()
    return results


def _check(options: DemoOptions) -> None:
    """Checks that options for the user's own files come with both files.

    Raises:
        UsageError: They do not.
    """
    if (options.interactions is None) != (options.items is None):
        raise UsageError(
            "--interactions and --items belong together",
            code="OPTION-PAIR",
            found="only one of them",
            fix="give both, or neither for MovieLens-100K",
        )
    if options.interactions is None and (options.text_columns or options.columns != InteractionColumns()):
        raise UsageError(
            "Column options are given, but no files of your own",
            code="OPTION-MOVIELENS",
            found="no --interactions and --items",
            fix="name your files too, or no columns for MovieLens-100K",
        )


def _refuse_remote(output: str) -> None:
    if not is_local(output):
        raise InputError(
            "MovieLens-100K is kept in a directory of this machine",
            code="DEMO-REMOTE",
            found=f"--output {output}",
            fix="name a directory of this machine, or give your own --interactions and --items",
        )
