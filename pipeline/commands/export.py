"""The export command: a finished run in the form that a recommender library reads."""

from collections.abc import Iterator
from dataclasses import dataclass

from ...transforms.export.user_sequences import FinishedRun
from ...transforms.export.write_export import Exported, write_export
from ...transforms.run.output_directory import refuse_inside
from ..engines.progress import Progress
from .command_options import ExportOptions
from .messages import describe_export
from .results import Result, Table


@dataclass(frozen=True, repr=False)
class ExportResult(Result):
    """What `iadsr export` wrote, and what it left out."""

    exported: Exported
    """Counts of users, interactions, and what is left out."""
    output: str
    """The directory."""

    def __str__(self) -> str:
        """Says what was exported."""
        return describe_export(self.exported, self.output)

    def tables(self) -> Iterator[Table]:
        """Returns the counts of interactions."""
        yield [["interactions", ""], *self.exported.interactions.items()]


def run_export(options: ExportOptions, progress: Progress | None = None) -> ExportResult:
    """Writes a finished run in the form of a library.

    Raises:
        InputError: The run is not finished, or the output directory or the earlier numbers cannot be used.
        ArtifactError: The run is not as it was written.
    """
    run = FinishedRun.open(options.run)
    refuse_inside(options.output, str(run.manifest.options.get("interactions", "")), ["train/part.parquet"])
    with (progress or Progress(None)).task(f"Exporting for {options.format}") as task:
        exported = write_export(
            run,
            options.format,
            options.output,
            ids=options.ids,
            overwrite=options.overwrite,
            advance=lambda shards: task.advance_to(shards, run.shards),
        )
    return ExportResult(exported, options.output)
