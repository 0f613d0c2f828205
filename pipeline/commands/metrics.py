"""The metrics command: the figures of a run for Prometheus and OpenLineage."""

import dataclasses
import posixpath
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...models.core.printable import printable
from ...transforms.contract.output_layout import MANIFEST
from ...transforms.files.storage import exists, join, without_trailing_slashes, write_atomically
from ...transforms.run.gates import Checked, check_gates, read_gates
from ...transforms.run.lineage_events import as_lines, failed_event, lineage_events
from ...transforms.run.manifest import Manifest, read_manifest
from ...transforms.run.prometheus_text import prometheus_text
from ...transforms.run.published_runs import RUN_PREFIX, locate, run_before
from ...transforms.run.run_store import read_marker
from .command_options import MetricsOptions
from .output_file import check_output_file
from .results import Result


@dataclasses.dataclass(frozen=True, repr=False)
class MetricsResult(Result):
    """The figures of a run."""

    text: str
    """The metrics or events."""
    output: str | None
    """File that they were written to."""

    def __str__(self) -> str:
        """Returns the text, or says where it was written to."""
        return self.text.rstrip("\n") if self.output is None else f"  Metrics            {printable(self.output)}"

    def figures(self) -> dict[str, Any]:
        """Returns the file."""
        return {"output": self.output}


def run_metrics(options: MetricsOptions) -> MetricsResult:
    """Tells the figures of a run.

    Raises:
        IadsrError: The run is not finished, the file of gates cannot be used, or the file cannot be written.
    """
    if options.output is not None:
        check_output_file(Path(options.output), "text")
    run = without_trailing_slashes(options.run)
    above, own = posixpath.split(run if "://" in run else str(Path(run).absolute()))
    name = options.name or (posixpath.basename(above) if own.startswith(RUN_PREFIX) else own)
    text = _text(run, name, options)
    if options.output is not None:
        target = str(Path(options.output).absolute())
        write_atomically(target, lambda file: file.write(text.encode()), durable=True)
    return MetricsResult(text, options.output)


def _text(run: str, name: str, options: MetricsOptions) -> str:
    if options.format == "openlineage" and not exists(join(run, MANIFEST)) and (marker := read_marker(run)) is not None:
        return as_lines([failed_event(marker.token, name, datetime.now(UTC))])
    manifest = read_manifest(run)
    checked = _check(run, manifest, options)
    if options.format == "prometheus":
        return prometheus_text(manifest, checked, name)
    return as_lines(lineage_events(run, manifest, checked, name))


def _check(run: str, manifest: Manifest, options: MetricsOptions) -> Checked:
    bounds, against = {} if options.gates is None else read_gates(options.gates), options.against
    if against is None and posixpath.basename(run).startswith(RUN_PREFIX):
        dataset, own = locate(run)
        before = run_before(dataset, own)
        against = None if before is None else join(dataset, before)
    return check_gates(manifest, None if against is None else read_manifest(against), bounds)
