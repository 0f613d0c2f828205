"""How many rejected rows a run accepts before it stops."""

from collections import Counter

from ...models.core.errors import InputError
from ...models.core.reasons import is_requested
from ..contract.row_shares import share_of


def refuse_too_many(reasons: Counter[str], rows: int, max_rejected: float) -> None:
    """Checks that no more rows are rejected than the user allows. Those that the user asked to reject do not count.

    Args:
        reasons: Number of rejected rows by reason.
        rows: Number of rows read.
        max_rejected: The share of them that may be rejected.

    Raises:
        InputError: More are rejected.
    """
    asked_for = Counter({reason: count for reason, count in reasons.items() if is_requested(reason)})
    reasons = reasons - asked_for
    rows -= asked_for.total()
    # If no row is left at all, the callers raise an error of their own that says more.
    if share_of(rows, max_rejected) < reasons.total() < rows:
        raise InputError(
            "More rows are unusable than --max-rejected allows",
            code="ROWS-REJECTED",
            found=f"{reasons.total():,} of {rows:,} rows ({reasons.total() / rows:.1%}): {list_reasons(reasons)}",
            expected=f"at most {max_rejected:.1%}",
            fix=f"{way_on(reasons)}; or raise --max-rejected. `iadsr clean` lists the rows in the rejected/ folder of "
            "its output",
        )


def way_on(reasons: Counter[str]) -> str:
    """Says what may be wrong where rows cannot be used."""
    if any(reason.startswith("unparsable ") for reason in reasons):
        return "name the format of the times with --timestamp-format, or the right column with --timestamp-column"
    return "correct the log, or name the right columns"


def list_reasons(reasons: Counter[str]) -> str:
    """Lists the reasons with the number of rows each, the most frequent first."""
    return ", ".join(f"{reason} ({rows:,} row{'s' if rows != 1 else ''})" for reason, rows in reasons.most_common())
