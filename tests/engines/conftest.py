"""Real engines on this machine: a Spark master with two workers, a Flink session cluster, prism. `make test-engines`.

What is started here is ended by its process id. The folder named by IADSR_ENGINES holds the programs.
"""

import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest


def _module(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


world = _module("tiny_world", Path(__file__).parents[1] / "pipeline" / "conftest.py").world
object_stores = _module("object_store", Path(__file__).with_name("object_store.py"))

START_SECONDS, RUN_SECONDS = 180, 600

OPENED = (
    "java.lang java.lang.invoke java.lang.reflect java.io java.net java.nio java.text java.time java.util "
    "java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks sun.nio.ch sun.nio.cs"
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what: str, holds: Callable[[], object], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not after {seconds} seconds"
        time.sleep(0.05)


def answer(url: str) -> dict:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)
    except (OSError, ValueError):
        return {}


def descendants(roots: list[int]) -> dict[int, str]:
    """The processes below some others, with their command lines."""
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
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    processes: list[subprocess.Popen] = dataclasses.field(default_factory=list)

    def start(self, name: str, command: list[str], folder: Path, **environment: str) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **self.environment, **environment}
            )
        self.processes.append(process)

    def below(self, words: str) -> list[int]:
        """The processes that the cluster has started with these words in their command line."""
        commands = descendants([process.pid for process in self.processes])
        return [process for process, command in commands.items() if words in command]

    def python_workers(self) -> list[int]:
        return self.below("iadsr.pipeline.engines.worker ")

    def end(self) -> None:
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


@pytest.fixture(scope="session")
def engines() -> Path:
    return Path(os.environ["IADSR_ENGINES"])


@pytest.fixture(scope="session")
def spark(engines, tmp_path_factory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("spark")
    (home,) = engines.glob("pyspark/lib/python*/site-packages/pyspark")
    port, page = free_port(), free_port()
    master = f"spark://127.0.0.1:{port}"
    jar = str(engines / "spark" / "job-server.jar")
    cluster = Cluster(
        ["--engine", master, "--job-server-jar", jar, "--engine-options", "spark.executor.memory=1g"],
        {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"},
    )
    program = [str(home / "bin" / "spark-class")]
    try:
        flags = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
        cluster.start("master", [*program, "org.apache.spark.deploy.master.Master", *flags], folder)
        wait_for("Spark's master", lambda: answer(f"http://127.0.0.1:{page}/json/"))
        for number in range(2):
            flags = ["-c", "1", "-m", "2g", "-d", str(folder / f"work-{number}"), "--webui-port", str(free_port())]
            worker = [*program, "org.apache.spark.deploy.worker.Worker", *flags, master]
            cluster.start(f"worker-{number}", worker, folder)
        wait_for("Spark's workers", lambda: answer(f"http://127.0.0.1:{page}/json/").get("aliveworkers") == 2)
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="session")
def flink(engines, tmp_path_factory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("flink")
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
            cluster.start(f"taskmanager-{number}", [*java, entry, "--configDir", str(folder)], folder)
        wait_for("Flink's task managers", lambda: answer(f"http://127.0.0.1:{page}/overview").get("slots-total") == 2)
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="session")
def prism(engines) -> Cluster:
    path = f"{engines / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return Cluster(["--engine", "prism"], {"PATH": path})


@pytest.fixture(scope="session")
def spark_here(engines) -> Cluster:
    (home,) = engines.glob("pyspark/lib/python*/site-packages/pyspark")
    jar = str(engines / "spark" / "job-server.jar")
    environment = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    return Cluster(["--engine", "spark://local[2]", "--job-server-jar", jar], environment)


@pytest.fixture(scope="session")
def object_store(engines, tmp_path_factory):
    with object_stores.serve(engines / "bin" / "versitygw", tmp_path_factory.mktemp("s3"), free_port()) as server:
        store = object_stores.ObjectStore(*server)
        yield store
        store.close()


@pytest.fixture
def bucket(object_store, monkeypatch):
    """An empty bucket, and the environment to reach it."""
    store = object_store
    store.fails = lambda method, target: None
    store.requests.clear()
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    yield store
    for path in store.bucket.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@dataclasses.dataclass
class Run:
    """A run of `iadsr` in a process of its own."""

    process: subprocess.Popen
    output: Path

    def wait(self) -> str:
        """Waits for its end. Returns what it said."""
        said, _ = self.process.communicate(timeout=RUN_SECONDS)
        return said

    def staged(self, prefix: str) -> list[Path]:
        return [path for path in self.output.glob(f".staging/*/{prefix}*") if not path.name.startswith(".tmp-")]


@pytest.fixture
def start(world, tmp_path) -> Iterator[Callable[..., Run]]:
    """Starts `iadsr clean` on the tiny world. Relative paths, from the directory of the output."""
    runs = []

    def start(cluster: Cluster | None, *arguments: str, output: str = "out", command: str = "clean") -> Run:
        inputs = ["--interactions", world.interactions, "--embeddings", world.embeddings, "--model", world.model]
        words = [command, *inputs, "--output", output, *(cluster.arguments if cluster else ()), *arguments]
        environment = {**os.environ, **(cluster.environment if cluster else {})}
        process = subprocess.Popen(
            [sys.executable, "-m", "iadsr.pipeline", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        runs.append(Run(process, tmp_path / output))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.terminate()
            run.process.wait()
