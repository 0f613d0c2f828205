"""Shows whether our rules leave the same rows as those of other libraries, on the same logs.

    python -m benchmarks.rules DIRECTORY[:COLUMN]... [--python LIBRARY=PATH]...

Each DIRECTORY holds `interactions.parquet`. COLUMN holds a number, such as a rating, for the rules about values. Some
libraries need versions that exclude each other, so each runs in a process of its own, with the Python that `--python`
names. A library that is not installed there is left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_log import WholeLog, read_log
from iadsr.transforms.rules.rule_log import rule_whole_log
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.rules.rule_set import make_rules

from .peers import rule_libraries

COLUMNS = InteractionColumns()
TITLES = {"replay": "RePlay", "recbole": "RecBole", "rectools": "RecTools", "polars": "Polars", "duckdb": "DuckDB"}
LONG_AGO = 1e12
"""Seconds. No log spans so many."""


@dataclass(frozen=True)
class Question:
    """Which rows does a rule leave?"""

    rule: str
    """Name of the rule in `peers.rule_libraries`."""
    values: tuple[Any, ...]
    """Its parameters there."""
    ours: dict[str, Any]
    """The same as options of ours."""


def questions(log: pa.Table) -> dict[str, Question]:
    """Returns the questions to ask about a log, by what tables call them.

    Args:
        log: What `write_log` has written. Without values, nothing is asked about them.
    """
    time = np.sort(log[COLUMNS.timestamp].to_numpy())
    # These are times of interactions, so the bounds themselves are put to the test.
    after, before = (np.datetime_as_string(time[int(len(time) * share)]) for share in (0.25, 0.75))
    period = {"after": f"{after}+00:00", "before": f"{before}+00:00"}
    core = {"min_user_interactions": 10, "min_item_interactions": 10}
    asked = {
        "users with 10": Question("users", (10,), {"min_user_interactions": 10}),
        "items with 10": Question("items", (10,), {"min_item_interactions": 10}),
        "core, 10 and 10": Question("core", (10, 10), core),
        "core, 20 and 5": Question("core", (20, 5), {"min_user_interactions": 20, "min_item_interactions": 5}),
        "core, 5 to 100 and 5 to 200": Question(
            "interval",
            ((5, 100), (5, 200)),
            {
                "min_user_interactions": 5,
                "max_user_interactions": 100,
                "min_item_interactions": 5,
                "max_item_interactions": 200,
            },
        ),
        "after, before": Question("period", (after, before), period),
        "last 30 days": Question("days", (30,), {"last_days": 30}),
        "first 10": Question("first", (10,), {"first_interactions": 10}),
        "last 10": Question("last", (10,), {"last_interactions": 10}),
        "users with 10, last 20": Question(
            "users, last", (10, 20), {"min_user_interactions": 10, "last_interactions": 20}
        ),
        "duplicates": Question("copy", (), {"duplicates": "drop"}),
        "item in a row": Question("in a row", (), {"repeats": "drop", "repeat_in_a_row": True, "repeat_seconds": 0}),
        "item again in 1 hour": Question("again", (3600,), {"repeats": "drop", "repeat_seconds": 3600}),
        "item again, ever": Question("pair", (), {"repeats": "drop", "repeat_seconds": LONG_AGO}),
        "bursts of 20": Question("burst", (20,), {"bursts": "drop", "burst_size": 20}),
    }
    if not log["value"].null_count:
        low = float(np.median(log["value"].to_numpy()))
        value = {"value_column": "value", "min_value": low}
        asked[f"value from {low:g}"] = Question("value", (low,), value)
        asked[f"value from {low:g}, core"] = Question("value, core", (low, 10, 10), {**value, **core})
    return asked


def write_log(directory: str, value_column: str | None, path: str) -> pa.Table:
    """Writes the log that all are asked about, and returns it.

    It is in order of user, time, item and row of the input. That is our order, and it leaves nothing to chance in
    libraries that keep the order of equal times.
    """
    source = LogSource(os.path.join(directory, "interactions.parquet"), COLUMNS)
    read = read_log(source, plan_input(source), (value_column,) if value_column else ())
    table = read.ordered.table
    seconds = read.clock.start + read.clock.seconds(read.ordered.time)
    value = table[value_column].cast(pa.float64()) if value_column else pa.nulls(len(table), pa.float64())
    log = pa.table(
        {
            "row": np.arange(len(table)),
            COLUMNS.user: table[COLUMNS.user].cast(pa.string()),
            COLUMNS.item: table[COLUMNS.item].cast(pa.string()),
            COLUMNS.timestamp: pa.array(np.round(seconds * 1e6).astype("datetime64[us]")),
            "value": value,
        }
    )
    pq.write_table(log, path)
    return log


def ask_ours(path: str, asked: dict[str, Question]) -> dict[str, np.ndarray]:
    """Returns the numbers of the rows that our rules leave, by question."""
    source = LogSource(path, COLUMNS)
    log = read_log(source, plan_input(source), ("row", "value"))
    return {name: _ask_ours(log, question) for name, question in asked.items()}


def _ask_ours(log: WholeLog, question: Question) -> np.ndarray:
    others = {"duplicates": "count", "machines": "count"}  # all rules but these only count unless they are asked
    rules = make_rules(
        RuleOptions(**{**others, **question.ours}), COLUMNS.item, log.ordered.table.schema.field(COLUMNS.item).type
    )
    ruled = rule_whole_log(log.ordered, rules, COLUMNS, log.clock)
    return log.ordered.table["row"].to_numpy()[ruled.open]


def ask_library(library: str, python: str, path: str, asked: dict[str, Question]) -> dict[str, np.ndarray] | None:
    """Returns the numbers of the rows that a library leaves, by question; None if it is not installed.

    Questions that it has no rule for are not in the answer.

    Raises:
        CalledProcessError: It failed.
    """
    needs = rule_libraries.MODULES[library]
    here = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {needs})))"
    if subprocess.run([python, "-c", here], check=False).returncode:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        asks, answers = os.path.join(scratch, "questions.json"), os.path.join(scratch, "answers.npz")
        with open(asks, "w", encoding="utf-8") as file:
            json.dump({name: [question.rule, *question.values] for name, question in asked.items()}, file)
        command = [python, rule_libraries.__file__, library, path, asks, answers]
        subprocess.run(command, check=True, cwd=scratch, stdout=subprocess.DEVNULL)
        with np.load(answers) as found:
            return {name: found[name] for name in found.files}


def compare(log: pa.Table, ours: np.ndarray, theirs: np.ndarray) -> str:
    """Says how the rows that two rules leave differ."""
    differing = np.setxor1d(ours, theirs)
    if not len(differing):
        return "same"
    # An order by time leaves it open which of such rows comes first.
    seen = rule_libraries.KEYS
    only_ours, only_theirs = (
        log.take(np.setdiff1d(one, other)).select(seen).sort_by([(name, "ascending") for name in seen])
        for one, other in ((ours, theirs), (theirs, ours))
    )
    if only_ours.equals(only_theirs):
        return "same, but for which rows of one user, item and time"
    return f"{len(differing):,} differ ({len(ours):,} and {len(theirs):,} stay)"


def describe(log: pa.Table, ours: dict[str, np.ndarray], theirs: dict[str, dict[str, np.ndarray]]) -> str:
    """Formats the answers of all libraries as Markdown. A library without a rule has an empty cell."""
    lines = [f"| rule | rows that stay | {' | '.join(TITLES[library] for library in theirs)} |"]
    lines.append("| --- | --- |" + " --- |" * len(theirs))
    for name, kept in ours.items():
        cells = [compare(log, kept, answers[name]) if name in answers else "" for answers in theirs.values()]
        lines.append(f"| {name} | {len(kept):,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", nargs="+", metavar="DIRECTORY[:COLUMN]")
    parser.add_argument(
        "--python", action="append", default=[], metavar="LIBRARY=PATH", help="the Python in which a library is"
    )
    options = parser.parse_args()
    pythons = dict.fromkeys(TITLES, sys.executable) | _split(options.python, "=")
    for directory, column in ((each.partition(":")[0], each.partition(":")[2]) for each in options.data):
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "log.parquet")
            log = write_log(directory, column or None, path)
            asked = questions(log)
            ours, theirs = ask_ours(path, asked), {}
            for library in TITLES:
                answers = ask_library(library, pythons[library], path, asked)
                if answers is None:
                    print(f"{TITLES[library]}: not installed", flush=True)
                else:
                    theirs[library] = answers
        print(f"\n**{os.path.basename(os.path.normpath(directory))}**, {len(log):,} rows\n")
        print(describe(log, ours, theirs), flush=True)


def _split(pairs: Iterable[str], sign: str) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition(sign) for pair in pairs)}


if __name__ == "__main__":
    main()
