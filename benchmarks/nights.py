"""Simulated nights under a real Airflow: a log that grows by a day, a broken feed, kills, and what must come out.

The nights are those of the last days of the log. Each runs the DAG in runner_configs/airflow by `airflow dags test`,
which needs an Airflow in an environment of its own: `make test-airflow` makes one.

    python -m benchmarks.nights DATA --airflow .airflow/bin/airflow --output nights --nights 30 --broken 8

The same command again goes on after the last night that has come to its end.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FOLDER = Path(__file__).parents[1] / "runner_configs"

DAG = "iadsr_nightly"

DAY_SECONDS = 86_400

EPOCH = datetime.date(1970, 1, 1)

TIMEOUT = 7200


@dataclasses.dataclass(frozen=True)
class Airflow:
    """An Airflow with a database of its own, and the nights that it has run."""

    program: Path
    """The command line of Airflow."""
    home: Path
    """Its home directory."""

    @classmethod
    def start(cls, program: Path, home: Path, settings: dict[str, str]) -> "Airflow":
        """Makes the database, and sets the variable and the pool that the DAG needs.

        Args:
            program: The command line of Airflow.
            home: Its home directory. If it is there, nothing is done to it.
            settings: Settings of nightly.sh.
        """
        if home.exists():
            return cls(program, home)
        home.mkdir(parents=True)
        (home / "variables.json").write_text(json.dumps({"iadsr": {"script": str(FOLDER / "nightly.sh"), **settings}}))
        airflow = cls(program, home)
        for command in ("db migrate", f"variables import {home}/variables.json", "pools set iadsr 1 work"):
            subprocess.run([program, *command.split()], env=airflow.environment, check=True, capture_output=True)
        return airflow

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of all its commands."""
        return {
            **os.environ,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(FOLDER / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def night(self, day: str, kill: "Kill | None" = None) -> dict[str, str]:
        """Runs the DAG for a day.

        Args:
            day: The day.
            kill: When to kill all processes of the night; None: never.

        Returns:
            The state of each task.
        """
        with self.log(day).open("ab") as output:
            command = [self.program, "dags", "test", DAG, day]
            process = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)
            deadline = time.monotonic() + TIMEOUT
            while process.poll() is None:
                if time.monotonic() > deadline or (kill is not None and kill.is_due()):
                    kill_tree(process.pid)
                    process.wait()
                time.sleep(0.05)
        return self.states(day)

    def log(self, day: str) -> Path:
        """Returns the file with what Airflow said in a night. It appears when the night starts."""
        return self.home / f"{day}.log"

    def states(self, day: str) -> dict[str, str]:
        """Returns the state of each task of a day's latest run."""
        with sqlite3.connect(self.home / "airflow.db") as database:
            rows = database.execute(
                "select task_id, state from task_instance where run_id = (select run_id from dag_run "
                "where dag_id = ? and logical_date like ? order by id desc limit 1)",
                (DAG, f"{day}%"),
            )
            return dict(rows.fetchall())


@dataclasses.dataclass
class Kill:
    """When to kill a night: so many seconds after a file or folder has appeared."""

    path: Path
    """What has to appear."""
    seconds: float
    """How long to wait then."""
    seen: float | None = None
    """When it has appeared."""

    def is_due(self) -> bool:
        """Whether it is time."""
        if self.seen is None and self.path.exists():
            self.seen = time.monotonic()
        return self.seen is not None and time.monotonic() > self.seen + self.seconds


def kill_tree(process: int) -> None:
    """Kills a process and all that descend from it, each of which may be in a session of its own."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    for each in found:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def write_days(log: pa.Table, output: Path, ends: dict[str, int], broken: set[str]) -> None:
    """Writes the log as it stands at the end of each day, to output/DAY/log.parquet.

    Args:
        log: The log, with a column `timestamp` of numbers.
        output: Where to write.
        ends: The days, and the time before which all rows of each day lie.
        broken: Days on which the feed has lost two thirds of the rows.
    """
    order = pc.array_sort_indices(log["timestamp"]).to_numpy()
    times = log["timestamp"].to_numpy()[order]
    for day, end in ends.items():
        rows = order[: np.searchsorted(times, end)]
        (output / day).mkdir(parents=True)
        pq.write_table(log.take(rows[::3] if day in broken else rows), output / day / "log.parquet")


def hashes(run: Path) -> dict[str, str]:
    """Returns the hash of each Parquet file of a run, by its path."""
    files = sorted(run.rglob("*.parquet"))
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def make_older(folder: Path, days: float) -> None:
    """Sets back the times of all files in a folder, as simulated nights take minutes."""
    for path in folder.rglob("*"):
        if path.is_file():
            then = time.time() - days * DAY_SECONDS
            os.utime(path, (then, then))


def simulate(airflow: Airflow, root: Path, days: Iterable[str], kills: dict[str, Kill]) -> Iterator[str]:
    """Runs nights one after the other, and yields a line for each. Those that have come to their end are left out.

    Args:
        airflow: The scheduler.
        root: What the nights write to.
        days: The days.
        kills: Nights that are killed and run again.
    """
    places = {day: place for place, day in enumerate(days)}
    for day, place in places.items():
        if have_ended(airflow.states(day)):
            continue
        for model in (root / "models").glob("model=*"):
            make_older(model, place - places[model.name.removeprefix("model=")])
        began, note = time.monotonic(), ""
        if day in kills and not airflow.log(day).exists():
            note = f"; {describe_kill(airflow.night(day, kills[day]))}, and run again"
        yield f"{day}: {describe(airflow.night(day), root, day)}; {time.monotonic() - began:.0f} s{note}"


def have_ended(states: dict[str, str]) -> bool:
    """Whether all tasks of a night have come to their end."""
    return bool(states) and set(states.values()) <= {"success", "skipped", "failed", "upstream_failed"}


def describe_kill(states: dict[str, str]) -> str:
    """Says where a night was killed, by the states of its tasks."""
    if have_ended(states):
        return "ended before it was to be killed"
    running = [task for task, state in states.items() if state == "running"]
    return f"killed in {running[0]}" if running else "killed between tasks"


def describe(states: dict[str, str], root: Path, day: str) -> str:
    """Says what was read, what the tasks of a night came to, and what readers take now."""
    manifest = json.loads((root / "dataset" / f"run={day}" / "manifest.json").read_text())
    users, taken_over = manifest["users"]["total"], (manifest["taken_over"] or {"scored_users": 0})["scored_users"]
    by_state = {state: [task for task in states if states[task] == state] for state in states.values()}
    tasks = "; ".join(f"{state}: {', '.join(tasks)}" for state, tasks in by_state.items())
    latest = (root / "dataset" / "LATEST").read_text().strip()
    figures = f"{manifest['rows']['read']:,} rows; scores of {taken_over:,} of {users:,} users taken over"
    return f"{figures}; {tasks}; LATEST {latest}"


def is_same_at_once(root: Path, day: str, settings: dict[str, str]) -> bool:
    """Whether a night has the bytes of a run by itself: in no dataset, all at once, and not killed."""
    run, again = root / "dataset" / f"run={day}", root / "again" / day
    model = json.loads((run / "manifest.json").read_text())["model"]["path"]
    command = [settings["IADSR_COMMAND"], "clean", *settings["IADSR_CLEAN_OPTIONS"].split(), "--model", model]
    command += ["--interactions", settings["IADSR_LOG"].replace("{day}", day), "--output", str(again)]
    command += ["--embeddings", f"{root}/embeddings", "--overwrite"]
    subprocess.run(command, check=True, capture_output=True)
    return hashes(run) == hashes(again)


def main() -> None:
    """Runs the simulation from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nights",
        description=(__doc__ or "").partition("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("data", type=Path, help="directory that holds interactions.parquet and items.parquet")
    add("--airflow", type=Path, required=True, help="the command line of Airflow")
    add("--iadsr", type=Path, default=Path(sys.executable).with_name("iadsr"), help="the command line of iadsr")
    add("--output", type=Path, required=True, help="directory to write to")
    add("--nights", type=int, default=30, help="the last days of the log")
    add("--day", type=int, default=86_400_000, help="length of a day in the unit of the timestamps")
    add("--users", type=int, help="take the users with the smallest ids only")
    add("--broken", type=int, action="append", default=[], help="night whose feed is broken, from 1; may be repeated")
    add("--kills", type=int, default=5, help="so many nights are killed at a random moment and run again")
    add("--kill-seconds", type=float, default=60, help="the moment lies within so many seconds of the night's start")
    add("--retrain-days", type=float, default=7, help="train again when the model is older")
    add("--train-options", default="", help="further options of train")
    add("--formats", default="recbole hf")
    add("--seed", type=int, default=0)
    options = parser.parse_args()
    root, chance = options.output.absolute(), random.Random(options.seed)
    log = pq.read_table(options.data / "interactions.parquet")
    if options.users is not None:
        users = pc.array_take(pc.unique(log["user_id"]).sort(), pa.array(range(options.users)))
        log = log.filter(pc.is_in(log["user_id"], value_set=users))
    last = pc.max(log["timestamp"]).as_py() // options.day
    numbers = range(last - options.nights + 1, last + 1)
    ends = {str(EPOCH + datetime.timedelta(number)): (number + 1) * options.day for number in numbers}
    days = list(ends)
    broken = {days[night - 1] for night in options.broken}
    if not (root / "gates.yaml").exists():
        write_days(log, root / "log", ends, broken)
        shutil.copy(options.data / "items.parquet", root / "items.parquet")
        (root / "gates.yaml").write_text(f"model_age: {{warn: {options.retrain_days - 0.5}}}\n")
    position = "--position-column position" if "position" in log.column_names else ""
    settings = {
        "IADSR_COMMAND": str(options.iadsr.absolute()),
        "IADSR_DIR": str(root),
        "IADSR_ITEMS": str(root / "items.parquet"),
        "IADSR_LOG": f"{root}/log/{{day}}",
        "IADSR_GATES": str(root / "gates.yaml"),
        "IADSR_KEEP_RUNS": str(options.nights),
        "IADSR_FORMATS": options.formats,
        "IADSR_PROM": str(root / "iadsr.prom"),
        "IADSR_TRAIN_OPTIONS": f"--hold-out 2 {position} {options.train_options}",
        "IADSR_CLEAN_OPTIONS": f"--hold-out 2 {position}",
    }
    print(f"{len(log):,} interactions, {options.nights} nights, broken: {', '.join(sorted(broken)) or 'none'}")
    airflow = Airflow.start(options.airflow.absolute(), root / "airflow", settings)
    killed = sorted(chance.sample([day for day in days[1:] if day not in broken], options.kills))
    kills = {day: Kill(airflow.log(day), chance.uniform(0, options.kill_seconds)) for day in killed}
    for line in simulate(airflow, root, days, kills):
        print(line, flush=True)
    for day in dict.fromkeys([*killed, days[-1]]):
        same = is_same_at_once(root, day, settings)
        print(f"{day}: {'the same bytes' if same else 'OTHER BYTES'} as all at once", flush=True)


if __name__ == "__main__":
    main()
