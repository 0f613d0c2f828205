"""Real engines on this machine: a Spark master with two workers, a Flink session cluster, prism. `make test-engines`.

The folder named by IADSR_ENGINES holds the programs.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.clusters import Cluster, flink_cluster, free_port, spark_cluster
from tests.engines import object_store as object_stores
from tests.engines.runs import Run
from tests.pipeline import conftest as pipeline_tests

world = pipeline_tests.world


@pytest.fixture(scope="session")
def engines() -> Path:
    return Path(os.environ["IADSR_ENGINES"])


@pytest.fixture(scope="session")
def spark(engines, tmp_path_factory) -> Iterator[Cluster]:
    with spark_cluster(engines, tmp_path_factory.mktemp("spark")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def flink(engines, tmp_path_factory) -> Iterator[Cluster]:
    with flink_cluster(engines, tmp_path_factory.mktemp("flink")) as cluster:
        yield cluster


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


@pytest.fixture(scope="session")
def local(world, tmp_path_factory) -> Path:
    """What a run on this machine gives."""
    from iadsr.pipeline import clean

    output = tmp_path_factory.mktemp("local") / "out"
    inputs = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    clean(**inputs, output=str(output), shards=6, drop_rate=0.1)
    return output
