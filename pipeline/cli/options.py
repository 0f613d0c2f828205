"""The options of the command line, each described once for all commands that have it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ...models.core.errors import UsageError
from ...models.detector.model_config import BackboneName, HeadName
from .config_file import read_config


def _load_config(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        # The doctor looks at what a file asks of clean.
        app: Any = context.find_root().command
        written_for = app.commands["clean"] if context.command.name == "doctor" else None
        context.default_map, context.meta["beam"] = read_config(path, context.command, written_for)
    return path


def _names(text: str) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",") if name.strip()) or None


def _rate(text: str | float) -> float | Literal["auto"]:
    """Reads a drop rate from the command line, or from a configuration file, where it may be a number already."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            "--drop-rate is neither a number nor auto",
            code="OPTION-NUMBER",
            found=repr(text),
            fix="give a share such as 0.05, or auto",
        ) from None


PATHS, COLUMNS, POLICY, RUN = "Input and output", "Columns of the log", "What is dropped", "Running"


MEASURE = "What is measured"


MAX_INT32 = 2**31 - 1


Interactions = Annotated[
    str, typer.Option(help="Interaction log: Parquet file, directory or glob.", rich_help_panel=PATHS)
]


Items = Annotated[str, typer.Option(help="Item catalogue: Parquet file, directory or glob.", rich_help_panel=PATHS)]


Embeddings = Annotated[str, typer.Option(help="Item embeddings written by iadsr embed.", rich_help_panel=PATHS)]


Model = Annotated[str, typer.Option(help="Model directory written by iadsr train.", rich_help_panel=PATHS)]


Output = Annotated[str, typer.Option(help="Directory to write to.", rich_help_panel=PATHS)]


Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result in the output directory.", rich_help_panel=PATHS)
]


UserColumn = Annotated[str, typer.Option(help="User ids: string or integer.", rich_help_panel=COLUMNS)]


ItemColumn = Annotated[str, typer.Option(help="Item ids: string or integer.", rich_help_panel=COLUMNS)]


TimestampColumn = Annotated[
    str,
    typer.Option(help="Times: number of any unit, timestamp, date or ISO 8601 string.", rich_help_panel=COLUMNS),
]


PositionColumn = Annotated[
    str | None,
    typer.Option(
        help="Integers that order a user's interactions of equal time. Without it: by item id, then input order.",
        rich_help_panel=COLUMNS,
    ),
]


Backbone = Annotated[BackboneName, typer.Option(help="Sequential recommender under the model.", rich_help_panel=RUN)]


Head = Annotated[
    HeadName,
    typer.Option(
        help="What decides: agreement, a network trained on inserted noise, or paper, the paper's sum of similarities.",
        rich_help_panel=RUN,
    ),
]


Seed = Annotated[
    int, typer.Option(help="Same data and seed give the same model.", min=0, max=2**63 - 1, rich_help_panel=RUN)
]


# What has a parser of its own is Any to typer, which takes no other union with None.
TextColumns = Annotated[
    Any,
    typer.Option(
        help="Comma-separated text columns to embed. Default: title and category where present, else all text.",
        parser=_names,
        metavar="NAMES",
        rich_help_panel=PATHS,
    ),
]


Encoder = Annotated[
    str,
    typer.Option(help="minilm, smollm2, or a Hugging Face model name or local path.", rich_help_panel=RUN),
]


DropRate = Annotated[
    Any,
    typer.Option(
        help="Drop the share R of all interactions, genuine ones equally safe at every popularity. Default: auto, the "
        "noise that the log holds with some certainty.",
        parser=_rate,
        metavar="R|auto",
        rich_help_panel=POLICY,
    ),
]


Threshold = Annotated[
    float | None,
    typer.Option(
        help="Drop what has at least this noise probability, at any popularity. Instead of --drop-rate.",
        metavar="P",
        rich_help_panel=POLICY,
    ),
]


MinLength = Annotated[
    int,
    typer.Option(help="Never shorten a user below N interactions.", max=MAX_INT32, metavar="N", rich_help_panel=POLICY),
]


KeepLast = Annotated[
    int,
    typer.Option(
        help="Never drop one of a user's last N interactions.", max=MAX_INT32, metavar="N", rich_help_panel=POLICY
    ),
]


Shards = Annotated[
    int | None,
    typer.Option(
        help="Number of user shards. Default: from the size of the log.",
        min=1,
        max=1 << 16,
        metavar="N",
        rich_help_panel=RUN,
    ),
]


Shuffle = Annotated[
    Literal["auto", "claim-check", "bytes"],
    typer.Option(
        help="How data moves between workers. claim-check: by files in the output directory.",
        rich_help_panel=RUN,
    ),
]


OnBadFile = Annotated[
    Literal["fail", "skip"],
    typer.Option(
        help="A file that cannot be used: fail, or skip it and say so. Where only some row groups of it cannot be "
        "read, skip rejects their rows.",
        rich_help_panel=RUN,
    ),
]


MaxRejected = Annotated[
    float,
    typer.Option(
        help="Stop when more than this share of rows is unusable.", min=0, max=1, metavar="SHARE", rich_help_panel=RUN
    ),
]


ReportUsers = Annotated[
    Literal["none", "hashed", "plain"],
    typer.Option(help="Users in the report's examples; hashed: under pseudonyms of this run.", rich_help_panel=RUN),
]


Join = Annotated[
    Literal["auto", "broadcast", "shuffle"],
    typer.Option(
        help="How items meet their vectors: broadcast (a copy on every machine), shuffle (each machine gets what it "
        "needs), or auto: shuffle from 64 GiB on.",
        rich_help_panel=RUN,
    ),
]


Config = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with option values; flags win. Beam's options go under beam:.",
        is_eager=True,
        callback=_load_config,
        rich_help_panel=RUN,
    ),
]
