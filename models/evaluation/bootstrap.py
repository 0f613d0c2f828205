"""Says how certain a measured difference is, by the bootstrap.

`evaluate` compares recommenders by means over users and over trainings with different seeds. With other users or other
seeds the means would differ. `Resampled` draws both anew many times, which gives a 95% interval for every figure.
`judge` says in words whether a difference counts.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
"""How often users and trainings are drawn anew."""

CONFIDENCE = 0.95
"""Confidence level of the intervals."""

MIN_LIFT = 1e-9
"""Minimum size of a lift. Smaller ones are rounding errors: even the sums of equal figures differ by as much."""

Verdict = Literal["helps", "no measurable difference", "hurts"]
"""What a lift means, in words."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% bootstrap interval. All three values are NaN if the figure is not defined."""

    value: float
    """The figure for the users and trainings that there are."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""


@dataclass(frozen=True)
class Resampled:
    """The means of k columns over users and trainings, and the same means over both drawn with replacement.

    A column holds one figure, such as NDCG@10 of one version of the log. All columns are resampled with the same users
    and seeds, so that differences between columns are paired. Trainings are resampled as well as users, because even a
    tiny change of the log leads to another recommender. Without that, such a chance difference would count as a lift.
    """

    means: npt.NDArray[np.float64]
    """float64 [k], the means over the users and trainings that there are."""
    resampled: npt.NDArray[np.float64]
    """float64 [RESAMPLES, k], the means over users and trainings drawn anew."""

    @classmethod
    def draw(cls, columns: npt.NDArray[np.float64], seed: int) -> "Resampled":
        """Resamples users and trainings.

        The mean of S draws from the same S trainings varies less than the mean of S new trainings: its variance is
        (S - 1) / S of it. To make up for that, the distance of each resample from the mean over all trainings is
        stretched by the square root of S / (S - 1).

        Args:
            columns: float64 [S, U, k], figures by training, user and column. With a single training (S = 1), the
                intervals do not include how much trainings differ.
            seed: Seed of the draws.
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
        """Estimates the mean of a column."""
        return _estimate(self.means[column], self.resampled[:, column])

    def lift(self, column: int, over: int) -> Estimate:
        """Estimates the relative difference between the mean of a column and the mean of column `over`."""
        return _estimate(
            _ratio(self.means[column] - self.means[over], self.means[over]),
            _ratio(self.resampled[:, column] - self.resampled[:, over], self.resampled[:, over]),
        )

    def recovered(self, column: int, worst: int, best: int) -> Estimate:
        """Estimates where the mean of a column lies between the means of two others: 0 is `worst`, 1 is `best`."""
        return _estimate(
            _ratio(self.means[column] - self.means[worst], self.means[best] - self.means[worst]),
            _ratio(
                self.resampled[:, column] - self.resampled[:, worst],
                self.resampled[:, best] - self.resampled[:, worst],
            ),
        )


def judge(lift: Estimate) -> Verdict:
    """Says in words what a lift means. It counts only if its whole interval is on one side of zero."""
    if lift.low > MIN_LIFT:
        return "helps"
    return "hurts" if lift.high < -MIN_LIFT else "no measurable difference"


def _ratio(numerator: npt.NDArray[np.float64], denominator: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return numerator / denominator


def _estimate(value: npt.NDArray[np.float64] | np.float64, resampled: npt.NDArray[np.float64]) -> Estimate:
    if not np.isfinite(value):
        return Estimate(float("nan"), float("nan"), float("nan"))
    # Resamples in which the ratio is not defined are left out. Counted as very low or very high, they would widen the
    # interval by chance.
    low, high = np.quantile(resampled[np.isfinite(resampled)], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(value), float(low), float(high))
