"""The command line. Nothing heavy is imported before a command needs it, so that help and mistakes answer at once."""

import atexit
import gc
import io
import logging
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from ...models.core.errors import UsageError
from ...models.detector.model_config import BackboneName
from ..engines.beam_flags import refuse_unknown
from .exit_codes import EXIT_INPUT, exit_code_of
from .options import (
    MEASURE,
    PATHS,
    RUN,
    Backbone,
    Config,
    DropRate,
    Embeddings,
    Encoder,
    Head,
    Interactions,
    ItemColumn,
    Items,
    Join,
    KeepLast,
    MaxRejected,
    MinLength,
    Model,
    OnBadFile,
    Output,
    Overwrite,
    PositionColumn,
    ReportUsers,
    Seed,
    Shards,
    Shuffle,
    TextColumns,
    Threshold,
    TimestampColumn,
    UserColumn,
)

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


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
    epilog="Exit codes: 0 done, 1 unusable input, 2 wrong usage, 3 rows do not add up, 4 a bug of ours, "
    "130 interrupted.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# No markup and no emoji: paths may hold brackets and colons.
_out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


_err = Console(stderr=True, highlight=False, emoji=False)


def _set_verbose(value: bool) -> bool:
    # Beam and transformers log much that is of no use to a user; what matters reaches them as our own messages.
    logging.basicConfig(level=logging.INFO if value else logging.CRITICAL, force=True)
    return value


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Show logs, and a stack trace if there is a bug.",
        is_eager=True,
        callback=_set_verbose,
        rich_help_panel=RUN,
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
    item_column: Annotated[str, typer.Option(help="Item ids: string or integer.", rich_help_panel=PATHS)] = "item_id",
    encoder: Encoder = "minilm",
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Embed the item texts with a language model.

    A second run into the same directory embeds only new and changed items.
    """
    beam_options = _beam_options(context)
    from ..commands.embed import EmbedOptions, embed_catalogue
    from ..commands.messages import describe_embedding
    from ..engines.progress import Progress
    from ..engines.runner import refuse_other_runners

    refuse_other_runners("embed", beam_options)
    options = EmbedOptions(items, output, text_columns, item_column, encoder)
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
    on_bad_file: OnBadFile = "fail",
    max_rejected: MaxRejected = 0.1,
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Train a noise detector on a log and its item embeddings."""
    beam_options = _beam_options(context)
    from ...transforms.contract.columns import InteractionColumns
    from ..commands.messages import describe_training
    from ..commands.train import TrainOptions
    from ..commands.train import train as run
    from ..engines.progress import Progress
    from ..engines.runner import refuse_other_runners

    refuse_other_runners("train", beam_options)
    columns = InteractionColumns(user_column, item_column, timestamp_column, position_column)
    options = TrainOptions(
        interactions=interactions,
        embeddings=embeddings,
        output=output,
        columns=columns,
        backbone=backbone,
        seed=seed,
        overwrite=overwrite,
        head=head,
        on_bad_file=on_bad_file,
        max_rejected=max_rejected,
    )
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
    on_bad_file: OnBadFile = "fail",
    max_rejected: MaxRejected = 0.1,
    report_users: ReportUsers = "hashed",
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Score every interaction of a log and write it cleaned, with a report."""
    drop_rate, threshold = _one_of(context, drop_rate, threshold)
    from ...transforms.contract.columns import InteractionColumns
    from ...transforms.judge.policy import Policy

    columns = InteractionColumns(user_column, item_column, timestamp_column, position_column)
    policy = Policy(drop_rate, threshold, min_length, keep_last)
    beam_options = _beam_options(context)
    from ..commands.clean import CleanOptions
    from ..commands.clean import clean as run
    from ..commands.messages import describe_cleaning
    from ..engines.progress import Progress

    options = CleanOptions(
        interactions=interactions,
        embeddings=embeddings,
        model=model,
        output=output,
        columns=columns,
        policy=policy,
        shards=shards,
        shuffle=None if shuffle == "auto" else shuffle,
        overwrite=overwrite,
        join=None if join == "auto" else join,
        on_bad_file=on_bad_file,
        report_users=report_users,
        max_rejected=max_rejected,
    )
    manifest = run(options, beam_options, Progress(_err))
    _out.print(describe_cleaning(manifest, output))


@app.command(context_settings=_SETTINGS, epilog=_BEAM)
def doctor(
    context: typer.Context,
    interactions: Annotated[str | None, typer.Option(help="Log to check.", rich_help_panel=PATHS)] = None,
    items: Annotated[str | None, typer.Option(help="Item catalogue to check.", rich_help_panel=PATHS)] = None,
    embeddings: Annotated[str | None, typer.Option(help="Item embeddings to check.", rich_help_panel=PATHS)] = None,
    model: Annotated[str | None, typer.Option(help="Model directory to check.", rich_help_panel=PATHS)] = None,
    output: Annotated[
        str | None, typer.Option(help="Directory that a run would write to.", rich_help_panel=PATHS)
    ] = None,
    user_column: UserColumn = "user_id",
    item_column: ItemColumn = "item_id",
    timestamp_column: TimestampColumn = "timestamp",
    position_column: PositionColumn = None,
    text_columns: TextColumns = None,
    shards: Shards = None,
    on_bad_file: OnBadFile = "fail",
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Check the installation, and what a run would read, write and need, before a long run.

    Looks at what is named, be it here or in a configuration file of clean's, of which it passes over what it does not
    need. Exits with 1 if there is a problem.
    """
    beam_options = _beam_options(context)
    from apache_beam.options.pipeline_options import DirectOptions

    from ...transforms.contract.columns import InteractionColumns
    from ..commands.doctor import DoctorOptions, examine
    from ..commands.messages import describe_findings

    columns = InteractionColumns(user_column, item_column, timestamp_column, position_column)
    workers = beam_options.view_as(DirectOptions).direct_num_workers
    findings = []
    options = DoctorOptions(
        interactions=interactions,
        items=items,
        embeddings=embeddings,
        model=model,
        output=output,
        columns=columns,
        text_columns=text_columns,
        on_bad_file=on_bad_file,
        workers=workers or 1,
        shards=shards,
    )
    for finding in examine(options):
        findings.append(finding)
        _out.print(*describe_findings([finding]))
    if not all(finding.healthy for finding in findings):
        raise typer.Exit(EXIT_INPUT)


