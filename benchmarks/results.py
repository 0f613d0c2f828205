"""Measurements of single runs, kept as JSON lines so that a long grid can be resumed."""

import json
import os
from dataclasses import asdict, dataclass

from .datasets import Setting
from .measures import Detection, Dropping


@dataclass(frozen=True)
class Run:
    """One scorer on one log with one setting and seed."""

    data: str
    """Name of the data set."""
    setting: Setting
    """The noise."""
    seed: int
    """Seed of the noise and of the training."""
    scorer: str
    """The scorer's name in `SCORERS`."""


@dataclass(frozen=True)
class Result:
    """What a run measured."""

    run: Run
    """The run."""
    detection: Detection
    """How well the noise was found."""
    training_seconds: float
    """CPU time. Other work of the machine hardly changes it."""
    scoring_seconds: float
    """CPU time."""


class Results:
    """The results so far, in memory. With a path, every new one is also appended to a file at once."""

    def __init__(self, path: str | None = None):
        self._path = path
        self._by_run: dict[Run, Result] = {}
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                for line in file:
                    result = _parse(json.loads(line))
                    self._by_run[result.run] = result

    def __contains__(self, run: Run) -> bool:
        """Whether a run has been done."""
        return run in self._by_run

    def __getitem__(self, run: Run) -> Result:
        """Returns what a run measured."""
        return self._by_run[run]

    def add(self, result: Result) -> None:
        """Adds a result."""
        self._by_run[result.run] = result
        if self._path:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(result)) + "\n")


def _parse(line: dict) -> Result:
    run, detection = line["run"], line["detection"]
    return Result(
        Run(**{**run, "setting": Setting(**run["setting"])}),
        Detection(**{**detection, "dropping": Dropping(**detection["dropping"])}),
        line["training_seconds"],
        line["scoring_seconds"],
    )
