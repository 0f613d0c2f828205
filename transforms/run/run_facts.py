"""What is known about a run before it starts, for all who check and describe it."""

import dataclasses
from typing import Any

import numpy as np

from ..files.storage import FileInfo
from ..judge.policy import Policy
from ..read.input_plan import SkippedFile
from .pseudonyms import ReportUsers


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What is known about a run before it starts."""

    rows_by_file: dict[str, int]
    """Path to number of rows, by the Parquet footers: what the counted rows are held against."""
    policy: Policy
    """What is dropped and what is protected."""
    noise_reference: np.ndarray
    """What inserted noise scores, see `models.noise_share`."""
    description: dict[str, Any]
    """Manifest entries that are known beforehand: started_at, model, embeddings, options, versions."""
    inputs: tuple[FileInfo, ...] = ()
    """The input files as they were when the plan was made."""
    skipped: tuple[SkippedFile, ...] = ()
    """Input files that are not read."""
    max_rejected: float = 1.0
    """Share of rejected rows above which the run stops."""
    report_users: ReportUsers = "hashed"
    """Who the report's examples are called."""
    token: str = ""
    """Of the mark that the run has set, see `run_marker`."""

    @property
    def first_rows(self) -> np.ndarray:
        """Number in the whole input of each file's first row, int64 [files]; files without rows share theirs."""
        return np.cumsum([0, *self.rows_by_file.values()])[:-1].astype(np.int64)
