"""Engines that are named by `--engine`: reached or started, with safe settings, and ended with the run."""

import contextlib
import http.client
import json
import shlex
import shutil
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import (
    DebugOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineRunner

from ...models.core.errors import EngineError, IadsrError, UsageError
from ...transforms.read.input_plan import MIN_SHARDS
from .beam_flags import flags_from_config, known_flags, no_such_option
from .engine_errors import last_line
from .engine_options import Address, EngineOptions, without_secrets
from .job_server import (
    JobServer,
    find_jar,
    find_java,
    java_command,
    java_ports,
    prism_command,
    running,
    spark_class_path,
    version_in_class_path,
)
from .runner import beam_options, make_runner, runs_here, start_beam, usable_cores
from .versions import SUBMITTED, as_text, installed_versions
from .worker_starter import ENDS_EXECUTOR

WORKER_PROGRAM = "iadsr-worker"
CONNECT_SECONDS = 5.0
CACHE_MILLIS = 600_000
"""A worker that has nothing to do is kept for so long. Without that, each step starts its own."""


@dataclass(frozen=True)
class Engine:
    """What a pipeline can be run on."""

    name: str
    """For people."""
    runner: PipelineRunner | str | None
    """Beam's runner."""
    options: PipelineOptions
    """Beam's options."""
    here: bool = True
    """Whether the pipeline runs in this process or its children."""
    server: JobServer | None = None
    """The job server that was started for it."""
    facts: tuple[str, ...] = field(default=())
    """What is known of it, in sentences."""
    submit: str | None = None
    """The command that starts a job that was written as a jar, but for the jar."""

    @property
    def log(self) -> Path | None:
        """What the engine prints on this machine."""
        return self.server.log if self.server is not None else None


@dataclass(frozen=True)
class Reached:
    """A cluster that answers."""

    this_machine: str | None = None
    """The address by which the cluster's machines can reach this one."""
    version: str | None = None
    """Its version, if it tells."""
    slots: int | None = None
    """The tasks that it runs side by side, if it tells."""


@contextlib.contextmanager
def open_engine(
    asked: EngineOptions, given: PipelineOptions | None = None, shards: int = MIN_SHARDS
) -> Iterator[Engine]:
    """Makes an engine ready for a pipeline, and ends afterwards what was started for it.

    Args:
        asked: The engine, and its settings.
        given: Options of Beam that the user has given; None: Beam's defaults.
        shards: Number of user shards.

    Raises:
        EngineError: The engine cannot be reached, or what it needs on this machine is missing.
        UsageError: The engine does not take an option.
    """
    address, given = asked.address, given if given is not None else start_beam(None)
    if address is None:
        here = runs_here(given)
        name = "this machine" if here else str(given.view_as(StandardOptions).runner)
        yield Engine(name, make_runner(given), given, here=here)
        return
    _refuse_other_runner(asked, given)
    known, properties, others = _sorted_settings(asked, address)
    chosen = {**_all(given), **known}
    if address.kind == "dataflow":
        yield _dataflow(chosen, others)
        return
    reached = reach(address)
    folder = Path(tempfile.mkdtemp(prefix="iadsr-engine-"))
    try:
        command, endpoint, safe, facts = _prepare(address, asked, chosen, properties, reached, shards, folder)
        with running(command, endpoint, folder / "engine.log") as server:
            declared = {} if address.kind == "prism" else server.declared()
            options = PipelineOptions.from_dictionary(
                _merged(safe, chosen)
                | {"runner": "PortableRunner", "job_endpoint": endpoint}
                | _typed(others, declared, address)
            )
            submit = spark_submit(shards, properties) if address.kind == "spark" else None
            yield Engine(address.name, "PortableRunner", options, False, server, facts, submit)
    except BaseException as error:
        shutil.rmtree(folder / "artifacts", ignore_errors=True)
        # The log of a failure stays where it is, for the user to read.
        names_log = isinstance(error, EngineError) or not isinstance(error, (IadsrError, KeyboardInterrupt))
        if not names_log or not (folder / "engine.log").exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _all(options: PipelineOptions) -> dict[str, Any]:
    # What is set for local runs is of no use to others.
    values = options.get_all_options(drop_default=True)
    return {name: value for name, value in values.items() if not name.startswith("direct_")}


def _merged(safe: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**safe, **chosen}
    if "environment_config" in safe:  # which holds what these say, and Beam takes only one of the two
        merged.pop("environment_options", None)
    return merged


def _refuse_other_runner(asked: EngineOptions, given: PipelineOptions) -> None:
    values = given.get_all_options(drop_default=True)
    both = [f"--{name}={values[name]}" for name in ("runner", "job_endpoint") if values.get(name)]
    if both:
        raise UsageError(
            "--engine and Beam's flags both name what runs the pipeline",
            code="ENGINE-RUNNER",
            found=f"--engine {asked.engine} and {', '.join(both)}",
            fix="leave out one of them",
        )


def _sorted_settings(asked: EngineOptions, address: Address) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """Returns the settings that Beam's Python knows, those of Spark, and those that only the engine can know."""
    known: dict[str, Any] = {}
    properties, others, declared = {}, {}, known_flags()
    for name, value in asked.settings.items():
        if f"--{name}" in declared or f"--no_{name}" in declared:
            plain = {"true": True, "false": False}.get(value.lower(), value)
            known |= _all(beam_options(flags_from_config({name: plain})))
        elif "." not in name:
            others[name] = value
        elif address.kind == "spark" and name.startswith("spark."):
            properties[name] = value
        else:
            raise UsageError(
                f"{address.name} takes no setting of this name",
                code="ENGINE-PROPERTY",
                found=name,
                expected="settings such as spark.executor.memory=4g with Spark only",
                fix="correct --engine-options, or set it in the cluster's own configuration",
            )
    return known, properties, others


def _typed(others: Mapping[str, str], declared: Mapping[str, Any], address: Address) -> dict[str, Any]:
    """Returns settings as Beam's Python passes them on to the engine, which must know them."""
    typed: dict[str, Any] = {}
    for name, value in others.items():
        if name not in declared:
            raise no_such_option(f"{address.name}'s {name}", (), declared)
        is_switch = declared[name].type == 1  # PipelineOptionType.BOOLEAN
        on = value.lower() == "true"
        if not is_switch:
            typed[name] = value
        elif on != (declared[name].default_value == "true"):
            typed[name] = True
    return typed


def describe_engine(address: Address) -> str:
    """Says what answers at an address.

    Raises:
        EngineError: Nothing does, or something else.
    """
    reached = reach(address)
    if not address.hosts:
        return f"{address.name}, " + ("in the cloud" if address.kind == "dataflow" else "on this machine")
    version = f" {reached.version}" if reached.version else ""
    slots = f", {reached.slots} task slots" if reached.slots is not None else ""
    return f"{address.name}{version} answers at {address.places}{slots}"


def describe_java(address: Address, given: PipelineOptions) -> str:
    """Says which Java there is.

    Raises:
        EngineError: None that fits.
    """
    java, version = find_java(address.kind, given.view_as(JobServerOptions).job_server_java_launcher)
    return f"{version}, {java}"


def reach(address: Address) -> Reached:
    """Connects to a cluster.

    Raises:
        EngineError: Nothing answers there within seconds, or something else does.
    """
    failures = []
    for host, port in address.hosts:
        try:
            with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as connection:
                this_machine = connection.getsockname()[0]
            return _overview(address) if address.kind == "flink" else Reached(this_machine)
        except (OSError, UnicodeError) as error:  # a name that no host can have is a UnicodeError
            failures.append(f"{host}:{port}: {getattr(error, 'strerror', None) or error}")
    if failures:
        raise EngineError(
            f"No {address.name} answers at {address.places}",
            code="ENGINE-REACH",
            found="; ".join(failures),
            expected=f"a running {address.name} master that this machine can reach",
            fix="check the address, that the cluster runs, and that no firewall is between",
        )
    return Reached()


def _overview(address: Address) -> Reached:
    try:
        with urllib.request.urlopen(f"http://{address.places}/overview", timeout=CONNECT_SECONDS) as answer:
            told = json.load(answer)
        return Reached(None, told["flink-version"], told["slots-total"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"What answers at {address.places} is no Flink cluster",
            code="ENGINE-FLINK",
            found=last_line(error),
            expected="Flink's REST interface, which its web page uses too",
            fix="name host and port of the page of Flink's job manager; its default port is 8081",
        ) from error


def _prepare(
    address: Address,
    asked: EngineOptions,
    chosen: Mapping[str, Any],
    properties: Mapping[str, str],
    reached: Reached,
    shards: int,
    folder: Path,
) -> tuple[list[str], str, dict[str, Any], tuple[str, ...]]:
    """Returns the command of a job server, its endpoint, safe values of Beam's options, and what is known of it all."""
    options = PipelineOptions.from_dictionary(dict(chosen))
    if address.kind == "prism":
        command, endpoint = prism_command(options.view_as(PrismRunnerOptions).prism_location)
        return command, endpoint, {"environment_type": "LOOPBACK"}, (f"prism: {command[0]}",)
    server_options = options.view_as(JobServerOptions)
    java, java_major = find_java(address.kind, server_options.job_server_java_launcher)
    if address.kind == "flink":
        minor = _flink_minor(reached.version, options)
        jar = find_jar("flink", asked.job_server_jar, minor, server_options.jar_cache_dir)
        class_path, cores = str(jar), address.cores or usable_cores()
        built = version_in_class_path(class_path, "org.apache.flink", "flink-runtime")
        if reached.version and built and built.split(".")[:2] != reached.version.split(".")[:2]:
            raise EngineError(
                "The job server was built for another Flink than the cluster's",
                code="ENGINE-FLINK-VERSION",
                found=f"a job server for Flink {built}",
                expected=f"one for Flink {reached.version}",
                fix="name another --job-server-jar, or leave it out",
            )
        slots = reached.slots if reached.slots is not None else cores
        if slots == 0:
            raise EngineError(
                f"The Flink cluster at {address.places} has no task slots",
                code="ENGINE-SLOTS",
                found="0 slots",
                expected="a running task manager",
                fix="start task managers, and run again",
            )
        safe = {"parallelism": slots} | _process(options, ends_executor=False, parallelism=1)
        command = java_command(java, class_path, "flink", {}, address.places or "[local]")
        facts = (f"Java {java_major}: {java}", f"Flink {reached.version or built}, {slots} slots", f"job server: {jar}")
    else:
        jar = find_jar("spark", asked.job_server_jar, None, server_options.jar_cache_dir)
        class_path = spark_class_path(jar)
        built = version_in_class_path(class_path, "org.apache.spark", "spark-core")
        if built and not built.startswith("3."):
            raise EngineError(
                "Beam's job server runs on Spark 3 only",
                code="ENGINE-SPARK-VERSION",
                found=f"Spark {built}",
                expected="Spark 3",
                fix="name a Spark 3 by SPARK_HOME, and run on a cluster of Spark 3",
            )
        each = properties.get("spark.executor.cores", "1")
        cores = address.cores if address.cores is not None else int(each) if each.isdecimal() else 1
        safe = _process(options, ends_executor=True, parallelism=cores or usable_cores())
        if address.hosts:
            safe["files_to_stage"] = [str(jar)]  # else every jar of the class path goes to every executor
        own = {} if reached.this_machine is None else {"spark.driver.host": reached.this_machine}
        own |= spark_properties(shards)
        master = f"spark://{address.places}" if address.hosts else f"local[{address.cores or '*'}]"
        command = java_command(java, class_path, "spark", {**own, **properties}, master)
        facts = (f"Java {java_major}: {java}", f"Spark {built or 'of unknown version'}", f"job server: {jar}")
    arguments, endpoint = java_ports(folder)
    # The job server's own flags come before its program.
    at = command.index("-cp")
    return [*command[:at], *server_options.job_server_jvm_properties, *command[at:], *arguments], endpoint, safe, facts


def spark_properties(shards: int) -> dict[str, str]:
    """Returns safe settings of Spark.

    Args:
        shards: Number of user shards. A task holds about one of them.
    """
    return {
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        "spark.kryo.registrator": "org.apache.beam.runners.spark.coders.SparkRunnerKryoRegistrator",
        "spark.default.parallelism": str(max(2, shards)),
    }


def spark_submit(shards: int, properties: Mapping[str, str]) -> str:
    """Returns the command that starts a job that was written as a jar, but for the jar.

    Args:
        shards: Number of user shards.
        properties: Settings of Spark that the user has given.
    """
    settings = {**spark_properties(shards), **properties}
    shown = {name: without_secrets(name, value) for name, value in settings.items()}
    told = [word for name, value in shown.items() for word in ("--conf", f"{name}={value}")]
    program = "org.apache.beam.runners.spark.SparkPipelineRunner"
    return shlex.join(["spark-submit", "--master", "MASTER", "--class", program, *told])


def _flink_minor(version: str | None, options: PipelineOptions) -> str:
    return ".".join(version.split(".")[:2]) if version else options.view_as(FlinkRunnerOptions).flink_version


def _process(options: PipelineOptions, *, ends_executor: bool, parallelism: int) -> dict[str, Any]:
    """Returns options that start Python workers by our own program, where no other environment is asked for."""
    portable = options.view_as(PortableOptions)
    safe: dict[str, Any] = {"environment_cache_millis": CACHE_MILLIS, "sdk_worker_parallelism": parallelism}
    if portable.environment_type not in (None, "PROCESS") or portable.environment_config:
        return safe
    program = portable.lookup_environment_option("process_command") or worker_program()
    variables = portable.lookup_environment_option("process_variables")
    named = (each.partition("=") for each in str(variables or "").split(",") if each)
    environment = {name: value for name, _, value in named}
    environment[SUBMITTED] = as_text(installed_versions())
    if ends_executor:
        environment[ENDS_EXECUTOR] = "1"
    config = json.dumps({"command": program, "env": environment})
    return {**safe, "environment_type": "PROCESS", "environment_config": config}


def worker_program() -> str:
    """Returns the path of the program that starts a worker. It is the same on all machines, unless the user says so.

    Raises:
        EngineError: This installation has none.
    """
    beside = Path(sys.executable).with_name(WORKER_PROGRAM)
    found = str(beside) if beside.exists() else shutil.which(WORKER_PROGRAM)
    if found is None:
        raise EngineError(
            f"The program {WORKER_PROGRAM} is not installed",
            code="ENGINE-WORKER",
            found=f"none beside {sys.executable}",
            expected="the program that starts Python workers",
            fix="install iadsr with pip, or name the program on the workers with "
            f"--environment_options=process_command=/PATH/{WORKER_PROGRAM}",
        )
    return found


def _dataflow(chosen: Mapping[str, Any], others: Mapping[str, str]) -> Engine:
    if others:
        raise no_such_option(f"Dataflow's {next(iter(others))}", (), (flag[2:] for flag in known_flags()))
    safe = {"runner": "DataflowRunner"}
    # Each process then holds one shard at a time.
    if not chosen.get("number_of_worker_harness_threads"):
        safe["number_of_worker_harness_threads"] = "1"
    if chosen.get("sdk_container_image"):
        safe["sdk_location"] = "container"
    flags = flags_from_config({**safe, **chosen})
    options = beam_options(flags)
    cloud = options.view_as(GoogleCloudOptions)
    missing = [name for name in ("project", "region", "temp_location") if not getattr(cloud, name)]
    if missing:
        raise UsageError(
            f"Dataflow needs --{missing[0]}",
            code="ENGINE-DATAFLOW",
            found="no " + ", ".join(f"--{name}" for name in missing),
            expected="--project, --region and --temp_location=gs://BUCKET/tmp",
            fix="give them on the command line, or under engine: in the configuration file",
        )
    assert options.view_as(DebugOptions).number_of_worker_harness_threads
    return Engine("Dataflow", options.view_as(StandardOptions).runner, options, here=False)
