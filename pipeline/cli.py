"""The command line. Nothing heavy is imported before a command needs it, so that help and mistakes answer at once."""

import logging
import os
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from ..models.errors import ConservationError, IadsrError, UsageError
from .beam_flags import refuse_unknown
from .config import read_config

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

EXIT_INPUT, EXIT_USAGE, EXIT_CONSERVATION, EXIT_BUG, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

_BEAM = (
    "Options that are not listed go to Apache Beam: --runner, --direct_num_workers and the rest of its PipelineOptions."
)
_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="iadsr",
    help="Clean recommender training data: score, explain and remove noisy interactions.\n\n"
    "Three steps: [bold]embed[/bold] the item texts, [bold]train[/bold] a noise detector on the log, "
    "[bold]clean[/bold] the log with it. [bold]demo[/bold] does all three on MovieLens-100K or on your own files. "
    "[bold]evaluate[/bold] says whether it helps a recommender on your log.",
    epilog="Exit codes: 0 done, 1 unusable input, 2 wrong usage, 3 rows do not add up, 4 a bug of ours.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# No markup: paths may hold brackets.
_out, _err = Console(highlight=False, soft_wrap=True, markup=False), Console(stderr=True, highlight=False)
_verbose = False


def _load_config(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        context.default_map, context.meta["beam"] = read_config(path, context.command)
    return path


def _set_verbose(value: bool) -> bool:
    global _verbose
    _verbose = value
    # Beam and transformers log much that is of no use to a user; what matters reaches them as our own messages.
    logging.basicConfig(level=logging.INFO if value else logging.CRITICAL, force=True)
    return value


_PATHS, _COLUMNS, _POLICY, _RUN = "Input and output", "Columns of the log", "What is dropped", "Running"
_MEASURE = "What is measured"
Interactions = Annotated[
    str, typer.Option(help="Interaction log: Parquet file, directory or glob.", rich_help_panel=_PATHS)
]
Items = Annotated[str, typer.Option(help="Item catalogue: Parquet file, directory or glob.", rich_help_panel=_PATHS)]
Embeddings = Annotated[str, typer.Option(help="Item embeddings written by iadsr embed.", rich_help_panel=_PATHS)]
Model = Annotated[str, typer.Option(help="Model directory written by iadsr train.", rich_help_panel=_PATHS)]
Output = Annotated[str, typer.Option(help="Directory to write to.", rich_help_panel=_PATHS)]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result in the output directory.", rich_help_panel=_PATHS)
]
UserColumn = Annotated[str, typer.Option(help="User ids: string or integer.", rich_help_panel=_COLUMNS)]
ItemColumn = Annotated[str, typer.Option(help="Item ids: string or integer.", rich_help_panel=_COLUMNS)]
TimestampColumn = Annotated[
    str,
    typer.Option(help="Times: number of any unit, timestamp, date or ISO 8601 string.", rich_help_panel=_COLUMNS),
]
PositionColumn = Annotated[
    str | None,
    typer.Option(
        help="Integers that order a user's interactions of equal time. Without it: by item id, then input order.",
        rich_help_panel=_COLUMNS,
    ),
]
Backbone = Annotated[
    str, typer.Option(help="Sequential recommender under the model: gru4rec, sasrec or caser.", rich_help_panel=_RUN)
]
Head = Annotated[
    str,
    typer.Option(
        help="What decides: agreement, a network trained on inserted noise, or paper, the paper's sum of similarities.",
        rich_help_panel=_RUN,
    ),
]
Seed = Annotated[int, typer.Option(help="Same data and seed give the same model.", rich_help_panel=_RUN)]
TextColumns = Annotated[
    str | None,
    typer.Option(
        help="Comma-separated text columns to embed. Default: title and category where present, else all text.",
        rich_help_panel=_PATHS,
    ),
]
Encoder = Annotated[
    str,
    typer.Option(help="minilm, smollm2, or a Hugging Face model name or local path.", rich_help_panel=_RUN),
]
DropRate = Annotated[
    str | None,
    typer.Option(
        help="Drop the share R of all interactions, genuine ones equally safe at every popularity. Default: auto, the "
        "noise that the log holds with some certainty.",
        metavar="R|auto",
        rich_help_panel=_POLICY,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Drop what has at least this noise probability, at any popularity. Instead of --drop-rate.",
        metavar="P",
        rich_help_panel=_POLICY,
    ),
]
MinLength = Annotated[
    int, typer.Option(help="Never shorten a user below N interactions.", metavar="N", rich_help_panel=_POLICY)
]
KeepLast = Annotated[
    int, typer.Option(help="Never drop one of a user's last N interactions.", metavar="N", rich_help_panel=_POLICY)
]
Shards = Annotated[
    int | None,
    typer.Option(
        help="Number of user shards. Default: from the size of the log.", min=1, metavar="N", rich_help_panel=_RUN
    ),
]
Shuffle = Annotated[
    str,
    typer.Option(
        help="How data moves between workers: claim-check (files in the output directory), bytes, or auto.",
        rich_help_panel=_RUN,
    ),
]
Join = Annotated[
    str,
    typer.Option(
        help="How items meet their vectors: broadcast (a copy on every machine), shuffle (each machine gets what it "
        "needs), or auto: shuffle from 64 GiB on.",
        rich_help_panel=_RUN,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with option values; flags win. Beam's options go under beam:.",
        is_eager=True,
        callback=_load_config,
        rich_help_panel=_RUN,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Show logs, and a stack trace if there is a bug.",
        is_eager=True,
        callback=_set_verbose,
        rich_help_panel=_RUN,
    ),
]


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=lambda v: _version(v)),
    ] = False,
) -> None:
    pass


