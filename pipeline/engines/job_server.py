"""Beam's job servers for Spark, Flink and prism: found, started on this machine, and ended with the run."""

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.job_server import JavaJarJobServer
from apache_beam.runners.portability.prism_runner import PrismJobServer
from apache_beam.utils.subprocess_server import pick_port

from ...models.core.errors import EngineError
from .engine_errors import last_words

DRIVERS = {
    "spark": "org.apache.beam.runners.spark.SparkJobServerDriver",
    "flink": "org.apache.beam.runners.flink.FlinkJobServerDriver",
}
"""The program in a job server's jar."""

MIN_JAVA = 11
MAX_JAVA = {"spark": 21}
"""The newest Java that an engine runs on: Spark 3 brings a Hadoop that ends on newer ones."""
START_SECONDS = 90

# Spark itself gives these to its own processes. A job server is the driver of a Spark application.
_OPENED = [
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
]
JAVA_FLAGS = (
    "-XX:+IgnoreUnrecognizedVMOptions",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
)


@dataclass(frozen=True)
class JobServer:
    """A running job server."""

    endpoint: str
    """Where it takes jobs."""
    log: Path
    """What it prints."""
    process: subprocess.Popen[bytes]
    """The process that keeps it."""

    def declared(self) -> Mapping[str, "beam_job_api_pb2.PipelineOptionDescriptor"]:
        """Returns the options that its engine knows, by name."""
        with grpc.insecure_channel(self.endpoint) as channel:
            stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
            answer = stub.DescribePipelineOptions(beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=60)
        return {option.name: option for option in answer.options}


def find_java(kind: str, launcher: str = "java") -> tuple[str, int]:
    """Finds Java: the launcher that is named, else that of JAVA_HOME, else the one on the path.

    Args:
        kind: `spark` or `flink`.
        launcher: The program, as Beam's `--job_server_java_launcher` names it.

    Returns:
        The program and its major version.

    Raises:
        EngineError: There is none that runs, or it is too old or too new.
    """
    home = os.environ.get("JAVA_HOME")
    if launcher == "java" and home and os.access(os.path.join(home, "bin", "java"), os.X_OK):
        launcher = os.path.join(home, "bin", "java")
    try:
        asked = subprocess.run([launcher, "-version"], capture_output=True, text=True, timeout=60, check=True)
        version, found = java_version(asked.stderr + asked.stdout), (asked.stderr or asked.stdout).strip()
    except (OSError, subprocess.SubprocessError) as error:
        version, found = 0, f"{launcher}: {str(error)[:300]}"
    newest = MAX_JAVA.get(kind)
    if version < MIN_JAVA or (newest is not None and version > newest):
        raise EngineError(
            "Beam's job server needs Java, and there is none that fits",
            code="ENGINE-JAVA",
            found=found,
            expected=f"Java {MIN_JAVA} " + (f"to {newest}" if newest is not None else "or newer"),
            fix="install a Java, and put it on the PATH or name its folder by JAVA_HOME",
        )
    return launcher, version


