"""Intervals over users and trainings: how much a figure would differ with other users, trained anew."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000


LEVEL = 0.95


ROUNDING = 1e-9
"""A lift as small as this is what sums of equal figures differ by."""


Verdict = Literal["helps", "no measurable difference", "hurts"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% bootstrap interval; all three NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """Means over trainings and users of several columns, and the same means over both drawn anew with replacement.

    Every column is resampled with the same users and seeds, so that differences between columns are paired. A log that
    differs in next to nothing trains another recommender nevertheless; without the trainings that would be a lift.

    Attributes:
        means: [k], over what there is.
        resampled: [RESAMPLES, k].
    """

    means: npt.NDArray[np.float64]
    resampled: npt.NDArray[np.float64]

    @classmethod
    def draw(cls, columns: npt.NDArray[np.float64], seed: int) -> "Resampled":
        """Resamples figures of trainings and users, [S, U, k]. A single training says nothing of how trainings differ.

        A mean of S draws from S values varies less than one of S new ones, by S - 1 to S in variance; each resample's
        distance from the mean of its users is stretched by as much.
        """
        seeds, users, count = columns.shape
        generator = np.random.default_rng(seed)
        stretch = np.sqrt(seeds / max(seeds - 1, 1))
        resampled = np.empty((RESAMPLES, count))
        for i in range(RESAMPLES):
            drawn = np.bincount(generator.integers(0, users, users), minlength=users)
            by_seed = np.stack([drawn @ part for part in columns]) / users  # [S, k]
            centre, chosen = by_seed.mean(0), by_seed[generator.integers(0, seeds, seeds)].mean(0)
            resampled[i] = centre + stretch * (chosen - centre)
        return cls(columns.mean((0, 1)), resampled)

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
    if lift.low > ROUNDING:
        return "helps"
    return "hurts" if lift.high < -ROUNDING else "no measurable difference"


def _ratio(over: npt.NDArray[np.float64], under: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return over / under


def _estimate(value: npt.NDArray[np.float64] | np.float64, resampled: npt.NDArray[np.float64]) -> Estimate:
    if not np.isfinite(value):
        return Estimate(float("nan"), float("nan"), float("nan"))
    # A resample in which the ratio is not defined says nothing; counted as either end it would widen at random.
    low, high = np.quantile(resampled[np.isfinite(resampled)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high))