@app.command(context_settings=_SETTINGS, epilog=_BEAM)
def verify(
    context: typer.Context,
    output: Annotated[str, typer.Argument(help="Directory that iadsr clean has written.")],
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Check a finished run from its files: nothing missing, added or changed, all rows accounted for.

    Input files that are unchanged since the run are read again, and held against the output.
    """
    _beam_options(context)
    from ...transforms.run.verification import verify_output
    from ..commands.messages import describe_verification

    _out.print(describe_verification(verify_output(output), output))


@app.command(context_settings=_SETTINGS, epilog=_BEAM)
def demo(
    context: typer.Context,
    output: Output = "demo",
    interactions: Annotated[
        str | None,
        typer.Option(help="Your own log instead of MovieLens-100K; with --items.", rich_help_panel=PATHS),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(help="Your own item catalogue; with --interactions.", rich_help_panel=PATHS),
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
        raise UsageError(
            "--interactions and --items belong together",
            code="OPTION-PAIR",
            found="one of them",
            fix="give both, or neither for MovieLens-100K",
        )
    columns = (user_column, item_column, timestamp_column, position_column)
    if interactions is None and (text_columns or columns != ("user_id", "item_id", "timestamp", None)):
        raise UsageError(
            "Columns are named for files of your own",
            code="OPTION-MOVIELENS",
            found="no --interactions and --items",
            fix="name your files too, or no columns for MovieLens-100K",
        )
    beam_options = _beam_options(context)
    from ...transforms.contract.columns import InteractionColumns
    from ..commands.demo import DemoOptions, run_demo
    from ..engines.progress import Progress

    options = DemoOptions(
        output=output,
        interactions=interactions,
        items=items,
        columns=InteractionColumns(*columns),
        text_columns=text_columns,
        encoder=encoder,
        backbone=backbone,
        seed=seed,
    )
    run_demo(options, beam_options, Progress(_err), _out)


@app.command(context_settings=_SETTINGS, epilog=_BEAM)
def evaluate(
    context: typer.Context,
    interactions: Interactions,
    embeddings: Embeddings,
    output: Annotated[
        Path | None, typer.Option(help="JSON file to write all figures to.", rich_help_panel=PATHS)
    ] = None,
    user_column: UserColumn = "user_id",
    item_column: ItemColumn = "item_id",
    timestamp_column: TimestampColumn = "timestamp",
    position_column: PositionColumn = None,
    recommender: Annotated[
        BackboneName, typer.Option(help="Recommender whose gain is measured.", rich_help_panel=MEASURE)
    ] = "sasrec",
    inject: Annotated[
        float | None,
        typer.Option(
            help="Insert noise first, so that it makes up this share of the log, and compare with removing exactly it.",
            metavar="R",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="Trainings of the recommender on each log; figures are means.",
            min=1,
            metavar="N",
            rich_help_panel=MEASURE,
        ),
    ] = 3,
    backbone: Backbone = "gru4rec",
    seed: Seed = 0,
    on_bad_file: OnBadFile = "fail",
    max_rejected: MaxRejected = 0.1,
    config: Config = None,
    verbose: Verbose = False,
) -> None:
    """Measure whether cleaning helps a recommender on your log.

    Keeps each user's last two interactions back, trains the detector on the rest and cleans the rest with it, trains
    a recommender on the log as it is and on the cleaned one, and ranks all items for each user's last interaction.
    """
    beam_options = _beam_options(context)
    from ...transforms.contract.columns import InteractionColumns
    from ..commands.evaluate import EvaluateOptions, check_json_output, write_json
    from ..commands.evaluate import evaluate as run
    from ..commands.evaluation_table import describe_evaluation
    from ..engines.progress import Progress

    options = EvaluateOptions(
        interactions=interactions,
        embeddings=embeddings,
        columns=InteractionColumns(user_column, item_column, timestamp_column, position_column),
        recommender=recommender,
        inject=inject,
        seeds=seeds,
        seed=seed,
        backbone=backbone,
        on_bad_file=on_bad_file,
        max_rejected=max_rejected,
    )
    if output:
        check_json_output(output)
    evaluation = run(options, beam_options, Progress(_err))
    # Hours of work stand behind it: whichever of the two fails, the other is tried.
    try:
        _out.print(describe_evaluation(evaluation))
    finally:
        if output:
            write_json(evaluation, output)


def _beam_options(context: typer.Context) -> "PipelineOptions":
    """Parses the flags that are Beam's, and hands them to its file systems too, which may hold credentials there."""
    own = [flag for parameter in context.command.params for flag in parameter.opts if flag.startswith("--")]
    refuse_unknown(context.args, own)
    from apache_beam.io.filesystems import FileSystems

    from ..engines.runner import beam_options, flags_from_config

    # argparse lets the last one win, so flags from the command line come after those of the file.
    options = beam_options([*flags_from_config(context.meta.get("beam", {})), *context.args], own)
    FileSystems.set_options(options)
    return options


def _one_of(
    context: typer.Context, drop_rate: float | Literal["auto"] | None, threshold: float | None
) -> tuple[float | Literal["auto"], float | None]:
    """Returns the drop rate and the threshold of which one counts: one on the command line wins over one in the file.

    Raises:
        UsageError: Both stand in the same place.
    """
    if drop_rate is None or threshold is None:
        return "auto" if drop_rate is None else drop_rate, threshold
    flags = [_is_flag(context, name) for name in ("drop_rate", "threshold")]
    if flags[0] == flags[1]:
        raise UsageError(
            "--drop-rate excludes --threshold",
            code="OPTION-BOTH",
            found=f"--drop-rate {drop_rate} and --threshold {threshold}",
            fix="give one of them",
        )
    return (drop_rate, None) if flags[0] else ("auto", threshold)


def _is_flag(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def main() -> None:
    """Runs the command line."""
    logging.basicConfig(level=logging.CRITICAL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that knows no ± shows its code: results are not lost for it.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Read once, when torch is imported. Threads that spin while they wait make a training several times slower on a
    # machine that has other work, and none faster.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # What ends with the process need not be searched for garbage first: with torch and Beam that takes half a second.
    atexit.register(gc.freeze)
    sys.exit(exit_code_of(lambda: app(standalone_mode=False), _err))
