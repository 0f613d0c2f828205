"""The options of each command. The command line and the Python API are derived from these dataclasses.

The command line imports this module before it knows what is asked, so it imports nothing heavy.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from ...models.core.errors import UsageError
from ...models.core.option import MAX_INT32, MAX_INT64, MEASURE, PATHS, RULES, RUN, check_options, option, shared
from ...models.detector.model_config import BackboneName, HeadName
from ...models.encoders.packaged import DEFAULT_ENCODER
from ...transforms.contract.added_columns import AddedColumns
from ...transforms.contract.columns import InteractionColumns
from ...transforms.export.format_names import FormatName
from ...transforms.judge.policy import Policy
from ...transforms.read.log_source import LogSource
from ...transforms.rules.rule_options import RuleOptions
from ...transforms.run.pseudonyms import ReportUsers
from ..engines.engine_options import EngineOptions

MAX_SHARDS = 1 << 16

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,199}")


class _Checked:
    """A dataclass of options: values that an option does not take are refused."""

    def __post_init__(self):
        check_options(self)


@dataclass(frozen=True)
class EmbedOptions(_Checked):
    """What `iadsr embed` is asked to do."""

    items: str = option(help="Item catalogue: Parquet file, directory or glob.", panel=PATHS)
    output: str = option(help="Directory to write to.", panel=PATHS)
    text_columns: tuple[str, ...] | None = option(
        None,
        help="Comma-separated text columns to embed. Default: title and category if they exist, else all text columns.",
        panel=PATHS,
        metavar="NAMES",
    )
    item_column: str = shared(InteractionColumns, "item", panel=PATHS)
    encoder: str = option(
        DEFAULT_ENCODER,
        help="minilm, e5 (100 languages), smollm2, or a Hugging Face model name or local path.",
        panel=RUN,
    )


@dataclass(frozen=True)
class TrainOptions(_Checked):
    """What `iadsr train` is asked to do."""

    log: LogSource
    """Log to learn from."""
    embeddings: str = option(help="Item embeddings written by iadsr embed.", panel=PATHS)
    output: str = shared(EmbedOptions, "output")
    overwrite: bool = option(False, help="Replace an earlier result in the output directory.", panel=PATHS)
    hold_out: int = option(
        0,
        help="Learn nothing from the last N interactions of each user. Give what iadsr clean is given.",
        panel=RUN,
        minimum=0,
        maximum=MAX_INT32,
        metavar="N",
    )
    rules: RuleOptions = field(default_factory=RuleOptions)
    """What rules take from the log. The model learns nothing from it."""
    backbone: BackboneName = option("gru4rec", help="Sequential recommender that the model is built on.", panel=RUN)
    head: HeadName = option(
        "agreement",
        help="What decides. agreement: a network trained on inserted noise. paper: the paper's sum of similarities.",
        panel=RUN,
    )
    seed: int = option(
        0, help="Same data and seed give the same model.", panel=RUN, minimum=0, maximum=MAX_INT64, metavar="N"
    )
    users: int = option(
        200_000,
        help="If the log has more users, train the net on so many of them, chosen by a hash of their ids. Which items "
        "users have together is counted from all.",
        panel=RUN,
        minimum=1,
        metavar="N",
    )
    from_: str | None = option(
        None,
        help="Start from a model of an earlier part of this log, written by iadsr train with the same options. Much "
        "faster if the log has grown a little.",
        panel=PATHS,
        metavar="MODEL",
    )
    workers: int | None = option(
        None,
        help="Threads. Default: one for each core. The model does not depend on it.",
        panel=RUN,
        minimum=1,
        metavar="N",
    )


@dataclass(frozen=True)
class CleanOptions(_Checked):
    """What `iadsr clean` is asked to do."""

    log: LogSource
    """Log to clean."""
    output: str | None = shared(EmbedOptions, "output", default=None)
    dataset: str | None = option(
        None,
        help="Dataset directory: write the run to DIR/run=ID, check it against the run that DIR/LATEST names, and move "
        "LATEST to it if no gate fails.",
        panel=PATHS,
        metavar="DIR",
        instead_of="output",
    )
    run_id: str | None = option(
        None,
        help="ID of the run in --dataset, such as the date that a scheduler cleans. Default: the time of the start.",
        panel=PATHS,
        metavar="ID",
    )
    gates: str | None = option(
        None, help="YAML file with other bounds: drop_rate: {warn: 0.1, fail: 0.2}, or drop_rate: off.", panel=PATHS
    )
    keep_runs: int | None = option(
        None,
        help="Delete older published runs, so that N are left. Runs that were not published stay.",
        panel=RUN,
        minimum=1,
        metavar="N",
    )
    embeddings: str | None = shared(TrainOptions, "embeddings", default=None)
    model: str | None = option(None, help="Model directory written by iadsr train.", panel=PATHS)
    rules_only: bool = option(
        False, help="Clean by the rules alone, without a model: no --model and no --embeddings.", panel=RULES
    )
    overwrite: bool = shared(TrainOptions, "overwrite")
    added: AddedColumns = field(default_factory=AddedColumns)
    """Names of the columns that cleaning adds."""
    rules: RuleOptions = field(default_factory=RuleOptions)
    """What is dropped without a model."""
    policy: Policy = field(default_factory=Policy)
    """What is dropped, and what is protected."""
    hold_out: int = shared(
        TrainOptions,
        "hold_out",
        help="Set the last N interactions of each user aside to test recommenders. They are not judged and always "
        "kept, and nothing is decided by them. A column split says train, validation or test. 2 is usual.",
    )
    shards: int | None = option(
        None,
        help="Number of user shards. Default: from the size of the log.",
        panel=RUN,
        minimum=1,
        maximum=MAX_SHARDS,
        metavar="N",
    )
    shuffle: Literal["auto", "claim-check", "bytes"] = option(
        "auto",
        help="How rows move between workers. claim-check: in files in the output directory. bytes: through the runner. "
        "auto: claim-check if the output is on a file system, bytes if it is in an object store.",
        panel=RUN,
    )
    join: Literal["auto", "broadcast", "shuffle"] = option(
        "auto",
        help="How items meet their vectors. broadcast: every machine gets a copy of all. shuffle: each machine gets "
        "what it needs. auto: shuffle from 64 GiB on.",
        panel=RUN,
    )
    engine: EngineOptions = field(default_factory=EngineOptions)
    """What runs the pipeline."""
    report_users: ReportUsers = option(
        "hashed",
        help="How the report names its example users. hashed: by pseudonyms of this run only. plain: by their ids.",
        panel=RUN,
    )

    def __post_init__(self):
        """Refuses values out of range, a model or its options where none is asked, and none where one is."""
        super().__post_init__()
        self._check_place()
        models = {name: getattr(self, name) for name in ("embeddings", "model")}
        useless = {name: value for name, value in models.items() if value is not None}
        for each in dataclasses.fields(Policy):
            if (value := getattr(self.policy, each.name)) != each.default:
                useless["policy" if each.name == "file" else each.name] = value
        if self.rules_only and useless:
            name, value = next(iter(useless.items()))
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"--rules-only asks no model, so {flag} is of no use",
                code="OPTION-RULES-ONLY",
                found=f"{flag} {value}",
                fix=f"leave out {flag} or --rules-only",
            )
        missing = [name for name, value in models.items() if value is None]
        if not self.rules_only and missing:
            raise UsageError(
                f"--{missing[0]} is missing",
                code="OPTION-MISSING",
                expected="--embeddings and --model, or --rules-only",
                fix=f"give --{missing[0]}, or clean by the rules alone with --rules-only",
            )

    def _check_place(self):
        if self.output is None and self.dataset is None:
            raise UsageError(
                "Nothing says where to write to",
                code="OPTION-PLACE",
                expected="--output, or --dataset for runs side by side",
                fix="give --output DIR or --dataset DIR",
            )
        of_datasets = {name: getattr(self, name) for name in ("run_id", "gates", "keep_runs")}
        useless = [name for name, value in of_datasets.items() if value is not None and self.dataset is None]
        if useless:
            flag = f"--{useless[0].replace('_', '-')}"
            raise UsageError(
                f"{flag} needs --dataset",
                code="OPTION-DATASET",
                found=f"{flag} {of_datasets[useless[0]]} with --output",
                fix=f"give --dataset DIR in place of --output, or leave out {flag}",
            )
        if self.run_id is not None and not RUN_ID.fullmatch(self.run_id):
            raise UsageError(
                "--run-id cannot be the name of a directory everywhere",
                code="OPTION-RUN-ID",
                found=repr(self.run_id),
                expected="letters, digits and . _ : + -, beginning with a letter or a digit, such as 2026-11-28",
                fix="correct --run-id",
            )

    @property
    def place(self) -> str:
        """The output directory, or the dataset directory in which it will lie."""
        return self.output or self.dataset or ""

    @property
    def adds(self) -> dict[str, bool]:
        """What decides which columns are added, as `AddedColumns.written` takes it."""
        return {"scored": not self.rules_only, "split": self.hold_out > 0}

    def recorded(self) -> dict[str, Any]:
        """Returns the options as the manifest records them."""
        values = dataclasses.asdict(self)
        log, _, _ = values.pop("log"), values.pop("added"), values.pop("engine")
        return {
            **values,
            **self.engine.recorded(),
            "interactions": log.pop("path"),
            **log,
            "added_columns": self.added.written(**self.adds),
            **{name: None for name in ("shuffle", "join") if values[name] == "auto"},
        }


@dataclass(frozen=True)
class EvaluateOptions(_Checked):
    """What `iadsr evaluate` is asked to do."""

    log: LogSource
    """Log to evaluate on."""
    embeddings: str = shared(TrainOptions, "embeddings")
    output: str | None = option(None, help="JSON file to write all figures to.", panel=PATHS)
    rules: RuleOptions = field(default_factory=RuleOptions)
    """What rules take from the log before anything is compared."""
    recommender: BackboneName = option("sasrec", help="Recommender whose gain is measured.", panel=MEASURE)
    inject: float | None = option(
        None,
        help="Insert noise first, so that it makes up this share of the log. Cleaning is then compared with removing "
        "exactly that noise.",
        panel=MEASURE,
        above=0,
        below=1,
        metavar="R",
    )
    seeds: int = option(
        3,
        help="Number of times that the recommender is trained on each log; figures are means.",
        panel=MEASURE,
        minimum=1,
        metavar="N",
    )
    backbone: BackboneName = shared(TrainOptions, "backbone")
    seed: int = shared(TrainOptions, "seed")
    workers: int | None = shared(
        TrainOptions,
        "workers",
        help="Threads: so many recommenders are trained at once. Default: one for each core. No figure depends on it.",
    )


@dataclass(frozen=True)
class TuneOptions(_Checked):
    """What `iadsr tune` is asked to do."""

    log: LogSource
    """Log to tune for."""
    embeddings: str = shared(TrainOptions, "embeddings")
    output: str = option("policy.yaml", help="YAML file to write the policy to.", panel=PATHS)
    rules: RuleOptions = field(default_factory=RuleOptions)
    """What rules take from the training part of the log."""
    recommender: BackboneName = shared(EvaluateOptions, "recommender", help="Recommender that the policy is to help.")
    seeds: int = shared(
        EvaluateOptions,
        "seeds",
        help="Number of times that the recommender is trained on the log as it is and on each of the best policies.",
    )
    max_users: int = option(
        50_000,
        help="If the log has more users, tune on so many of them, chosen by a hash of their ids.",
        panel=MEASURE,
        minimum=1,
        metavar="N",
    )
    backbone: BackboneName = shared(TrainOptions, "backbone")
    seed: int = shared(TrainOptions, "seed")
    workers: int | None = shared(EvaluateOptions, "workers")


@dataclass(frozen=True)
class VerifyOptions(_Checked):
    """What `iadsr verify` is asked to check."""

    output: str = option(help="Directory that iadsr clean has written.", panel=PATHS, positional=True)


@dataclass(frozen=True)
class CheckOptions(_Checked):
    """What `iadsr check` is asked to look at."""

    run: str = option(help="Directory that iadsr clean has written.", panel=PATHS, positional=True)
    against: str | None = option(None, help="An earlier run to compare with.", panel=PATHS, metavar="DIR")
    gates: str | None = shared(CleanOptions, "gates")
    output: str | None = shared(EvaluateOptions, "output", help="JSON file to write the result to.")


@dataclass(frozen=True)
class DiffOptions(_Checked):
    """What `iadsr diff` is asked to compare."""

    earlier: str = option(help="Directory of the earlier run.", panel=PATHS, positional=True)
    later: str = option(help="Directory of the later run.", panel=PATHS, positional=True)
    output: str | None = shared(EvaluateOptions, "output", help="JSON file to write the result to.")
    rows: str | None = option(
        None, help="Parquet file to write each row to that changed, with its user and why.", panel=PATHS, metavar="FILE"
    )


@dataclass(frozen=True)
class PublishOptions(_Checked):
    """What `iadsr publish` is asked to do."""

    run: str = shared(CheckOptions, "run", help="Run in a dataset directory, such as dataset/run=2026-11-28.")
    gates: str | None = shared(CheckOptions, "gates")
    keep_runs: int | None = shared(CleanOptions, "keep_runs")


@dataclass(frozen=True)
class MetricsOptions(_Checked):
    """What `iadsr metrics` is asked to tell."""

    run: str = shared(CheckOptions, "run")
    format: Literal["prometheus", "openlineage"] = option(
        help="prometheus: text file for node exporter's textfile collector. openlineage: events, one a line.",
        panel=PATHS,
    )
    output: str | None = shared(EvaluateOptions, "output", help="File to write to. Default: the standard output.")
    name: str | None = option(
        None,
        help="What is cleaned: the label dataset of each metric, and part of the job's name in events. Default: the "
        "name of the dataset directory, or of the run's directory if it is in none.",
        panel=RUN,
    )
    against: str | None = shared(
        CheckOptions,
        "against",
        help="An earlier run to compare with. Default: the one before in the dataset directory.",
    )
    gates: str | None = shared(CheckOptions, "gates")


@dataclass(frozen=True)
class ExportOptions(_Checked):
    """What `iadsr export` is asked to do."""

    run: str = option(help="Directory that iadsr clean has written.", panel=PATHS, positional=True)
    format: FormatName = option(help="Library that is to read it.", panel=PATHS)
    output: str = shared(EmbedOptions, "output")
    ids: str | None = option(
        None,
        help="Earlier export whose numbers for users and items are kept, for formats in which ids are numbers.",
        panel=PATHS,
    )
    overwrite: bool = shared(TrainOptions, "overwrite", help="Replace an earlier export in the output directory.")


@dataclass(frozen=True)
class DoctorOptions(_Checked):
    """What `iadsr doctor` is asked to look at; what is None is not looked at."""

    interactions: str | None = shared(LogSource, "path", default=None, help="Log to check.")
    items: str | None = shared(EmbedOptions, "items", default=None, help="Item catalogue to check.")
    embeddings: str | None = shared(TrainOptions, "embeddings", default=None, help="Item embeddings to check.")
    model: str | None = shared(CleanOptions, "model", default=None, help="Model directory to check.")
    output: str | None = shared(EmbedOptions, "output", default=None, help="Directory that a run would write to.")
    columns: InteractionColumns = field(default_factory=InteractionColumns)
    """Names of the log's columns. The item column of the catalogue has the same name as that of the log."""
    added: AddedColumns = field(default_factory=AddedColumns)
    """Names of the columns that cleaning adds."""
    rules_only: bool = shared(CleanOptions, "rules_only", help="Look at what a run of the rules alone would do.")
    rules: RuleOptions = field(default_factory=RuleOptions)
    """Rules that a run would apply."""
    text_columns: tuple[str, ...] | None = shared(EmbedOptions, "text_columns")
    shards: int | None = shared(CleanOptions, "shards")
    on_bad_file: Literal["fail", "skip"] = shared(LogSource, "on_bad_file")
    engine: EngineOptions = field(default_factory=EngineOptions)
    """What would run the pipeline."""

    @property
    def log(self) -> LogSource | None:
        """The log to check."""
        return LogSource(self.interactions, self.columns, self.on_bad_file) if self.interactions is not None else None


@dataclass(frozen=True)
class DemoOptions(_Checked):
    """What `iadsr demo` is asked to do."""

    output: str = shared(EmbedOptions, "output", default="demo")
    interactions: str | None = shared(
        LogSource, "path", default=None, help="Your own log instead of MovieLens-100K; with --items."
    )
    items: str | None = shared(
        EmbedOptions, "items", default=None, help="Your own item catalogue; with --interactions."
    )
    columns: InteractionColumns = field(default_factory=InteractionColumns)
    """Names of the log's columns. The item column of the catalogue has the same name as that of the log."""
    added: AddedColumns = field(default_factory=AddedColumns)
    """Names of the columns that cleaning adds."""
    text_columns: tuple[str, ...] | None = shared(EmbedOptions, "text_columns")
    encoder: str = shared(EmbedOptions, "encoder")
    backbone: BackboneName = shared(TrainOptions, "backbone")
    seed: int = shared(TrainOptions, "seed")
