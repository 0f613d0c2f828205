"""Measures what a night costs in which few users have new rows, in CPU seconds of whole processes.

    python -m benchmarks.incremental --work DIRECTORY --rows 1000000

A run in a dataset directory takes over the scores of users who have not changed. The first night cleans a synthetic
log. Before the second one, a share of the users has new rows, in a file of their own. That night is compared with a
clean of all rows at once, whose Parquet files must have the same bytes.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from iadsr.transforms.run.gates import GATES

from . import throughput_work as work

TARGET = 0.05
NEW_ROWS = 3
"""New rows of each user who has some."""


def new_rows(log: pa.Table, share: float, items: int, seed: int = 0) -> pa.Table:
    """Draws the rows of the next day: NEW_ROWS rows for a share of the users of a log, later than all of its rows."""
    generator = np.random.default_rng(seed)
    users = pc.unique(log["user_id"])
    chosen = generator.choice(len(users), max(round(share * len(users)), 1), replace=False)
    user = np.repeat(chosen, NEW_ROWS)
    item = pa.array(generator.integers(0, items, len(user))).cast(pa.string())
    last = pc.max(log["timestamp"]).as_py()
    return pa.table(
        {
            "user_id": users.take(pa.array(user)),
            "item_id": pc.binary_join_element_wise("item", item, "-"),
            "timestamp": pa.array(np.sort(generator.integers(last + 1, last + 86_400, len(user)))),
        }
    )


def clean(paths: work.Paths, log: str, *place: str) -> float:
    """Cleans a log in a process of its own; returns its CPU seconds.

    Raises:
        RuntimeError: It failed.
    """
    inputs = ["--interactions", log, "--embeddings", paths.embeddings, "--model", paths.model]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "iadsr.pipeline", "clean", *inputs, *place]
    process = os.posix_spawn(sys.executable, command, environment)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"clean ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def contents(output: Path) -> dict[str, bytes]:
    """Returns the Parquet files of a run."""
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(output.rglob("*.parquet"))}


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.incremental", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--work", required=True, help="directory for the log, the model and the runs")
    parser.add_argument("--rows", type=int, default=1_000_000, help="interactions; a tenth as many users")
    parser.add_argument("--items", type=int, default=12_000)
    parser.add_argument("--share", type=float, default=0.01, help="share of the users who have new rows")
    options = parser.parse_args()
    paths = work.Paths(options.work, options.rows, options.items)
    work.prepare(paths)
    root = Path(options.work)
    log, dataset, alone = root / "days", root / "dataset", root / "alone"
    for path in (log, dataset, alone):
        shutil.rmtree(path, ignore_errors=True)
    log.mkdir()
    shutil.copy(paths.log, log / "day-1.parquet")
    # The drawn log is noisier than any real one.
    (root / "gates.yaml").write_text("".join(f"{gate.name}: off\n" for gate in GATES))
    into = ("--dataset", str(dataset), "--gates", str(root / "gates.yaml"))
    first = clean(paths, str(log), *into, "--run-id", "2026-11-27")
    pq.write_table(new_rows(pq.read_table(paths.log), options.share, options.items), log / "day-2.parquet")
    night = clean(paths, str(log), *into, "--run-id", "2026-11-28")
    whole = clean(paths, str(log), "--output", str(alone))
    run = dataset / "run=2026-11-28"
    same = contents(run) == contents(alone)
    manifest = json.loads((run / "manifest.json").read_text())
    seconds = {name: value for name, value in manifest["durations_seconds"].items() if name != "total"}
    print(f"first night {first:.1f} CPU s, second night {night:.1f} CPU s, all rows at once {whole:.1f} CPU s")
    print(f"users {manifest['users']['total']:,}, taken over {manifest['taken_over']['scored_users']:,}")
    print("second night, worker seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    print(f"second night / all rows at once: {night / whole:.3f} (target {TARGET}); same bytes: {same}")


if __name__ == "__main__":
    main()
