"""Machines that stop and come back, two attempts at the same work, disks that are full: on real engines.

Each run ends with the bytes of a run on this machine, or with a clear error that the same command gets over.
"""

import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.clusters import Cluster, descendants, flink_cluster, spark_cluster, wait_for
from tests.engines.runs import OPTIONS, assert_same, command_of, everything

HELD = Path(__file__).with_name("held")


@dataclasses.dataclass
class SlowDisk:
    """A machine whose files wait for their names."""

    folder: Path

    def holds(self, *words: str) -> dict[str, str]:
        """Returns environment variables that hold the first file whose path has one of these words, for each."""
        path = os.pathsep.join(filter(None, (str(HELD), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path, "HELD_FOLDER": str(self.folder), "HELD_WORDS": ",".join(words)}

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def go(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def disk(tmp_path) -> SlowDisk:
    (tmp_path / "held").mkdir()
    return SlowDisk(tmp_path / "held")


def told(cluster: Cluster, *settings: str) -> Cluster:
    """Returns a cluster for a run with further settings."""
    *words, given = cluster.arguments
    return dataclasses.replace(cluster, arguments=[*words, ",".join([given, *settings])])


@contextmanager
def stopped(machine: int) -> Iterator[list[int]]:
    """Stops all processes of a machine, as when it is suspended, and lets them go on afterwards."""
    processes = [machine, *descendants([machine])]
    try:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        yield processes
    finally:
        for process in processes:
            if command_of(process):
                os.kill(process, signal.SIGCONT)


# What stops is longer than these, as two minutes are longer than what Spark has by itself.
SHORT = ("spark.network.timeout=10s", "spark.executor.heartbeatInterval=1s", "spark.network.timeoutInterval=1s")
SHORT_MASTER = {"SPARK_MASTER_OPTS": "-Dspark.worker.timeout=8"}


def test_a_machine_of_spark_that_stops_and_wakes_up_after_the_run_changes_nothing(
    engines, start, local, disk, tmp_path
):
    (folder := tmp_path / "spark").mkdir()
    of_workers = [disk.holds("/scored-"), {}]
    with spark_cluster(engines, folder, variables=SHORT_MASTER, of_workers=of_workers) as spark:
        run = start(told(spark, *SHORT), *OPTIONS)
        run.wait_until(lambda: disk.has("scored"))
        with stopped(spark.machines[0].pid) as processes:
            said = run.wait()
            assert run.process.returncode == 0, said
            assert_same(run.output, local)
            disk.go()
        wait_for("the machine awake", lambda: disk.has("scored.done") or not any(map(command_of, processes[1:])))
        wait_for("the end of its work", lambda: not any(map(command_of, processes[1:])))
        assert "Lost executor" in said
        assert_same(run.output, local)


def test_a_machine_of_spark_that_stops_and_wakes_up_during_the_run_changes_nothing(
    engines, start, local, disk, tmp_path
):
    (folder := tmp_path / "spark").mkdir()
    of_workers = [disk.holds("/scored-"), {}]
    with spark_cluster(engines, folder, variables=SHORT_MASTER, of_workers=of_workers) as spark:
        run = start(told(spark, *SHORT), *OPTIONS)
        run.wait_until(lambda: disk.has("scored"))
        with stopped(spark.machines[0].pid):
            run.wait_until(lambda: len(run.staged("scored-")) == 6)
        said = run.wait()
        assert run.process.returncode == 0, said
        assert disk.has("scored.done")
        assert_same(run.output, local)


@pytest.mark.parametrize("file", ["scored", "interactions"])
def test_two_attempts_at_the_same_shard_at_once_change_nothing(file, engines, start, local, disk, tmp_path):
    (folder := tmp_path / "spark").mkdir()
    (events := tmp_path / "events").mkdir()
    speculation = [f"spark.speculation{setting}" for setting in ("=true", ".quantile=0.1", ".interval=100ms")]
    settings = [*speculation, "spark.eventLog.enabled=true", f"spark.eventLog.dir={events.as_uri()}"]
    # The first attempt of all is held. Spark makes a second one on another host only.
    held = disk.holds({"scored": "/scored-", "interactions": "/interactions/"}[file])
    of_workers = [held, held | {"SPARK_LOCAL_IP": "127.0.0.2"}]
    with spark_cluster(engines, folder, of_workers=of_workers) as spark:
        run = start(told(spark, *settings), *OPTIONS)
        said = run.wait()
        assert run.process.returncode == 0, said
        assert_same(run.output, local)
    (log,) = events.iterdir()
    attempts = [json.loads(line) for line in log.read_text().splitlines()]
    doubled = [
        event for event in attempts if event["Event"] == "SparkListenerTaskStart" and event["Task Info"]["Speculative"]
    ]
    assert doubled
    # The file that was held has its name, and it waited for the same file of another attempt.
    assert everything(disk.folder) == {f"{file}.done"}


SHORT_FLINK = "heartbeat.interval: 1000\nheartbeat.timeout: 8000"


def test_a_machine_of_flink_that_stops_is_told_and_the_run_resumes_without_it(engines, start, local, disk, tmp_path):
    (folder := tmp_path / "flink").mkdir()
    with flink_cluster(engines, folder, settings=SHORT_FLINK, of_workers=[disk.holds("/scored-"), {}]) as flink:
        run = start(flink, *OPTIONS)
        run.wait_until(lambda: disk.has("scored"))
        with stopped(flink.machines[0].pid) as processes:
            said = run.wait()
            assert run.process.returncode == 6, said
            assert "IADSR-ENGINE-JOB" in said
            assert "bug" not in said
            assert "Traceback" not in said
            run = start(flink, *OPTIONS)
            said = run.wait()
            assert run.process.returncode == 0, said
            assert "Resuming" in said
            assert_same(run.output, local)
            disk.go()
        wait_for("the end of its work", lambda: disk.has("scored.done") or not any(map(command_of, processes[1:])))
        assert_same(run.output, local)


def test_a_machine_of_flink_that_dies_is_told_and_the_run_resumes_without_it(engines, start, local, tmp_path):
    (folder := tmp_path / "flink").mkdir()
    with flink_cluster(engines, folder, settings=SHORT_FLINK) as flink:
        run = start(flink, *OPTIONS)
        run.wait_for_shards()
        flink.machines[0].kill()
        said = run.wait()
        assert run.process.returncode == 6, said
        assert "IADSR-ENGINE-JOB" in said
        run = start(flink, *OPTIONS)
        said = run.wait()
        assert run.process.returncode == 0, said
        assert "Resuming" in said
        assert_same(run.output, local)


@dataclasses.dataclass
class SmallDisk:
    """A file system of its own."""

    place: Path

    def resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.place)], check=True)

    def fill(self) -> None:
        """Leaves no room."""
        with (self.place / "full").open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.place / "full").unlink()


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Callable[[str], SmallDisk]]:
    mounted = []

    def mount(size: str) -> SmallDisk:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"no small disk can be mounted: {error}")
        if done.returncode:
            pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
        mounted.append(place)
        return SmallDisk(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_an_output_on_a_disk_that_is_full_is_told_and_the_run_resumes(spark, start, local, small_disk):
    disk = small_disk("400k")
    run = start(spark, *OPTIONS, output=str(disk.place / "out"))
    said = run.wait()
    assert run.process.returncode == 1, said  # as without an engine
    assert "IADSR-FILE-WRITE" in said
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert not (run.output / "manifest.json").exists()
    disk.resize("64m")
    run = start(spark, *OPTIONS, output=str(disk.place / "out"))
    said = run.wait()
    assert run.process.returncode == 0, said
    assert "Resuming" in said
    assert_same(run.output, local)


def test_a_disk_of_sparks_own_that_is_full_is_told_and_the_run_resumes(engines, start, local, small_disk, tmp_path):
    (folder := tmp_path / "spark").mkdir()
    disk = small_disk("600m")
    with spark_cluster(engines, folder, of_workers=[{"SPARK_LOCAL_DIRS": str(disk.place)}] * 2) as spark:
        run = start(spark, *OPTIONS, "--shuffle", "bytes")
        run.wait_until(lambda: len(spark.python_workers()) == 2)
        disk.fill()
        said = run.wait()
        assert run.process.returncode == 6, said
        assert "IADSR-ENGINE-JOB" in said
        assert "No space left on device" in said
        assert "Traceback" not in said
        assert "\tat " not in said
        disk.make_room()
        run = start(spark, *OPTIONS, "--shuffle", "bytes")
        said = run.wait()
        assert run.process.returncode == 0, said
        assert_same(run.output, local)
