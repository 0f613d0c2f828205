"""The check command: compares a finished run with its gates."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...transforms.contract.python_values import replace_non_finite
from ...transforms.run.gates import Checked, check_gates, read_gates
from ...transforms.run.manifest import read_manifest
from .command_options import CheckOptions
from .messages import table_of
from .output_file import check_output_file, write_figures
from .results import Result, Table


@dataclasses.dataclass(frozen=True, repr=False)
class CheckResult(Result):
    """What the gates say of a run."""

    run: str
    """Directory of the run."""
    against: str | None
    """Directory of the run that it was compared with."""
    checked: Checked
    """What each gate says."""

    def __str__(self) -> str:
        """Says for each gate what it found, and whether the run passes."""
        failed = [gate.name for gate in self.checked.gates if gate.level == "fail"]
        warned = [gate.name for gate in self.checked.gates if gate.level == "warn"]
        verdict = f"{self.run} does not pass: {', '.join(failed)}." if failed else f"{self.run} passes."
        if warned:
            verdict += f" Warnings: {', '.join(warned)}."
        because = "; ".join(self.checked.retrain)
        retrain = f"retrain: yes, because of {because}." if because else "retrain: no."
        return "\n".join([*table_of(self._rows()), "", verdict, *self.checked.notes, retrain])

    @property
    def passed(self) -> bool:
        """Whether no gate fails."""
        return self.checked.passed

    def tables(self) -> Iterator[Table]:
        """Returns a row for each gate."""
        yield self._rows()

    def figures(self) -> dict[str, Any]:
        """Returns everything."""
        return replace_non_finite(self.to_dict(), lambda _: None)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON-able values."""
        return {
            "run": self.run,
            "against": self.against,
            "passed": self.checked.passed,
            "retrain": list(self.checked.retrain),
            "notes": list(self.checked.notes),
            "gates": [dataclasses.asdict(gate) for gate in self.checked.gates],
        }

    def _rows(self) -> list[list[str]]:
        def bound(value: float | None) -> str:
            return "" if value is None else f"{value:g}"

        return [
            ["", "gate", "found", "warns at", "fails at", "what it is"],
            *(
                [gate.level, gate.name, gate.shown, bound(gate.warn), bound(gate.fail), gate.meaning]
                for gate in self.checked.gates
            ),
        ]


def run_check(options: CheckOptions) -> CheckResult:
    """Compares a finished run with its gates.

    Raises:
        IadsrError: A run is not finished, the file of gates cannot be used, or the result cannot be written.
    """
    if options.output is not None:
        check_output_file(Path(options.output), "JSON")
    bounds = {} if options.gates is None else read_gates(options.gates)
    earlier = None if options.against is None else read_manifest(options.against)
    result = CheckResult(options.run, options.against, check_gates(read_manifest(options.run), earlier, bounds))
    if options.output is not None:
        write_figures(Path(options.output), result.to_dict())
    return result
