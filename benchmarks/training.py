"""Measures what a training takes, today's and an earlier version's, on a synthetic log: time, CPU time, memory.

    python -m benchmarks.training --rows 200000 --earlier CHECKOUT

CHECKOUT is a directory with the source of an earlier version, such as `git worktree add CHECKOUT COMMIT` makes. Each
training runs in a process of its own, from a log in memory to the trained model. The log is that of
`benchmarks.throughput`: Zipf items, a tenth as many users as rows, random texts. It has no taste in it, so quality is
measured on real logs, by `benchmarks.detection`.
"""

import argparse
import inspect
import os
import sys
import tempfile
import threading
import time

import numpy as np


def train(options: argparse.Namespace) -> None:
    """Trains once, in a process that is measured from outside."""
    import torch

    from iadsr.models.core.sequences import Sequences
    from iadsr.models.detector.model_config import IADSRConfig
    from iadsr.models.training.train_model import train_model
    from iadsr.models.training.training_config import TrainingConfig

    torch.set_num_threads(1)
    with np.load(options.log) as log:
        sequences, items = Sequences.from_lengths(log["items"], log["lengths"]), int(log["items"].max()) + 1
    semantic = np.random.default_rng(1).normal(size=(items, options.dimension)).astype(np.float32)
    semantic /= np.linalg.norm(semantic, axis=1, keepdims=True)
    chosen = {"workers": options.workers, "users": options.users}
    takes, fields = inspect.signature(train_model).parameters, TrainingConfig.__dataclass_fields__
    training = TrainingConfig(**{name: value for name, value in chosen.items() if value and name in fields})
    threads = {name: value for name, value in chosen.items() if name in takes}  # earlier versions know neither
    told: set[str] = set()
    begun, meter = time.perf_counter(), MemoryMeter()

    def tell(at) -> None:
        stage = at if isinstance(at, str) else at.stage
        if stage not in told:
            told.add(stage)
            wall, cpu = time.perf_counter() - begun, time.process_time()
            print(
                f"  {stage}: after {wall:.0f} s, {cpu:.0f} CPU s; until then at most {meter.take():,.0f} MiB",
                flush=True,
            )

    train_model(sequences, semantic, np.ones(items, bool), IADSRConfig(), training, tell, **threads)
    tell("end")


class MemoryMeter:
    """Looks at the memory of this process ten times a second."""

    def __init__(self):
        self._most = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def take(self) -> float:
        """Returns the most MiB that were held since this was last asked for."""
        most, self._most = self._most, 0
        return most / (1 << 20)

    def _watch(self) -> None:
        while True:
            with open("/proc/self/statm") as file:
                self._most = max(self._most, int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
            time.sleep(0.1)


def measure(options: argparse.Namespace, source: str) -> tuple[float, float, float]:
    """Returns seconds, CPU seconds and MiB of a training with the package whose source lies in a directory.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryDirectory() as place:
        os.symlink(os.path.abspath(source), os.path.join(place, "iadsr"))
        environment = {**os.environ, "PYTHONPATH": place, "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, os.path.abspath(__file__), "--child", "--log", options.log]
        command += ["--workers", str(options.workers), "--dimension", str(options.dimension)]
        command += ["--users", str(options.users)] if options.users else []
        started = time.perf_counter()
        process = os.posix_spawn(sys.executable, command, environment)
        _, status, usage = os.wait4(process, 0)
        wall = time.perf_counter() - started
    if status:
        raise RuntimeError(f"the training with {source} ended with {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def write_log(options: argparse.Namespace) -> None:
    """Draws the log and writes it as flat arrays."""
    from .throughput_work import synthetic_log

    table = synthetic_log(options.rows, options.items)
    users, items = (np.unique(table[name].to_numpy(), return_inverse=True)[1] for name in ("user_id", "item_id"))
    np.savez(options.log, items=items[np.argsort(users, kind="stable")].astype(np.int32), lengths=np.bincount(users))


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--rows", type=int, default=200_000, help="interactions; a tenth as many users")
    add("--items", type=int, default=12_000)
    add("--dimension", type=int, default=384, help="numbers in a text vector")
    add("--workers", type=int, default=1, help="threads of today's version; an earlier one may know none")
    add("--users", type=int, help="as iadsr train --users")
    add("--earlier", help="source of an earlier version, to compare with")
    add("--log", help=argparse.SUPPRESS)
    add("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        train(options)
        return
    today = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sources = {"today": today} | ({"earlier": options.earlier} if options.earlier else {})
    with tempfile.TemporaryDirectory() as place:
        options.log = os.path.join(place, "log.npz")
        if os.fork() == 0:  # so that the memory of this process does not count as a training's
            write_log(options)
            os._exit(0)
        if os.wait()[1]:
            raise RuntimeError("the log could not be made")
        print(
            f"{options.rows:,} rows, {options.rows // 10:,} users, {options.items:,} items, {options.workers} workers"
        )
        print("\n| version | seconds | CPU seconds | peak memory |\n| --- | --- | --- | --- |", flush=True)
        for name, source in sources.items():
            wall, cpu, peak = measure(options, source)
            print(f"| {name} | {wall:,.0f} | {cpu:,.0f} | {peak:,.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
