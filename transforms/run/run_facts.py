"""What is known about a run before it starts, for every step that checks or describes the run."""

import dataclasses
from typing import Any

import numpy as np

from ..contract.columns import InteractionColumns
from ..files.store import FileInfo
from ..files.table_formats import TableVersion
from ..judge.policy import Policy
from ..read.input_plan import SkippedFile
from .manifest import ModelOrigin
from .pseudonyms import ReportUsers


@dataclasses.dataclass(frozen=True)
class RunDescription:
    """Entries of the manifest that are known before the run starts, see `Manifest`."""

    iadsr_version: str
    """Version of iadsr."""
    started_at: str
    """Time at which the run started, ISO 8601."""
    model: ModelOrigin | None
    """The model that scores the log. None if rules alone decide."""
    embeddings: dict[str, Any] | None
    """Path and metadata of the text embeddings. Their fingerprint is known when they have been read. None if rules
    alone decide."""
    options: dict[str, Any]
    """All options of the run."""
    versions: dict[str, str]
    """Versions of Python and of the libraries that the result depends on."""


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What is known about a run before it starts."""

    rows_by_file: dict[str, int]
    """Path to number of rows, as the Parquet footers say. The rows that are counted later must agree with it."""
    policy: Policy
    """What is dropped and what is protected."""
    description: RunDescription
    """Entries of the manifest that are known already."""
    inputs: tuple[FileInfo, ...] = ()
    """The input files as they were when the plan was made."""
    skipped: tuple[SkippedFile, ...] = ()
    """Input files that are not read."""
    tables: tuple[TableVersion, ...] = ()
    """Tables in the input whose current version is read."""
    notes: tuple[str, ...] = ()
    """What looks wrong or may surprise in how the input is read."""
    directory: str | None = None
    """The working directory, if paths of the input are relative to it."""
    max_rejected: float = 1.0
    """The run stops if a larger share of the rows is rejected."""
    columns: InteractionColumns = InteractionColumns()
    """The names of the log's columns, and how they are read."""
    report_users: ReportUsers = "hashed"
    """How the report names the users in its examples."""
    earlier_run: str | None = None
    """Name of the run in the same dataset directory from which scores are taken over; None: from none."""

    @property
    def first_rows(self) -> np.ndarray:
        """Number in the whole input of each file's first row, int64 [files]. A file without rows shares the next's."""
        return np.cumsum([0, *self.rows_by_file.values()])[:-1].astype(np.int64)
