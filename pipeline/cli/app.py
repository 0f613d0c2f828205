"""The command line. A command imports what is heavy when it runs, so help and usage errors appear at once."""

import atexit
import functools
import gc
import inspect
import io
import itertools
import os
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from ..commands.api import check, clean, diff, embed, evaluate, export, metrics, publish, train, tune, verify
from ..commands.command_options import CleanOptions, DemoOptions, DoctorOptions
from ..commands.keyword_function import Command, command_of
from .command_log import LOG_FORMAT, choose_log, chosen_log, show_libraries
from .exit_codes import EXIT_GATE, EXIT_INPUT, exit_code_of
from .typer_commands import add_command

app = typer.Typer(
    name="iadsr",
    help="Clean recommender training data: score, explain and remove noisy interactions.\n\n"
    "Three steps: [bold]embed[/bold] the item texts, [bold]train[/bold] a noise detector on the log, "
    "[bold]clean[/bold] the log with it. [bold]demo[/bold] does all three on MovieLens-100K or on your own files. "
    "[bold]evaluate[/bold] says whether it helps a recommender on your log, [bold]tune[/bold] how it helps most. "
    "[bold]export[/bold] writes the result for recommender libraries.",
    epilog="Exit codes: 0 done, 1 unusable input, 2 wrong usage, 3 rows do not add up, 4 a bug of ours, "
    "5 a gate failed, 6 the engine failed, 130 interrupted.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# No markup and no emoji: paths may hold brackets and colons.
_out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def main() -> None:
    """Runs the command line."""
    show_libraries(False)
    if _asks_for_json(sys.argv):
        choose_log("json")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show ± shows its code instead: results are not lost.
        sys.stdout.reconfigure(errors="backslashreplace")
    # torch reads this once, when it is imported. Threads that spin while they wait make training several times slower
    # on a machine that has other work, and are of no help on others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # At the end of the process, a garbage collection would take half a second with torch and Beam, for nothing.
    atexit.register(gc.freeze)
    code = exit_code_of(lambda: app(standalone_mode=False), chosen_log)
    chosen_log().ended(code)
    sys.exit(code)


def _asks_for_json(arguments: list[str]) -> bool:
    """Whether the log is to be JSON. This is known before options are read, as mistakes in them are logged too."""
    words = [word.replace("_", "-") for word in arguments]
    return f"{LOG_FORMAT.flag}=json" in words or (LOG_FORMAT.flag, "json") in itertools.pairwise(words)


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
        from importlib import metadata

        print(f"iadsr {metadata.version('iadsr')}")
        raise typer.Exit


def _run(command: Command, options: Any, flags: list[str], own: list[str]) -> None:
    """Runs a command of the Python API and prints its result."""
    from ..engines.runner import start_beam

    log = chosen_log()
    log.started(command.name)
    result = command.run(options, start_beam(flags, own), log.progress())
    _out.print(str(result))
    log.result(result)
    if not result.passed:
        raise typer.Exit(EXIT_GATE)


def _run_doctor(options: DoctorOptions, flags: list[str], own: list[str]) -> None:
    """Check the installation, and what a run would read, write and need, before a long run.

    Looks at what is named, on the command line or in a configuration file. The file may be one for clean: options that
    only clean has are ignored. Exits with 1 if there is a problem.
    """
    from ..commands.doctor import examine
    from ..commands.messages import describe_findings
    from ..engines.runner import start_beam

    log, healthy = chosen_log(), True
    log.started("doctor")
    for finding in examine(options, start_beam(flags, own)):
        healthy &= finding.healthy
        _out.print(*describe_findings([finding]))
        log.finding(finding)
    if not healthy:
        raise typer.Exit(EXIT_INPUT)


def _run_demo(options: DemoOptions, flags: list[str], own: list[str]) -> None:
    """Embed, train and clean in a row, on MovieLens-100K or on your own files. Replaces an earlier demo."""
    from ..commands.demo import run_demo
    from ..engines.runner import start_beam

    log = chosen_log()
    log.started("demo")
    for result in run_demo(options, start_beam(flags, own), log.progress(), _out):
        _out.print(str(result))
        log.result(result)


def _help(function: Any) -> str:
    return inspect.getdoc(function) or ""


for _function in (embed, train, clean, evaluate, tune, verify, check, diff, publish, metrics, export):
    _command = command_of(_function)
    add_command(app, _command.name, _help(_command.run), _command.options, functools.partial(_run, _command))
add_command(app, "doctor", _help(_run_doctor), DoctorOptions, _run_doctor, config_of=CleanOptions)
add_command(app, "demo", _help(_run_demo), DemoOptions, _run_demo)
