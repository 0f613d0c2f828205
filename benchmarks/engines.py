"""Measures what `iadsr clean` costs on a real Spark cluster, beside the same run on this machine.

    make test-engines                          # puts Spark and its job server into .engines
    python -m benchmarks.engines --work DIRECTORY --engines .engines --rows 1000000

The cluster runs on this machine too: a master, and workers of one core each. The log is that of `throughput`. Each run
is a process of its own. Twice a second all its processes are looked at: those of the run, the job server, the cluster's
executors and their Python workers. What a process used after it was last looked at is not counted. The outputs are
compared byte by byte.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from .clusters import EXECUTOR, PYTHON_WORKER, Cluster, descendants, spark_cluster
from .object_store import tables_of
from .throughput_work import Paths, prepare

CPU_TARGET, SPEED_UP_TARGET = 1.3, 1.8
HEADS = (
    "run",
    "wall seconds",
    "CPU seconds",
    "CPU, ratio",
    "CPU of executors",
    "CPU of Python workers",
    "executor, most memory",
    "Python worker, most memory",
    "with mapped files",
)
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


@dataclass
class Cost:
    """What a run took."""

    wall_seconds: float = 0.0
    """From its start to its end."""
    cpu_by_process: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    """CPU seconds of each process."""
    kinds: dict[int, str] = field(default_factory=dict)
    """What each process is: EXECUTOR, PYTHON_WORKER or empty."""
    peak_bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Largest memory of a process of each kind: EXECUTOR, PYTHON_WORKER or the rest. Files that are mapped into it are
    left out: the system takes their pages back when it needs them."""
    mapped_bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Likewise, with the pages of mapped files."""

    @property
    def cpu_seconds(self) -> float:
        """Of all processes."""
        return sum(self.cpu_by_process.values())

    def cpu_of(self, kind: str) -> float:
        """Returns the CPU seconds of all processes of a kind."""
        return sum(seconds for process, seconds in self.cpu_by_process.items() if self.kinds.get(process) == kind)

    def look(self, processes: dict[int, str]) -> None:
        """Notes what processes have used so far, given with their command lines."""
        for process, command in processes.items():
            try:
                stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                resident, shared = map(int, Path(f"/proc/{process}/statm").read_text().split()[1:3])
            except OSError:
                continue  # it has just ended
            kind = next((words for words in (EXECUTOR, PYTHON_WORKER) if words in command), "")
            self.kinds[process] = kind or self.kinds.get(process, "")  # one that ends has no command line any more
            self.cpu_by_process[process] = (int(stat[11]) + int(stat[12])) / _TICKS
            self.peak_bytes[kind] = max(self.peak_bytes[kind], (resident - shared) * _PAGE)
            self.mapped_bytes[kind] = max(self.mapped_bytes[kind], resident * _PAGE)


def clean(paths: Paths, flags: list[str], cluster: Cluster | None) -> Cost:
    """Runs `iadsr clean`, on a cluster or on one core of this machine.

    Raises:
        CalledProcessError: It failed.
    """
    shutil.rmtree(paths.output, ignore_errors=True)
    model = [] if "--rules-only" in flags else ["--embeddings", paths.embeddings, "--model", paths.model]
    command = [sys.executable, "-m", "iadsr.pipeline", "clean", "--interactions", paths.log, "--output", paths.output]
    command += [*model, *flags, *(cluster.arguments if cluster else ())]
    environment = {**os.environ, **(cluster.environment if cluster else {}), "OMP_WAIT_POLICY": "PASSIVE"}
    cost, started = Cost(), time.perf_counter()
    idle = Cost()
    roots = [process.pid for process in cluster.processes] if cluster else []
    idle.look(descendants(roots) | dict.fromkeys(roots, ""))  # what the cluster has used before
    run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while run.poll() is None:
        cost.look(descendants([*roots, run.pid]) | dict.fromkeys([*roots, run.pid], ""))
        time.sleep(0.5)
    cost.wall_seconds = time.perf_counter() - started
    for process, seconds in idle.cpu_by_process.items():
        cost.cpu_by_process[process] -= seconds
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, command)
    return cost


def row_of(name: str, cost: Cost, here: Cost) -> str:
    """Formats a run as a row of the table."""
    memory = [cost.peak_bytes.get(kind, 0) / 2**20 for kind in (EXECUTOR, PYTHON_WORKER)]
    memory.append(cost.mapped_bytes.get(PYTHON_WORKER, 0) / 2**20)
    cells = [f"{cost.wall_seconds:.0f}", f"{cost.cpu_seconds:.0f}", f"{cost.cpu_seconds / here.cpu_seconds:.2f}"]
    cells += [f"{seconds:.0f}" if seconds else "" for seconds in map(cost.cpu_of, (EXECUTOR, PYTHON_WORKER))]
    cells += [f"{size:,.0f} MiB" if size else "" for size in memory]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="directory for logs, models and outputs")
    parser.add_argument("--engines", type=Path, default=Path(".engines"), help="folder with Spark and its job server")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--items", type=int, default=12_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of the cluster, one run with each")
    parser.add_argument("--executor-memory", default="2g")
    parser.add_argument("flags", nargs="*", help="further options of clean, after --")
    options = parser.parse_args()
    print(f"| {' | '.join(HEADS)} |")
    print("| --- |" + " --- |" * (len(HEADS) - 1), flush=True)
    for rows in options.rows:
        paths = Paths(options.work, rows, options.items)
        prepare(paths, scores="--rules-only" not in options.flags)
        here = clean(paths, options.flags, None)
        print(row_of(f"{rows:,} rows, this machine", here, here), flush=True)
        expected = tables_of(Path(paths.output))
        walls = {}
        for workers in options.workers:
            with (
                tempfile.TemporaryDirectory() as folder,
                spark_cluster(
                    options.engines.resolve(), Path(folder), workers=workers, executor_memory=options.executor_memory
                ) as cluster,
            ):
                cost = clean(paths, options.flags, cluster)
            walls[workers] = cost.wall_seconds
            same = "" if tables_of(Path(paths.output)) == expected else ", OTHER BYTES"
            print(row_of(f"{rows:,} rows, Spark, {workers} workers{same}", cost, here), flush=True)
        if {1, 2} <= set(walls):
            print(f"Two workers are {walls[1] / walls[2]:.2f} times as fast as one; the target is {SPEED_UP_TARGET}.")
    print(f"The target of the ratio of CPU seconds is {CPU_TARGET}, beyond a fixed start.")


if __name__ == "__main__":
    main()
