"""Measures how much of the machine's time is not spent on the work itself, in CPU seconds of whole processes.

    python -m benchmarks.throughput --work DIRECTORY --rows 1000000

Each piece of work runs in a process of its own, on one core, and all of them in one run. The log is synthetic: Zipf
items, users of 1 to 10,000 interactions. Polars and DuckDB are measured if they are installed.
"""

import argparse
import atexit
import gc
import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import rules_work
from . import throughput_work as work

TITLES = {
    "clean": "iadsr clean",
    "clean-bare": "the same work in a bare loop, without Beam",
    "sequences": "read, validate, group, order, write, in Beam",
    "sequences-bare": "the same in a bare pyarrow loop, hash-sharded, without checking rows",
    "sequences-polars": "group, order, write in Polars",
    "sequences-duckdb": "group, order, write in DuckDB",
    "rules": "iadsr clean --rules-only, with repeats, window and core",
    "rules-polars": "the same rules in Polars",
    "rules-duckdb": "the same rules in DuckDB",
    "rules-defaults": "iadsr clean --rules-only",
    "rules-none": "the same without any rule",
    "score": "scoring alone, sequences in memory",
    "score-paper": "scoring alone with the paper's head",
    "score-per-item": "scoring user by user and position by position, as the published code does",
}
PEERS = {
    "clean": ("clean-bare",),
    "sequences": ("sequences-bare", "sequences-polars", "sequences-duckdb"),
    "rules": ("rules-polars", "rules-duckdb"),
    "rules-defaults": ("rules-none",),
    "score": ("score-paper", "score-per-item"),
    "score-paper": ("score-per-item",),
}
TARGETS = {
    "clean-bare": 0.97,
    "sequences-bare": 0.95,
    "sequences-polars": 1.0,
    "sequences-duckdb": 1.0,
    "rules-polars": 1.0,
    "rules-duckdb": 1.0,
    "rules-none": 1 / 1.1,
    "score-paper": 1 / 1.5,
    "score-per-item": 100.0,
}
GROWTH_TARGET = 1.2


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    rows: int
    """Interactions that it went through."""
    cpu_seconds: float
    """Of the process and its children."""
    peak_bytes: int
    """Largest resident memory."""

    @property
    def speed(self) -> float:
        """Interactions per CPU second."""
        return self.rows / self.cpu_seconds