def _version(wanted: bool) -> None:
    if wanted:
        print(f"iadsr {metadata.version('iadsr')}")
        raise typer.Exit


@app.command(context_settings=_SETTINGS, epilog=_BEAM)
def embed(
    context: typer.Context,
    items: Items,
    output: Output,
    text_columns: TextColumns = None,
    item_column: Annotated[str, typer.Option(help="Item ids: string or integer.", rich_help_panel=_PATHS)] = "item_id",
    encoder: Encoder = "minilm",
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Embed the item texts with a language model.

    A second run into the same directory embeds only new and changed items.
    """
    _configure_files(context)
    from .embed import EmbedOptions, embed_catalogue
    from .messages import describe_embedding
    from .progress import Progress

    columns = _names(text_columns)
    options = EmbedOptions(items=items, output=output, text_columns=columns, item_column=item_column, encoder=encoder)
    with Progress(_err).task("Embedding items") as task:
        summary = embed_catalogue(options, task.advance_to)
    _out.print(describe_embedding(summary, output))


@app.command(context_settings=_SETTINGS, epilog=_BEAM)
def train(
    context: typer.Context,
    interactions: Interactions,
    embeddings: Embeddings,
    output: Output,
    overwrite: Overwrite = False,
    user_column: UserColumn = "user_id",
    item_column: ItemColumn = "item_id",
    timestamp_column: TimestampColumn = "timestamp",
    position_column: PositionColumn = None,
    backbone: Backbone = "gru4rec",
    head: Head = "agreement",
    seed: Seed = 0,
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Train a noise detector on a log and its item embeddings."""
    chosen = _choice("--backbone", backbone, ("gru4rec", "sasrec", "caser"))
    decides = _choice("--head", head, ("agreement", "paper"))
    _configure_files(context)
    from ..transforms.schema import InteractionColumns
    from .messages import describe_training
    from .progress import Progress
    from .train import TrainOptions
    from .train import train as run

    columns = InteractionColumns(user_column, item_column, timestamp_column, position_column)
    options = TrainOptions(interactions, embeddings, output, columns, chosen, seed, overwrite, head=decides)
    _out.print(describe_training(run(options, Progress(_err)), output))


@app.command(context_settings=_SETTINGS, epilog=_BEAM)
def clean(
    context: typer.Context,
    interactions: Interactions,
    embeddings: Embeddings,
    model: Model,
    output: Output,
    overwrite: Overwrite = False,
    user_column: UserColumn = "user_id",
    item_column: ItemColumn = "item_id",
    timestamp_column: TimestampColumn = "timestamp",
    position_column: PositionColumn = None,
    drop_rate: DropRate = None,
    threshold: Threshold = None,
    min_length: MinLength = 1,
    keep_last: KeepLast = 0,
    shards: Shards = None,
    shuffle: Shuffle = "auto",
    join: Join = "auto",
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Score every interaction of a log and write it cleaned, with a report."""
    if drop_rate is not None and threshold is not None:
        # One on the command line wins over the other in the file.
        given = {name: _is_flag(context, name) for name in ("drop_rate", "threshold")}
        if given["drop_rate"] == given["threshold"]:
            raise typer.BadParameter("it excludes --threshold: give one of them.", param_hint="--drop-rate")
        drop_rate, threshold = (drop_rate, None) if given["drop_rate"] else (None, threshold)
    rate = _rate(drop_rate)
    chosen = _choice("--shuffle", shuffle, ("auto", "claim-check", "bytes"))
    joined = _choice("--join", join, ("auto", "broadcast", "shuffle"))
    from ..transforms.deciding import Policy
    from ..transforms.schema import InteractionColumns

    columns = InteractionColumns(user_column, item_column, timestamp_column, position_column)
    policy = Policy(rate, threshold, min_length, keep_last)
    beam_options = _configure_files(context)
    from .clean import CleanOptions
    from .clean import clean as run
    from .messages import describe_cleaning
    from .progress import Progress

    options = CleanOptions(
        interactions=interactions,
        embeddings=embeddings,
        model=model,
        output=output,
        columns=columns,
        policy=policy,
        shards=shards,
        shuffle=None if chosen == "auto" else chosen,
        overwrite=overwrite,
        join=None if joined == "auto" else joined,
    )
    manifest = run(options, beam_options, Progress(_err))
    _out.print(describe_cleaning(manifest, output))


@app.command(context_settings=_SETTINGS, epilog=_BEAM)
def demo(
    context: typer.Context,
    output: Output = "demo",
    interactions: Annotated[
        str | None,
        typer.Option(help="Your own log instead of MovieLens-100K; with --items.", rich_help_panel=_PATHS),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(help="Your own item catalogue; with --interactions.", rich_help_panel=_PATHS),
    ] = None,
    user_column: UserColumn = "user_id",
    item_column: ItemColumn = "item_id",
    timestamp_column: TimestampColumn = "timestamp",
    position_column: PositionColumn = None,
    text_columns: TextColumns = None,
    encoder: Encoder = "minilm",
    backbone: Backbone = "gru4rec",
    seed: Seed = 0,
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Embed, train and clean in a row, on MovieLens-100K or on your own files. Replaces an earlier demo."""
    if (interactions is None) != (items is None):
        raise typer.BadParameter("give both, or neither for MovieLens-100K.", param_hint="--interactions and --items")
    chosen = _choice("--backbone", backbone, ("gru4rec", "sasrec", "caser"))
    beam_options = _configure_files(context)
    from ..transforms.schema import InteractionColumns
    from .demo import DemoOptions, run_demo
    from .progress import Progress

    options = DemoOptions(
        output=output,
        interactions=interactions,
        items=items,
        columns=InteractionColumns(user_column, item_column, timestamp_column, position_column),
        text_columns=_names(text_columns),
        encoder=encoder,
        backbone=chosen,
        seed=seed,
    )
    run_demo(options, beam_options, Progress(_err), _out)


@app.command(context_settings=_SETTINGS, epilog=_BEAM)
def evaluate(
    context: typer.Context,
    interactions: Interactions,
    embeddings: Embeddings,
    output: Annotated[
        Path | None, typer.Option(help="JSON file to write all figures to.", rich_help_panel=_PATHS)
    ] = None,
    user_column: UserColumn = "user_id",
    item_column: ItemColumn = "item_id",
    timestamp_column: TimestampColumn = "timestamp",
    position_column: PositionColumn = None,
    recommender: Annotated[
        str,
        typer.Option(help="Recommender whose gain is measured: sasrec, gru4rec or caser.", rich_help_panel=_MEASURE),
    ] = "sasrec",
    inject: Annotated[
        float | None,
        typer.Option(
            help="Insert noise first, so that it makes up this share of the log, and compare with removing exactly it.",
            metavar="R",
            rich_help_panel=_MEASURE,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="Trainings of the recommender on each log; figures are means.", metavar="N", rich_help_panel=_MEASURE
        ),
    ] = 3,
    backbone: Backbone = "gru4rec",
    seed: Seed = 0,
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Measure whether cleaning helps a recommender on your log.

    Keeps each user's last two interactions back, trains the detector on the rest and cleans the rest with it, trains
    a recommender on the log as it is and on the cleaned one, and ranks all items for each user's last interaction.
    """
    chosen = _choice("--recommender", recommender, ("sasrec", "gru4rec", "caser"))
    detector = _choice("--backbone", backbone, ("gru4rec", "sasrec", "caser"))
    beam_options = _configure_files(context)
    from ..transforms.schema import InteractionColumns
    from .evaluate import EvaluateOptions, check_json_output, write_json
    from .evaluate import evaluate as run
    from .evaluation_table import describe_evaluation
    from .progress import Progress

    options = EvaluateOptions(
        interactions=interactions,
        embeddings=embeddings,
        columns=InteractionColumns(user_column, item_column, timestamp_column, position_column),
        recommender=chosen,
        inject=inject,
        seeds=seeds,
        seed=seed,
        backbone=detector,
    )
    if output:
        check_json_output(output)
    evaluation = run(options, beam_options, Progress(_err))
    if output:
        write_json(evaluation, output)
    _out.print(describe_evaluation(evaluation))


def _configure_files(context: typer.Context) -> "PipelineOptions":
    """Parses the flags that are Beam's, and hands them to its file systems too, which may hold credentials there."""
    own = [flag for parameter in context.command.params for flag in parameter.opts if flag.startswith("--")]
    refuse_unknown(context.args, own)
    from apache_beam.io.filesystems import FileSystems

    from .options import beam_options, flags_from_config

    # argparse lets the last one win, so flags from the command line come after those of the file.
    options = beam_options([*flags_from_config(context.meta.get("beam", {})), *context.args], own)
    FileSystems.set_options(options)
    return options


def _is_flag(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _names(text: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else None


def _rate(text: str | None) -> float | Literal["auto"]:
    if text is None or text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor auto.", param_hint="--drop-rate") from None


def _choice(flag: str, value: str, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}.", param_hint=flag)
    return value


def _show_error(error: IadsrError) -> None:
    _err.print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)


def _in_short(error: Exception) -> str:
    """The error without a stack trace; from a worker process Beam brings one text in which the last line names it."""
    text = f"{type(error).__name__}: {error}"
    if "Traceback (most recent call last)" in text:
        text = [line for line in text.splitlines() if line.strip() and not line[0].isspace()][-1]
    return text[:1000]


def main() -> None:
    """Runs the command line and turns every failure into a message and an exit code."""
    logging.basicConfig(level=logging.CRITICAL)
    # Read once, when torch is imported. Threads that spin while they wait make a training several times slower on a
    # machine that has other work, and none faster.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except IadsrError as error:
        _show_error(error)
        special = {ConservationError: EXIT_CONSERVATION, UsageError: EXIT_USAGE}
        sys.exit(special.get(type(error), EXIT_INPUT))
    except KeyboardInterrupt:
        _err.print("Interrupted.")
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        if _verbose:
            traceback.print_exc()
        _err.print(Text.assemble(("Unexpected error: ", "bold red"), _in_short(error)), soft_wrap=True)
        _err.print("This is a bug of ours. Run again with --verbose for the stack trace, and report it, please.")
        sys.exit(EXIT_BUG)
