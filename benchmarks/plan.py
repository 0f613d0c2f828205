"""Prints what `iadsr doctor` plans for a run beside what the run takes.

    python -m benchmarks.plan --work DIRECTORY --rows 1000000
    python -m benchmarks.plan --work DIRECTORY --rows 10000000 --only rules
    python -m benchmarks.plan --work DIRECTORY --rows 100000 --versitygw PROGRAM    # requests to an S3 server

The log is that of `throughput`. Each run has a process and a core of its own.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from iadsr.pipeline.commands.work_plan import WorkPlan, plan_work, row_bytes
from iadsr.transforms.files.storage import join
from iadsr.transforms.items.embedding_files import vector_bytes
from iadsr.transforms.judge.artifacts import COLLABORATIVE
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_splits import read_split
from iadsr.transforms.shuffle.slices import Shuffle

from .object_store import BUCKET, Server, cut
from .throughput_work import Paths, prepare

KINDS = {"rules": "`clean --rules-only`", "clean": "`clean`"}
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """What a run took."""

    shards: int
    """Shards of the result."""
    worker_bytes: int
    """Largest resident memory of its process."""
    staged_bytes: int
    """Bytes between the steps."""
    output_bytes: int
    """Bytes of the result's tables."""
    cpu_seconds: float
    """Of its process."""


def planned(log: str, paths: Paths, *, scored: bool, shuffle: Shuffle = "claim-check") -> WorkPlan:
    """Plans a run as `iadsr doctor` does."""
    source = LogSource(log)
    plan = plan_input(source)
    first, _ = read_split(plan.splits[0], source.columns, plan.schema)
    vectors = None
    if scored:
        vectors = vector_bytes(paths.embeddings) + vector_bytes(join(paths.model, COLLABORATIVE))
    return plan_work(plan, plan.sharding().shards, row_bytes(first, plan), shuffle, vectors)


def words(log: str, embeddings: str, model: str, output: str, *, scored: bool) -> list[str]:
    """Returns the command line of a run."""
    how = ["--embeddings", embeddings, "--model", model] if scored else ["--rules-only"]
    return ["clean", "--interactions", log, "--output", output, *how]


def measure(paths: Paths, *, scored: bool) -> Measured:
    """Runs `iadsr clean` in a process of its own.

    Raises:
        RuntimeError: It failed.
    """
    shutil.rmtree(paths.output, ignore_errors=True)
    asked = words(paths.log, paths.embeddings, paths.model, paths.output, scored=scored)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    # An installed package is compiled once, not at every start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks.plan", "--work", paths.work, "--child", json.dumps(asked)]
    _, status, usage = os.wait4(os.posix_spawn(sys.executable, command, environment), 0)
    if status:
        raise RuntimeError(f"clean ended with {os.waitstatus_to_exitcode(status)}")
    output = Path(paths.output)
    return Measured(
        shards=len(list((output / "interactions").iterdir())),
        worker_bytes=usage.ru_maxrss * 1024,
        staged_bytes=int(_note(paths.work).read_text()),
        output_bytes=sum(path.stat().st_size for path in output.rglob("*.parquet")),
        cpu_seconds=usage.ru_utime + usage.ru_stime,
    )


def run_child(work: str, asked: list[str]) -> None:
    """Runs a command, and notes how much waited between its steps before that is deleted."""
    from iadsr.pipeline.cli.app import main
    from iadsr.transforms.run.run_store import RunStore

    remove = RunStore.remove_staging

    def note_and_remove(store: RunStore) -> None:
        files = [path for path in Path(store.staging).rglob("*") if path.is_file()]
        _note(work).write_text(str(sum(path.stat().st_size for path in files)))
        remove(store)

    RunStore.remove_staging = note_and_remove
    sys.argv = ["iadsr", *asked]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        main()


def _note(work: str) -> Path:
    return Path(work) / "staged-bytes"


def count_requests(program: str, log: Path, paths: Paths, *, scored: bool) -> int:
    """Runs `iadsr clean` against an S3 server. Returns how many requests that took."""
    server = Server(program, Path(paths.work) / "store")
    try:
        for source in (log, Path(paths.embeddings), Path(paths.model)) if scored else (log,):
            shutil.copytree(source, server.bucket / source.name)
        names = (log.name, Path(paths.embeddings).name, Path(paths.model).name, "output")
        asked = words(*(f"s3://{BUCKET}/{name}" for name in names), scored=scored)
        command = [sys.executable, "-m", "iadsr.pipeline", *asked]
        environment = {**os.environ, **server.environment}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return sum(server.requests().values())
    finally:
        server.end()


def describe(kind: str, plan: WorkPlan, found: Measured) -> Iterator[str]:
    """Formats a run as rows of a Markdown table."""
    pairs = {
        "shards": (plan.shards, found.shards),
        "peak memory of the worker, MiB": (plan.worker_bytes / MIB, found.worker_bytes / MIB),
        "between the steps, MiB": (plan.staged_bytes / MIB, found.staged_bytes / MIB),
        "result, MiB": (plan.output_bytes / MIB, found.output_bytes / MIB),
        "CPU seconds": (plan.cpu_seconds, found.cpu_seconds),
    }
    for what, (expected, taken) in pairs.items():
        yield row(kind, plan.rows, what, expected, taken)


def row(kind: str, rows: int, what: str, expected: float, taken: float) -> str:
    """Formats one figure as a row of a Markdown table."""
    digits = 1 if max(expected, taken) < 100 and what not in ("shards", "requests") else 0
    return (
        f"| {KINDS[kind]} | {rows:,} | {what} | {expected:,.{digits}f} | {taken:,.{digits}f} | {expected / taken:.2f} |"
    )


def main() -> None:
    """Plans, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="directory for the log, the model and the outputs")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=12_000)
    parser.add_argument("--only", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--files", type=int, default=4, help="files of the log where requests are counted")
    parser.add_argument("--versitygw", help="program of an S3 server: count requests, and measure nothing else")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.work, options.child)
        return
    paths = Paths(options.work, options.rows, options.items)
    prepare(paths, scores="clean" in options.only)
    print("| run | rows | what | planned | measured | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for kind in options.only:
        scored = kind == "clean"
        if options.versitygw:
            log = cut(paths, options.files)
            plan = planned(str(log), paths, scored=scored, shuffle="bytes")
            found = count_requests(options.versitygw, log, paths, scored=scored)
            print(row(kind, plan.rows, "requests", plan.requests, found), flush=True)
        else:
            plan, measured = planned(paths.log, paths, scored=scored), measure(paths, scored=scored)
            print("\n".join(describe(kind, plan, measured)), flush=True)


if __name__ == "__main__":
    main()
