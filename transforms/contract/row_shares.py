"""Turns shares of rows into numbers of rows."""


def share_of(rows: int, share: float) -> float:
    """Returns how many rows a share is: 29% of 100 is 28.999... in floating point, and means 29."""
    return share * rows * (1 + 1e-12)
