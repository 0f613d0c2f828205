"""Checks inside the run that no row is lost: rows read = kept + dropped + rejected, for each file and in total."""

from collections import Counter

from ...models.core.errors import ConservationError, InputError
from ..contract.output_layout import INTERACTIONS, REJECTED, SEQUENCES, USERS
from ..files.tables import WrittenFile
from ..read.read_splits import SplitCounts
from ..read.rejected_rows import list_reasons, refuse_too_many, way_on
from ..write.summary import Summary
from .run_facts import RunFacts


def check_rejected(facts: RunFacts, counts: list[SplitCounts]) -> None:
    """Checks that a run does not reject more rows than the user allows.

    Raises:
        InputError: It rejects more.
    """
    reasons: Counter[str] = Counter()
    for count in counts:
        reasons.update(count.rejected)
    refuse_too_many(reasons, sum(facts.rows_by_file.values()), facts.max_rejected)


def check_conservation(facts: RunFacts, counts: list[SplitCounts], summary: Summary | None) -> None:
    """Checks that rows read = kept + dropped + rejected: for each input file, in total, and in the files written.

    Args:
        facts: What was known before the run started.
        counts: Of all splits of the input.
        summary: Of all shards; None if there was no usable row.

    Raises:
        ConservationError: Rows were lost or written twice.
        InputError: There was no usable row.
    """
    read, valid = Counter(), Counter()
    reasons: Counter[str] = Counter()
    for count in counts:
        read[count.path] += count.valid + sum(count.rejected.values())
        valid[count.path] += count.valid
        reasons.update(count.rejected)
    for path, rows in facts.rows_by_file.items():
        if read[path] != rows:
            raise ConservationError(
                f"Rows of {path} do not add up",
                code="ROWS-FILE",
                found=f"{valid[path]:,} valid + {read[path] - valid[path]:,} rejected = {read[path]:,}",
                expected=f"{rows:,}, as the file's footer says",
                fix="do not use this output; run again, and report it if it happens again",
            )
    if summary is None:
        raise InputError(
            "No row of the input could be used",
            code="ROWS-NONE",
            found=list_reasons(reasons),
            fix=f"look at the rows in the rejected/ folder of the output; {way_on(reasons)}",
        )
    for path, kept, dropped in zip(facts.rows_by_file, *summary.files.tolist(), strict=True):
        if kept + dropped != valid[path]:
            raise ConservationError(
                f"Rows of {path} were lost or written twice",
                code="ROWS-WRITTEN",
                found=f"{kept:,} kept + {dropped:,} dropped = {kept + dropped:,}",
                expected=f"{valid[path]:,} valid rows read",
                fix="do not use this output; run again, and report it if it happens again",
            )
    if summary.checksum != sum(count.checksum for count in counts) % 2**64:
        raise ConservationError(
            "As many rows were written as were read, but not the same ones",
            code="ROWS-EXCHANGED",
            found=f"checksum {summary.checksum:016x} of their row numbers",
            expected=f"{sum(count.checksum for count in counts) % 2**64:016x}",
            fix="do not use this output; run again, and report it if it happens again",
        )
    rejected = [count.written for count in counts if count.written is not None]
    _check_files(summary, rejected, reasons.total())


def _check_files(summary: Summary, rejected: list[WrittenFile], rejected_rows: int) -> None:
    """Checks that the files hold as many rows as were counted before they were written."""
    users, _, emptied = summary.users.tolist()
    expected = {
        INTERACTIONS: summary.kept + summary.dropped,
        SEQUENCES: users - emptied,
        USERS: users,
        REJECTED: rejected_rows,
    }
    found: Counter[str] = Counter()
    for file in (*summary.written, *rejected):
        found[file.path.split("/")[-2]] += file.rows
    for folder, rows in expected.items():
        if found[folder] != rows:
            raise ConservationError(
                f"The files in {folder}/ do not hold the rows that were counted",
                code="ROWS-DISK",
                found=f"{found[folder]:,} rows in them",
                expected=f"{rows:,}",
                fix="another program has written to the output: delete it, and run again",
            )
