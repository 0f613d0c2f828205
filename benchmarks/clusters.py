"""Real engines on this machine: a Spark master with workers, and a Flink session cluster.

`make test-engines` puts the programs into a folder. What is started here is ended by its process id.
"""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 180
"""A cluster has to be there after so long."""

OPENED = (
    "java.lang java.lang.invoke java.lang.reflect java.io java.net java.nio java.text java.time java.util "
    "java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks sun.nio.ch sun.nio.cs"
)
"""Packages of Java that Flink reads by reflection."""

EXECUTOR, PYTHON_WORKER = "CoarseGrainedExecutorBackend", "iadsr.pipeline.engines.worker "
"""Words of the command lines of Spark's executors, and of the processes in which Beam runs our code."""


def free_port() -> int:
    """Returns a port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what: str, holds: Callable[[], object], seconds: float = START_SECONDS) -> None:
    """Waits until something holds.

    Raises:
        TimeoutError: It does not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds} seconds")
        time.sleep(0.05)


def answer(url: str) -> dict:
    """Returns the JSON that a page holds; nothing if it cannot be read yet."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)
    except (OSError, ValueError):
        return {}


def descendants(roots: list[int]) -> dict[int, str]:
    """Returns the processes below some others, with their command lines."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                commands[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, wave = {}, set(roots)
    while wave:
        wave = {process for process, parent in parents.items() if parent in wave}
        found |= {process: commands[process] for process in wave}
    return found


@dataclasses.dataclass
class Cluster:
    """Started processes, and how `iadsr` is told to use them."""

    arguments: list[str]
    """Options of `iadsr`."""
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    """Environment variables for `iadsr`."""
    processes: list[subprocess.Popen] = dataclasses.field(default_factory=list)
    """What was started."""

    machines: list[subprocess.Popen] = dataclasses.field(default_factory=list)
    """Those of them that stand for machines which work: Spark's workers, Flink's task managers."""

    def start(self, name: str, command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> None:
        """Starts a process, which writes its log into a folder."""
        with (folder / f"{name}.log").open("wb") as log:
            environment = {**os.environ, **self.environment, **(variables or {})}
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
        self.processes.append(process)

    def start_machine(self, name: str, command: list[str], folder: Path, variables: Mapping[str, str]) -> None:
        """Starts a process that stands for a machine. All that it starts lies below it."""
        self.start(name, command, folder, variables)
        self.machines.append(self.processes[-1])

    def below(self, words: str) -> list[int]:
        """Returns the processes that the cluster has started with these words in their command line."""
        commands = descendants([process.pid for process in self.processes])
        return [process for process, command in commands.items() if words in command]

    def python_workers(self) -> list[int]:
        """Returns the processes in which Beam runs our code."""
        return self.below(PYTHON_WORKER)

    def end(self) -> None:
        """Ends all that was started, and what that has started."""
        left = [*descendants([process.pid for process in self.processes])]
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue


@contextmanager
def spark_cluster(
    engines: Path,
    folder: Path,
    *,
    workers: int = 2,
    executor_memory: str = "1g",
    variables: Mapping[str, str] | None = None,
    of_workers: Sequence[Mapping[str, str]] = (),
) -> Iterator[Cluster]:
    """Starts a standalone master, and workers of one core each.

    Args:
        engines: Folder with the programs.
        folder: For logs and work.
        workers: Number of workers.
        executor_memory: Memory of the one executor of each worker.
        variables: Further environment variables of all processes.
        of_workers: Those of each worker, and of what it starts.
    """
    (home,) = engines.glob("pyspark/lib/python*/site-packages/pyspark")
    port, page = free_port(), free_port()
    master = f"spark://127.0.0.1:{port}"
    jar = str(engines / "spark" / "job-server.jar")
    cluster = Cluster(
        ["--engine", master, "--job-server-jar", jar, "--engine-options", f"spark.executor.memory={executor_memory}"],
        {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", **(variables or {})},
    )
    program = [str(home / "bin" / "spark-class")]
    try:
        flags = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
        cluster.start("master", [*program, "org.apache.spark.deploy.master.Master", *flags], folder)
        wait_for("Spark's master", lambda: answer(f"http://127.0.0.1:{page}/json/"))
        for number in range(workers):
            flags = ["-c", "1", "-m", "4g", "-d", str(folder / f"work-{number}"), "--webui-port", str(free_port())]
            worker = [*program, "org.apache.spark.deploy.worker.Worker", *flags, master]
            own = of_workers[number] if number < len(of_workers) else {}
            cluster.start_machine(f"worker-{number}", worker, folder, own)
        wait_for("Spark's workers", lambda: answer(f"http://127.0.0.1:{page}/json/").get("aliveworkers") == workers)
        yield cluster
    finally:
        cluster.end()


@contextmanager
def flink_cluster(
    engines: Path, folder: Path, *, settings: str = "", of_workers: Sequence[Mapping[str, str]] = ()
) -> Iterator[Cluster]:
    """Starts a session cluster with two task managers of one slot each.

    Args:
        engines: Folder with the programs.
        folder: For its configuration and logs.
        settings: Further lines of its configuration.
        of_workers: Further environment variables of each task manager, and of what it starts.
    """
    jar, page = str(engines / "flink" / "job-server.jar"), free_port()
    (folder / "flink-conf.yaml").write_text(
        f"""
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {free_port()}
jobmanager.bind-host: 127.0.0.1
rest.address: 127.0.0.1
rest.port: {page}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.cpu.cores: 1.0
taskmanager.numberOfTaskSlots: 1
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.task.heap.size: 512m
taskmanager.memory.task.off-heap.size: 0m
taskmanager.memory.managed.size: 128m
taskmanager.memory.network.min: 256m
taskmanager.memory.network.max: 256m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
{settings}
"""
    )
    cluster = Cluster(["--engine", f"flink://127.0.0.1:{page}", "--job-server-jar", jar])
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED.split()]
    java = ["java", *opened, "-Xmx768m", "-cp", jar]
    try:
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        cluster.start("jobmanager", [*java, entry, "--configDir", str(folder)], folder)
        for number in range(2):
            entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
            own = of_workers[number] if number < len(of_workers) else {}
            cluster.start_machine(f"taskmanager-{number}", [*java, entry, "--configDir", str(folder)], folder, own)
        wait_for("Flink's task managers", lambda: answer(f"http://127.0.0.1:{page}/overview").get("slots-total") == 2)
        yield cluster
    finally:
        cluster.end()