def measure(name: str, options: argparse.Namespace, rows: int | None = None) -> Cost:
    """Runs one piece of work in a process of its own, on a log of `--rows` or of `rows` interactions.

    Raises:
        RuntimeError: It failed.
    """
    rows = rows or options.rows
    output = os.path.join(options.work, "output")
    shutil.rmtree(output, ignore_errors=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    # An installed package is compiled once, not at every start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks.throughput", "--work", options.work, "--child", name]
    command += ["--rows", str(rows), "--items", str(options.items), *["--skew"] * options.skew]
    process = os.posix_spawn(sys.executable, command, environment)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
    # Preparations, such as reading the log when only scoring is measured, do not count.
    whole = {"rows": rows, "seconds": usage.ru_utime + usage.ru_stime}
    told = whole | _told(options.work)
    return Cost(int(told["rows"]), told["seconds"], usage.ru_maxrss * 1024)


def _told(directory: str) -> dict[str, float]:
    path = os.path.join(directory, "told.json")
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        told = json.load(file)
    os.remove(path)
    return told


def run_child(options: argparse.Namespace) -> None:
    """Does one piece of work, in a process that is measured from outside."""
    # As iadsr does. No peer pays for the collection of garbage at its end.
    atexit.register(gc.freeze)
    paths = work.Paths(options.work, options.rows, options.items, options.skew)
    told = CHILDREN[options.child](paths)
    if told:
        with open(os.path.join(options.work, "told.json"), "w", encoding="utf-8") as file:
            json.dump(told, file)


def prepare(paths: work.Paths, *, scores: bool, rules: bool) -> None:
    """Makes what the pieces of work read."""
    work.prepare(paths, scores=scores)
    if rules:
        rules_work.prepare(paths)


CHILDREN: dict[str, Callable[[work.Paths], dict[str, float] | None]] = {
    "clean": work.clean_with_beam,
    "clean-bare": work.clean_in_a_loop,
    "sequences": work.sequences_with_beam,
    "sequences-bare": work.sequences_in_a_loop,
    "sequences-polars": work.sequences_in_polars,
    "sequences-duckdb": work.sequences_in_duckdb,
    "rules": rules_work.rules_with_beam,
    "rules-polars": rules_work.rules_in_polars,
    "rules-duckdb": rules_work.rules_in_duckdb,
    "rules-defaults": rules_work.default_rules_with_beam,
    "rules-none": rules_work.no_rules_with_beam,
    "score": work.score,
    "score-paper": work.score_as_in_the_paper,
    "score-per-item": work.score_per_item,
}


def describe(costs: dict[str, Cost]) -> str:
    """Formats all costs and ratios as Markdown."""
    lines = ["| what | interactions per CPU second | peak memory |", "| --- | --- | --- |"]
    lines += [
        f"| {TITLES[name]} | {cost.speed:,.0f} | {cost.peak_bytes / 2**20:,.0f} MiB |" for name, cost in costs.items()
    ]
    lines += ["", "| ours | against | speed ratio | target |", "| --- | --- | --- | --- |"]
    for ours, peers in PEERS.items():
        for peer in peers:
            if ours in costs and peer in costs:
                ratio = costs[ours].speed / costs[peer].speed
                lines.append(f"| {TITLES[ours]} | {TITLES[peer]} | {ratio:.2f} | {TARGETS[peer]:.3g} |")
    return "\n".join(lines)


def describe_growth(small: dict[str, Cost], large: dict[str, Cost]) -> str:
    """Formats how much more memory the whole log takes than a quarter of it, as Markdown."""
    lines = [
        "| what | peak memory, a quarter of the log | the whole log | ratio | target |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, cost in small.items():
        ratio = large[name].peak_bytes / cost.peak_bytes
        peaks = f"{cost.peak_bytes / 2**20:,.0f} MiB | {large[name].peak_bytes / 2**20:,.0f} MiB"
        lines.append(f"| {TITLES[name]} | {peaks} | {ratio:.2f} | at most {GROWTH_TARGET:g} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add(
        "--work",
        required=True,
        help="directory for the synthetic log, the model and the outputs; kept for the next time",
    )
    add("--rows", type=int, default=10_000_000, help="interactions; a tenth as many users")
    add("--items", type=int, default=12_000)
    add("--only", nargs="+", choices=tuple(CHILDREN), default=list(CHILDREN))
    add(
        "--repeat", type=int, default=1, help="measure all in turn so often, and take the run of least CPU time of each"
    )
    add("--skew", action="store_true", help="a log of which one user has a tenth, and one item half")
    add("--growth", action="store_true", help="measure the memory of ours on a quarter of the log too")
    add("--child", choices=tuple(CHILDREN), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options)
        return
    started = time.perf_counter()
    rules = any(name.startswith("rules") for name in options.only)
    scores = any(not name.startswith(("sequences", "rules")) for name in options.only)
    quarter = options.rows // 4
    for rows in (options.rows, quarter) if options.growth else (options.rows,):
        # In a process of its own, because the peak memory of a child includes what its parent had taken.
        paths = work.Paths(options.work, rows, options.items, options.skew)
        maker = multiprocessing.get_context("spawn").Process(
            target=prepare, args=(paths,), kwargs={"scores": scores, "rules": rules}
        )
        maker.start()
        maker.join()
        if maker.exitcode:
            raise RuntimeError(f"making the log and the model ended with {maker.exitcode}")
    print(f"Log and model made in {time.perf_counter() - started:.0f} s.", flush=True)
    costs: dict[str, Cost] = {}
    for name in options.only * options.repeat:
        library = name.partition("-")[2]
        if library in ("polars", "duckdb") and not importlib.util.find_spec(library):
            print(f"{TITLES[name]}: not installed", flush=True)
            continue
        cost = measure(name, options)
        print(f"{TITLES[name]}: {cost.cpu_seconds:.1f} CPU s", flush=True)
        costs[name] = min(cost, costs.get(name, cost), key=lambda cost: cost.cpu_seconds)
    print(f"\n{describe(costs)}")
    if options.growth:
        small = {name: measure(name, options, quarter) for name in costs if name in PEERS}
        print(f"\n{describe_growth(small, costs)}")


if __name__ == "__main__":
    main()
