"""Beam's own flags: which are known, which runner they name, and which of them lose data."""

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from ...models.core.errors import UsageError
from .beam_flags import known_flags, no_such_option

_LOCAL_RUNNERS = {"direct", "directrunner", "fnapirunner", "bundlebaseddirectrunner", "switchingdirectrunner"}
"""In small letters, as Beam does not tell these from capital ones."""


def refuse_other_runners(command: str, options: PipelineOptions) -> None:
    """Checks that no runner is named for a command that does all of its work on this machine.

    Raises:
        UsageError: One is.
    """
    if not runs_here(options):
        raise UsageError(
            f"{command} runs on this machine alone",
            code="BEAM-HERE",
            found=f"--runner={options.view_as(StandardOptions).runner}",
            expected="no other runner: its input has to fit into the memory of this machine",
            fix="leave out --runner, or give it a sample of the users",
        )


def beam_options(flags: list[str], own: Iterable[str] = ()) -> PipelineOptions:
    """Parses flags that are not ours as Beam's.

    Args:
        flags: Command line arguments such as `--runner=SparkRunner`.
        own: The command's own options such as `--drop-rate`, to suggest to those who misspell one.

    Raises:
        UsageError: Beam does not know a flag either, or the flags ask for a mode that loses rows.
    """
    usage, parsers = io.StringIO(), []
    try:
        with contextlib.redirect_stderr(usage):
            options = PipelineOptions(flags)
            known = options.get_all_options(add_extra_args_fn=parsers.append)
            _, left = parsers[0].parse_known_args(flags)
    except SystemExit as error:
        raise UsageError(
            "Beam cannot read its options",
            code="BEAM-OPTIONS",
            found=usage.getvalue().strip().rpartition("error: ")[2] or " ".join(flags),
            fix="give Beam flags as --name=value; see Beam's documentation of PipelineOptions",
        ) from error
    for word in left:
        if word.startswith("-"):
            raise no_such_option(word.split("=")[0], own, (f"--{name}" for name in known))
        raise UsageError(
            f"Unexpected argument: {word}",
            code="OPTION-STRAY",
            found=word,
            fix="every input is named by an option; see --help",
        )

    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode == "multi_threading":
        raise UsageError(
            "Beam's multi_threading mode loses rows and is refused",
            code="BEAM-THREADS",
            found="--direct_running_mode=multi_threading",
            fix="use --direct_num_workers=N alone: it runs N processes",
        )
    if direct.direct_num_workers < 0:
        raise UsageError(
            "--direct_num_workers is negative",
            code="BEAM-WORKERS",
            found=str(direct.direct_num_workers),
            expected="1 or more, or 0 for one on each core",
            fix="give --direct_num_workers a number such as 2",
        )
    if runs_here(options):
        direct.direct_num_workers = direct.direct_num_workers or usable_cores()  # 0 stands for all of them
        # The worker processes are ours to start (`make_runner`): Beam's own modes choose another program for them.
        direct.direct_running_mode = "in_memory"
    else:
        _check_runner(options.view_as(StandardOptions).runner)
    return options


def _check_runner(name: str) -> None:
    try:
        create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(
            f"Beam cannot use the runner {name}",
            code="BEAM-RUNNER",
            found=str(error).splitlines()[0],
            fix="check the spelling; a runner may need an extra of Beam, such as apache-beam[gcp] for DataflowRunner",
        ) from error


def make_runner(options: PipelineOptions) -> PipelineRunner | str | None:
    """Returns the runner: for local runs Beam's in-process one, with worker processes where several are asked for.

    DirectRunner as Beam understands it would first try to download another engine, and behave differently with and
    without a network.
    """
    if not runs_here(options):
        return options.view_as(StandardOptions).runner
    if options.view_as(DirectOptions).direct_num_workers == 1:
        return FnApiRunner()
    # The worker ends when this process does, see `worker`.
    command = f"IADSR_MAIN_PROCESS={os.getpid()} {shlex.quote(sys.executable)} -m {__package__}.worker"
    # A decorator of Beam's hides the class from type checkers.
    return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))  # pyright: ignore[reportFunctionMemberAccess]


def flags_from_config(section: Mapping[str, Any]) -> list[str]:
    """Turns the `beam:` mapping of a configuration file into flags.

    Lists repeat the flag, true stands alone. What is false becomes Beam's flag that turns it off, such as
    `--no_use_public_ips`; where Beam has none, what is not given is off.
    """
    flags = []
    for name, value in section.items():
        if value is None:
            continue
        if value is False:
            off = f"--no_{name}"
            flags += [off] if off in known_flags() else []
            continue
        for each in value if isinstance(value, list) else [value]:
            flags.append(f"--{name}" if each is True else f"--{name}={each}")
    return flags


def runs_here(options: PipelineOptions) -> bool:
    """Whether the pipeline runs in this process or its children."""
    runner = options.view_as(StandardOptions).runner
    return runner is None or runner.rpartition(".")[2].lower() in _LOCAL_RUNNERS


def usable_cores() -> int:
    """How many cores this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_template(options: PipelineOptions) -> bool:
    """Whether the job is only written down now and started by somebody else later."""
    return options.view_as(GoogleCloudOptions).template_location is not None
