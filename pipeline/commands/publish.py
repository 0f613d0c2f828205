"""The publish command: lets readers take a finished run if it passes its gates."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from ...transforms.files.storage import join
from ...transforms.run.gates import Bounds, check_gates, read_gates
from ...transforms.run.manifest import read_manifest
from ...transforms.run.published_runs import LATEST, Published, latest_run, locate, publish
from .check import CheckResult
from .command_options import PublishOptions
from .results import Result, Table


@dataclasses.dataclass(frozen=True, repr=False)
class PublishResult(Result):
    """What came of publishing a run."""

    check: CheckResult
    """What the gates say."""
    latest: str | None
    """Name of the run that readers take now; None if none is published."""
    published: Published | None
    """What has changed; None if a gate failed, and nothing has."""

    def __str__(self) -> str:
        """Says what the gates found, and which run readers take now."""
        if self.published is None:
            stays = f"{LATEST} stays at {self.latest}." if self.latest else "no run is published."
            return f"{self.check}\nNot published: {stays}"
        pointer = join(self.published.dataset, LATEST)
        gone = f"\nDeleted: {', '.join(self.published.deleted)}." if self.published.deleted else ""
        if self.published.latest != self.published.name:
            return f"{self.check}\nPublished beside {self.latest}, to which {pointer} still points.{gone}"
        return f"{self.check}\nPublished: {pointer} is {self.latest}.{gone}"

    def figures(self) -> dict[str, Any]:
        """Returns what the gates say, and the run that readers take now."""
        return {**self.check.figures(), "latest": self.latest}

    @property
    def passed(self) -> bool:
        """Whether the run is published."""
        return self.check.passed

    def tables(self) -> Iterator[Table]:
        """Returns a row for each gate."""
        yield from self.check.tables()


def run_publish(options: PublishOptions) -> PublishResult:
    """Checks a finished run against the latest published one, and publishes it if no gate fails.

    Raises:
        IadsrError: The run is not finished, the file of gates cannot be used, or the file system fails.
    """
    dataset, name = locate(options.run)
    bounds = {} if options.gates is None else read_gates(options.gates)
    latest = latest_run(dataset)
    # A run that is published again is not compared with itself.
    against = None if latest == name else latest
    return check_and_publish(options.run, against, bounds, options.keep_runs, backwards=True)


def check_and_publish(
    run: str, against: str | None, bounds: dict[str, Bounds], keep_runs: int | None, *, backwards: bool
) -> PublishResult:
    """Checks a finished run in a dataset directory, and publishes it if no gate fails.

    Args:
        run: Directory of the run.
        against: Name of the run beside it that it is compared with; None: none.
        bounds: Bounds of gates that are not the default ones.
        keep_runs: See `publish`.
        backwards: See `publish`.

    Raises:
        IadsrError: A run is not finished, or the file system fails.
    """
    dataset, _ = locate(run)
    earlier = None if against is None else join(dataset, against)
    checked = check_gates(read_manifest(run), None if earlier is None else read_manifest(earlier), bounds)
    check = CheckResult(run, earlier, checked)
    if not check.passed:
        return PublishResult(check, latest_run(dataset), None)
    published = publish(run, keep_runs, backwards=backwards)
    return PublishResult(check, published.latest, published)
