"""Beam's own flags: which are known, which runner they name, and which of them lose data."""

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.job.utils import dict_to_struct
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from ...models.core.errors import UsageError
from .beam_flags import flags_from_config, no_such_option

_OF_FILE_SYSTEMS = ("s3_", "hdfs_", "azure_", "blob_service_")
"""How the names of Beam's options begin that say how files are reached."""

_LOCAL_RUNNERS = {"direct", "directrunner", "fnapirunner", "bundlebaseddirectrunner", "switchingdirectrunner"}
"""In lower case, as Beam ignores the case of these names."""


def start_beam(beam: Sequence[str] | Mapping[str, Any] | None, own: Iterable[str] = ()) -> PipelineOptions:
    """Parses Beam's options, and passes them to its file systems as well, which may find credentials in them.

    Args:
        beam: Flags such as `--runner=SparkRunner`, or a mapping of names to values; None: Beam's defaults.
        own: The command's own options such as `--drop-rate`, to suggest if one is misspelt.

    Raises:
        UsageError: Beam does not know a flag, or the flags ask for a mode that loses rows.
    """
    options = beam_options(flags_from_config(beam) if isinstance(beam, Mapping) else list(beam or ()), own)
    FileSystems.set_options(options)
    return options


def refuse_other_runners(command: str, options: PipelineOptions) -> None:
    """Checks that no other runner is named for a command that does all of its work on this machine.

    Raises:
        UsageError: One is named.
    """
    if not runs_here(options):
        raise UsageError(
            f"{command} runs on this machine only",
            code="BEAM-HERE",
            found=f"--runner={options.view_as(StandardOptions).runner}",
            expected="no other runner: its input has to fit into the memory of this machine",
            fix="leave out --runner, or use a sample of the users",
        )


def beam_options(flags: list[str], own: Iterable[str] = ()) -> PipelineOptions:
    """Parses flags that are not ours as Beam's.

    Args:
        flags: Command line arguments such as `--runner=SparkRunner`.
        own: The command's own options such as `--drop-rate`, to suggest if one is misspelt.

    Raises:
        UsageError: Beam does not know a flag, or the flags ask for a mode that loses rows.
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
            fix="give every input by an option; see --help",
        )

    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode == "multi_threading":
        raise UsageError(
            "Beam's multi_threading mode loses rows and is refused",
            code="BEAM-THREADS",
            found="--direct_running_mode=multi_threading",
            fix="leave out --direct_running_mode; --direct_num_workers=N runs N processes",
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
        direct.direct_num_workers = direct.direct_num_workers or usable_cores()  # 0 means one on each core
        # `make_runner` starts the worker processes: Beam's own modes would start another program.
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
    """Returns the runner. For local runs this is Beam's in-process one, with worker processes if several are asked for.

    Beam's DirectRunner would first try to download another engine, and behave differently with and without a network.
    """
    if not runs_here(options):
        return options.view_as(StandardOptions).runner
    if options.view_as(DirectOptions).direct_num_workers == 1:
        return FnApiRunner()
    # The worker ends when this process ends, see `worker`.
    command = f"IADSR_MAIN_PROCESS={os.getpid()} {shlex.quote(sys.executable)} -m {__package__}.worker"
    # A decorator in Beam hides the class from type checkers.
    environment = SubprocessSDKEnvironment.from_command_string(command)  # pyright: ignore[reportFunctionMemberAccess]
    return FnApiRunner(environment, provision_info=_provision(options))


def _provision(options: PipelineOptions) -> ExtendedProvisionInfo:
    """Returns what Beam tells its worker processes: how files are reached. By itself it tells them no option."""
    given = options.get_all_options(drop_default=True)
    told = dict_to_struct({name: value for name, value in given.items() if name.startswith(_OF_FILE_SYSTEMS)})
    # The token is Beam's own default.
    return ExtendedProvisionInfo(
        beam_provision_api_pb2.ProvisionInfo(retrieval_token="unused-retrieval-token", pipeline_options=told)
    )


def runs_here(options: PipelineOptions) -> bool:
    """Whether the pipeline runs in this process or its children."""
    runner = options.view_as(StandardOptions).runner
    return runner is None or runner.rpartition(".")[2].lower() in _LOCAL_RUNNERS


def usable_cores() -> int:
    """Number of cores that this process may use; the machine may have more."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_workers(options: PipelineOptions) -> int:
    """Number of worker processes of a local run."""
    return options.view_as(DirectOptions).direct_num_workers or 1


def is_template(options: PipelineOptions) -> bool:
    """Whether the job is only written as a template or a jar now, and started later."""
    cloud, portable = options.view_as(GoogleCloudOptions), options.view_as(PortableOptions)
    return bool(cloud.template_location or portable.output_executable_path)
