"""Makes the commands of the command line from the dataclasses of their options."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer

from ...models.core.errors import UsageError
from ...models.core.option import RUN, Option, options_of
from ..commands.keyword_function import build_options
from ..engines.beam_flags import flags_from_config, refuse_unknown
from .command_log import LOG_FORMAT, LogFormat, choose_log, show_libraries

SETTINGS = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": ["-h", "--help"],
    # --drop_rate is taken for --drop-rate. Flags that no command knows go to Beam as they were written.
    "token_normalize_func": lambda name: name.replace("_", "-"),
}

BEAM = (
    "Options that are not listed go to Apache Beam: --runner, --direct_num_workers and the rest of its PipelineOptions."
)

VERBOSE = Option(
    name="verbose",
    type=bool,
    default=False,
    help="Show logs, and a stack trace if there is a bug.",
    panel=RUN,
)


def add_command(
    app: typer.Typer,
    name: str,
    help: str,
    options_class: type,
    run: Callable[[Any, list[str], list[str]], None],
    config_of: type | None = None,
) -> None:
    """Adds a command to the command line.

    Args:
        app: The command line.
        name: Name of the command.
        help: What it does: a sentence, and paragraphs after an empty line.
        options_class: Dataclass of its options.
        run: Runs it. Called with the options, the flags that go to Beam, and the flags that are the command's own.
        config_of: Dataclass of another command's options. A configuration file of that command is taken as well;
            options that only the other command has are checked and then ignored.
    """
    declared = options_of(options_class)
    own = [each.flag for each in declared.values() if not each.positional] + ["--config", LOG_FORMAT.flag, VERBOSE.flag]
    in_files = {each.name: each for each in (*declared.values(), LOG_FORMAT, VERBOSE) if not each.positional}
    others = options_of(config_of) if config_of else {}

    def load_config(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None:
            from .config_file import read_config  # loads yaml

            context.default_map, context.meta["beam"] = read_config(path, name, in_files, others)
        return path

    def command(context: typer.Context, **values: Any) -> None:
        try:
            options = build_options(options_class, _given(context, declared, values))
        except UsageError as error:
            if error.what.split(" ")[0] in _flags_of_file(context, declared):
                raise error.found_in(f"in the file {values['config']}") from error
            raise
        refuse_unknown(context.args, own)
        # Beam takes the last of two flags of one name, so flags of the command line come after those of the file.
        run(options, [*flags_from_config(context.meta.get("beam", {})), *context.args], own)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("context", keyword, annotation=typer.Context),
        *(_parameter(each) for each in declared.values()),
        inspect.Parameter("config", keyword, default=None, annotation=_config(load_config)),
        inspect.Parameter(LOG_FORMAT.name, keyword, default=LOG_FORMAT.default, annotation=_LOG_FORMAT),
        inspect.Parameter(VERBOSE.name, keyword, default=VERBOSE.default, annotation=_VERBOSE),
    ]
    command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {}
    app.command(name, help=help, context_settings=SETTINGS, epilog=BEAM)(command)


def _given(context: typer.Context, declared: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that the user has given. A flag replaces a value of the file that excludes it."""
    sources = {name: source.name for name in declared if (source := context.get_parameter_source(name))}
    given = {name: values[name] for name in declared if sources.get(name) != "DEFAULT" and values[name] is not None}
    for each in declared.values():
        pair = (each.name, each.instead_of)
        if each.instead_of in given and each.name in given and len({sources[name] for name in pair if name}) == 2:
            del given[next(name for name in pair if name and sources[name] != "COMMANDLINE")]
    return given


def _flags_of_file(context: typer.Context, declared: Mapping[str, Option]) -> set[str]:
    """Returns the options whose values come from the configuration file."""
    sources = {each.flag: context.get_parameter_source(name) for name, each in declared.items()}
    return {flag for flag, source in sources.items() if source is not None and source.name == "DEFAULT_MAP"}


def _parameter(declared: Option) -> inspect.Parameter:
    default = inspect.Parameter.empty if declared.required else declared.default
    return inspect.Parameter(declared.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_type(declared))


def _type(declared: Option) -> Any:
    """Returns a type with the description that typer reads."""
    if declared.positional:
        return Annotated[declared.type, typer.Argument(help=declared.help)]
    kinds = declared.kinds
    parser = None
    if any(get_origin(kind) is tuple for kind in kinds):
        parser = _names
    elif float in kinds and any(isinstance(kind, str) for kind in kinds):
        parser = _number_or_word
    info = typer.Option(
        declared.flag,
        help=declared.help,
        metavar=" ".join(filter(None, (declared.metavar, f"[{declared.range}]" if str(declared.range) else "")))
        or None,
        parser=parser,
        rich_help_panel=declared.panel,
    )
    # typer takes no such unions. A type with a parser is Any to it.
    return Annotated[Any if parser else declared.type, info]


def _names(text: str | tuple[str, ...]) -> tuple[str, ...] | None:
    if isinstance(text, tuple):  # from a configuration file
        return text
    return tuple(name.strip() for name in text.split(",") if name.strip()) or None


def _number_or_word(text: str | float) -> float | str:
    """Reads a number; words are checked later, as any value."""
    try:
        return float(text)
    except ValueError:
        return str(text)


def _config(load: Callable[[typer.Context, Path | None], Path | None]) -> Any:
    return Annotated[
        Path | None,
        typer.Option(
            help="YAML file with option values. Flags win over it. Options of Beam go under beam:.",
            is_eager=True,
            callback=load,
            rich_help_panel=RUN,
        ),
    ]


_LOG_FORMAT = Annotated[
    LogFormat,
    typer.Option(
        LOG_FORMAT.flag, help=LOG_FORMAT.help, is_eager=True, callback=choose_log, rich_help_panel=LOG_FORMAT.panel
    ),
]
_VERBOSE = Annotated[
    bool,
    typer.Option(
        VERBOSE.flag, "-v", help=VERBOSE.help, is_eager=True, callback=show_libraries, rich_help_panel=VERBOSE.panel
    ),
]