def java_version(text: str) -> int:
    """Reads the major version from what `java -version` prints; 0 if it is not there."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else 0


def find_jar(kind: str, given: str | None, flink_version: str | None, cache: str | None = None) -> Path:
    """Finds the jar of a job server: the one that is named, or Beam's own, which Beam downloads once.

    Args:
        kind: `spark` or `flink`.
        given: Path of the jar; None: Beam's own.
        flink_version: Of the cluster, such as 1.19.
        cache: Directory of downloaded jars; None: Beam's.

    Raises:
        EngineError: The file is no such job server, or it cannot be downloaded.
    """
    if given is None:
        target = f":runners:{kind}:{'3' if kind == 'spark' else flink_version}:job-server:shadowJar"
        url = JavaJarJobServer.path_to_beam_jar(target)
        limit = socket.getdefaulttimeout()
        try:
            socket.setdefaulttimeout(30)  # a download from a network without an answer would hang
            return Path(JavaJarJobServer.local_jar(url, cache))
        except Exception as error:
            raise EngineError(
                "Beam's job server cannot be downloaded",
                code="ENGINE-DOWNLOAD",
                found=" ".join(str(error).split())[:500],
                expected=url.rpartition("/")[2],
                fix="bring the jar to this machine, and name it by --job-server-jar",
            ) from error
        finally:
            socket.setdefaulttimeout(limit)
    program = DRIVERS[kind].replace(".", "/") + ".class"
    if not _has(given, program):
        raise EngineError(
            f"{given} is no job server of Beam for {kind.capitalize()}",
            code="ENGINE-JAR",
            found="no such file" if not os.path.exists(given) else f"no {DRIVERS[kind]} in it",
            expected=f"a jar with {DRIVERS[kind]}",
            fix="correct --job-server-jar, or leave it out to have Beam download its own",
        )
    return Path(given)


def spark_class_path(jar: Path) -> str:
    """Returns the class path of a job server for Spark. A jar that does not hold Spark gets that of SPARK_HOME.

    Raises:
        EngineError: Spark is neither in the jar nor on this machine.
    """
    if _has(jar, "org/apache/spark/SparkContext.class"):
        return str(jar)
    pyspark = importlib.util.find_spec("pyspark")
    homes = [os.environ.get("SPARK_HOME"), *(pyspark.submodule_search_locations or () if pyspark else ())]
    for home in filter(None, homes):
        if list(Path(home, "jars").glob("spark-core_*.jar")):
            return f"{jar}{os.pathsep}{Path(home, 'jars', '*')}"
    raise EngineError(
        f"{jar} holds no Spark, and this machine has none",
        code="ENGINE-SPARK",
        found=f"SPARK_HOME={os.environ.get('SPARK_HOME')}",
        expected="a Spark of the cluster's version",
        fix="name its folder by SPARK_HOME, or install pyspark beside iadsr, or use a jar of Beam's that holds Spark",
    )


def version_in_class_path(class_path: str, group: str, artifact: str) -> str | None:
    """Returns the version of a library in a class path; None if its jars do not tell.

    Args:
        class_path: The class path.
        group: Of the library, such as org.apache.spark.
        artifact: How its name begins, such as spark-core.
    """
    for place in class_path.split(os.pathsep):
        if place.endswith("*"):
            for found in Path(place).parent.glob(f"{artifact}*.jar"):
                return found.stem.rpartition("-")[2]
            continue
        with zipfile.ZipFile(place) as jar:
            names = jar.namelist()
            for name in names:
                if re.fullmatch(rf"META-INF/maven/{re.escape(group)}/{artifact}[^/]*/pom\.properties", name):
                    match = re.search(rb"^version=(\S+)", jar.read(name), re.MULTILINE)
                    return match[1].decode() if match else None
    return None


def _has(jar: str | Path, name: str) -> bool:
    try:
        with zipfile.ZipFile(jar) as opened:
            opened.getinfo(name)
    except (OSError, KeyError, zipfile.BadZipFile):
        return False
    return True


def java_command(java: str, class_path: str, kind: str, properties: Mapping[str, str], master: str) -> list[str]:
    """Returns the command that starts a job server of Java, but for its ports.

    Args:
        java: The program.
        class_path: Where the job server and its engine are.
        kind: `spark` or `flink`.
        properties: Of the Java machine, such as spark.executor.memory.
        master: Of the cluster, as the engine itself writes it.
    """
    defined = [f"-D{name}={value}" for name, value in properties.items()]
    flag = f"--{kind}-master-url" if kind == "spark" else "--flink-master"
    return [java, *JAVA_FLAGS, *defined, "-cp", class_path, DRIVERS[kind], flag, master]


def java_ports(folder: Path) -> tuple[list[str], str]:
    """Chooses ports for a job server of Java. Returns its arguments and the endpoint for jobs."""
    job, artifact, expansion = pick_port(None, None, None)
    ports = {"job-port": job, "artifact-port": artifact, "expansion-port": expansion}
    arguments = [f"--{name}={port}" for name, port in ports.items()]
    return [*arguments, f"--artifacts-dir={folder / 'artifacts'}"], f"localhost:{job}"


def prism_command(location: str | None) -> tuple[list[str], str]:
    """Returns the command that starts prism, and its endpoint for jobs.

    Args:
        location: The program, as Beam's `--prism_location` names it; None: the one on the path, else Beam's own, which
            Beam downloads once.

    Raises:
        EngineError: There is none.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    found = location or shutil.which("prism")
    if found is None or not os.access(found, os.X_OK):
        limit = socket.getdefaulttimeout()
        try:
            socket.setdefaulttimeout(30)
            flags = [f"--prism_location={location}"] if location else []
            command, _ = PrismJobServer(PipelineOptions(flags)).subprocess_cmd_and_endpoint()
            found = str(command[0])
        except Exception as error:
            raise EngineError(
                "prism is not there and cannot be downloaded",
                code="ENGINE-PRISM",
                found=" ".join(str(error).split())[:500],
                expected="the program prism on the PATH, or a network",
                fix="build it: go install github.com/apache/beam/sdks/v2/go/cmd/prism, and put it on the PATH or name "
                "it by --prism_location",
            ) from error
        finally:
            socket.setdefaulttimeout(limit)
    job, web = pick_port(None, None)
    return [found, f"--job_port={job}", f"--web_port={web}", "--serve_http=false"], f"localhost:{job}"


@contextlib.contextmanager
def running(command: Sequence[str], endpoint: str, log: Path) -> Iterator[JobServer]:
    """Starts a job server, and ends it with everything that it started.

    It ends with this process, however this process ends.

    Args:
        command: Its command.
        endpoint: Where it will take jobs.
        log: File for what it prints.

    Raises:
        EngineError: It ends at once, or takes no jobs.
    """
    guard = [sys.executable, "-m", f"{__package__}.guard", str(os.getpid()), *command]
    with log.open("ab") as sink:
        process = subprocess.Popen(guard, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_for(process, endpoint, log)
        yield JobServer(endpoint, log, process)
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    host, _, port = endpoint.rpartition(":")
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
            return
        time.sleep(0.1)
    raise EngineError(
        "Beam's job server did not start",
        code="ENGINE-START",
        found=last_words(log) or f"no answer within {START_SECONDS} seconds",
        expected=f"a job server at {endpoint}",
        fix=f"see its log {log}",
    )
