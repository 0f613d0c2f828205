"""The diff command: which rows changed between two runs, which decisions, and why."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...transforms.run.manifest import read_manifest
from ...transforms.run.run_changes import RunChanges, compare_runs
from .command_options import DiffOptions
from .messages import counted, table_of
from .output_file import check_output_file, write_figures
from .results import Result, Table


@dataclasses.dataclass(frozen=True, repr=False)
class DiffResult(Result):
    """What is different between two runs."""

    earlier: str
    """Directory of the earlier run."""
    later: str
    """Directory of the later run."""
    changes: RunChanges
    """What has changed."""

    def __str__(self) -> str:
        """Says what has changed between the runs, and why."""
        found = self.changes
        before, after = found.interactions
        users = " to ".join(f"{number:,}" for number in found.users)
        lines = [
            f"From {self.earlier} to {self.later}: {before:,} to {counted(after, 'interaction')}, {users} users.",
            f"The runs differ in: {'; '.join(found.causes)}." if found.causes else "Model, rules and policy are equal.",
            f"Unchanged: {counted(found.unchanged, 'interaction')}.",
        ]
        return "\n".join([*lines, *(["", *table_of(self._rows())] if found.changes else ["Nothing has changed."])])

    def tables(self) -> Iterator[Table]:
        """Returns a row for each change and its cause."""
        yield self._rows()

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON-able values."""
        return {"earlier": self.earlier, "later": self.later, **dataclasses.asdict(self.changes)}

    def _rows(self) -> list[list[str]]:
        return [
            ["change", "why", "interactions", "users"],
            *([each.change, each.why, f"{each.interactions:,}", f"{each.users:,}"] for each in self.changes.changes),
        ]


def run_diff(options: DiffOptions) -> DiffResult:
    """Compares two finished runs.

    Raises:
        IadsrError: A run is not finished, a file cannot be read, or the result cannot be written.
    """
    for path, kind in ((options.output, "JSON"), (options.rows, "Parquet")):
        if path is not None:
            check_output_file(Path(path), kind)
    earlier, later = ((run, read_manifest(run)) for run in (options.earlier, options.later))
    rows = None if options.rows is None else str(Path(options.rows).absolute())
    result = DiffResult(options.earlier, options.later, compare_runs(earlier, later, rows))
    if options.output is not None:
        write_figures(Path(options.output), result.to_dict())
    return result
