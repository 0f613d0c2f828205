"""Intervals over users: how much a figure would differ had other users of the same kind been measured."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
LEVEL = 0.95

Verdict = Literal["helps", "no measurable difference", "hurts"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% bootstrap interval; all three NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """Means over users of several per-user columns, and the same means over users drawn anew with replacement.

    Every column is resampled with the same users, so that differences between columns are paired.

    Attributes:
        means: [k], over the users there are.
        resampled: [RESAMPLES, k].
    """

    means: npt.NDArray[np.float64]
    resampled: npt.NDArray[np.float64]

    @classmethod
    def draw(cls, columns: npt.NDArray[np.float64], seed: int) -> "Resampled":
        """Resamples the users of per-user figures [U, k]."""
        users = len(columns)
        generator = np.random.default_rng(seed)
        resampled = np.empty((RESAMPLES, columns.shape[1]))
        for i in range(RESAMPLES):
            drawn = np.bincount(generator.integers(0, users, users), minlength=users)
            resampled[i] = drawn @ columns / users
        return cls(columns.mean(0), resampled)

    def mean(self, column: int) -> Estimate:
        """Estimates a column's mean."""
        return _estimate(self.means[column], self.resampled[:, column])

    def lift(self, column: int, over: int) -> Estimate:
        """Estimates the relative difference of a column's mean to another's."""
        return _estimate(
            _ratio(self.means[column] - self.means[over], self.means[over]),
            _ratio(self.resampled[:, column] - self.resampled[:, over], self.resampled[:, over]),
        )

    def recovered(self, column: int, worst: int, best: int) -> Estimate:
        """Estimates where a column's mean lies between two others: 0 at the worst, 1 at the best."""
        return _estimate(
            _ratio(self.means[column] - self.means[worst], self.means[best] - self.means[worst]),
            _ratio(
                self.resampled[:, column] - self.resampled[:, worst],
                self.resampled[:, best] - self.resampled[:, worst],
            ),
        )


def judge(lift: Estimate) -> Verdict:
    """Says in words what a lift means: it counts when its whole interval lies on one side of zero."""
    if lift.low > 0:
        return "helps"
    return "hurts" if lift.high < 0 else "no measurable difference"


def _ratio(over: npt.NDArray[np.float64], under: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return over / under


def _estimate(value: npt.NDArray[np.float64] | np.float64, resampled: npt.NDArray[np.float64]) -> Estimate:
    if not np.isfinite(value):
        return Estimate(float("nan"), float("nan"), float("nan"))
    # A resample in which the ratio is not defined says nothing; counted as either end it would widen at random.
    low, high = np.quantile(resampled[np.isfinite(resampled)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high))
