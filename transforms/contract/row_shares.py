"""Turns a share of rows, such as 0.29, into a number of rows.

Both limits that a user gives as a share, `--max-rejected` and `--drop-rate`, are compared with counts in this way.
"""


def share_of(rows: int, share: float) -> float:
    """Returns how many of `rows` rows the given share amounts to.

    The result is raised by a tiny factor. In floating point 29% of 100 is 28.999..., and it must count as 29.
    """
    return share * rows * (1 + 1e-12)
