"""The demo command: embed, train and clean in a row."""

import dataclasses
import posixpath
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console

from ...models.core.errors import InputError
from ...models.detector.model_config import BackboneName
from ...transforms.contract.columns import InteractionColumns
from ...transforms.files.storage import is_local
from ...transforms.judge.policy import Policy
from ..engines.progress import Progress
from ..engines.runner import runs_here
from .clean import CleanOptions, clean, refuse_local_output
from .embed import EmbedOptions, embed_catalogue
from .messages import describe_cleaning, describe_embedding, describe_training
from .movielens import TERMS, fetch_movielens
from .train import TrainOptions, train

MOVIELENS_COLUMNS = InteractionColumns(position="position")


DROP_RATE = 0.05
"""Shows what goes first; by default `clean` drops only what is noise with some certainty, which may be nothing."""


@dataclasses.dataclass(frozen=True)
class DemoOptions:
    """What `iadsr demo` is asked to do."""

    output: str
    """Directory for data, embeddings, model and result; an earlier demo in it is replaced."""
    interactions: str | None
    """Log to clean; None: MovieLens-100K."""
    items: str | None
    """Item catalogue; None: MovieLens-100K."""
    columns: InteractionColumns
    """Names of the log's columns."""
    text_columns: tuple[str, ...] | None
    """Catalogue columns to embed; None: the default of `iadsr embed`."""
    encoder: str
    """Name of the text encoder."""
    backbone: BackboneName
    """Backbone of the model."""
    seed: int
    """Seed of the training."""


def run_demo(options: DemoOptions, beam_options: PipelineOptions, progress: Progress, out: Console) -> None:
    """Runs the three commands and says what came out.

    Raises:
        IadsrError: As the three commands do, or MovieLens-100K cannot be fetched.
    """
    # Not joined by Beam, which fails on a file system that it does not know: the first command says so better.
    embeddings, model, cleaned = (posixpath.join(options.output, name) for name in ("embeddings", "model", "cleaned"))
    if not runs_here(beam_options):
        refuse_local_output(cleaned, beam_options)
    columns = options.columns
    interactions, items = options.interactions, options.items
    if interactions is None or items is None:
        _refuse_remote(options.output)
        with progress.task("Fetching MovieLens-100K"):
            data = fetch_movielens(Path(options.output) / "movielens-100k")
        interactions, items, columns = str(data.interactions), str(data.items), MOVIELENS_COLUMNS
        out.print(TERMS, style="dim")

    embed_options = EmbedOptions(
        items=items,
        output=embeddings,
        text_columns=options.text_columns,
        item_column=columns.item,
        encoder=options.encoder,
    )
    with progress.task("Embedding items") as task:
        embedding_summary = embed_catalogue(embed_options, task.advance_to)
    training_summary = train(
        TrainOptions(
            interactions, embeddings, model, columns, backbone=options.backbone, seed=options.seed, overwrite=True
        ),
        progress,
    )
    policy = Policy(drop_rate=DROP_RATE)
    manifest = clean(
        CleanOptions(interactions, embeddings, model, cleaned, columns, policy, overwrite=True), beam_options, progress
    )
    out.print()
    out.print(describe_embedding(embedding_summary, embeddings))
    out.print(describe_training(training_summary, model))
    out.print(describe_cleaning(manifest, cleaned))


def _refuse_remote(output: str) -> None:
    if not is_local(output):
        raise InputError(
            "MovieLens-100K is kept in a directory of this machine",
            code="DEMO-REMOTE",
            found=f"--output {output}",
            fix="name a directory of this machine, or give your own --interactions and --items",
        )
