"""How many rejected rows a run accepts before it stops."""

from collections import Counter

from ...models.core.errors import InputError, UsageError
from ..contract.row_shares import share_of

MAX_REJECTED = 0.1
"""More unusable rows than one in ten are a wrong column, or a log that somebody should look at first."""


def check_max_rejected(share: float) -> None:
    """Checks the share of rejected rows above which a run is to stop.

    Raises:
        UsageError: It is none.
    """
    if not 0 <= share <= 1:
        raise UsageError(
            "--max-rejected is out of range",
            code="OPTION-REJECTED",
            found=f"{share:g}",
            expected="0 <= share <= 1",
            fix="give --max-rejected a share such as 0.1",
        )


def refuse_too_many(reasons: Counter[str], rows: int, max_rejected: float) -> None:
    """Checks that no more rows are rejected than the user allows.

    Args:
        reasons: Rejected rows by reason.
        rows: Rows read.
        max_rejected: The share of them that may be rejected.

    Raises:
        InputError: There are more.
    """
    # Where not one row is left, there is nothing to be stopped, and whoever goes on without rows has more to say.
    if share_of(rows, max_rejected) < reasons.total() < rows:
        raise InputError(
            "More rows are unusable than --max-rejected allows",
            code="ROWS-REJECTED",
            found=f"{reasons.total():,} of {rows:,} rows ({reasons.total() / rows:.1%}): {list_reasons(reasons)}",
            expected=f"at most {max_rejected:.1%}",
            fix="correct the log or the columns named, or raise --max-rejected; "
            "`iadsr clean` lists the rows in the rejected/ folder of its output",
        )


def list_reasons(reasons: Counter[str]) -> str:
    """Says how many rows were rejected for what, the most frequent first."""
    return ", ".join(f"{reason} ({rows:,} rows)" for reason, rows in reasons.most_common())
