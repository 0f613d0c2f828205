from typing import NamedTuple

import numpy as np
import pytest

from iadsr.models.noise.score_counts import GROUPS, count_by_group, count_scores


class SimulatedLog(NamedTuple):
    probability: np.ndarray
    noise: np.ndarray
    counts: np.ndarray


class Simulation:
    """Draws scores of noise and of genuine interactions. Their log odds are normally distributed with deviation 1."""

    buckets = 6
    noise = 1.5
    genuine = -2.0
    """Mean log odds of noise and of genuine interactions."""

    def probabilities(self, generator, rows: int, mean: float | np.ndarray) -> np.ndarray:
        return (1 / (1 + np.exp(-generator.normal(mean, 1, rows)))).astype(np.float32)

    def reference(self, seed: int = 0, rows: int = 100_000, at_end: float = 0.25) -> np.ndarray:
        """The counts of inserted noise, a share of which is at the end of sequences."""
        generator = np.random.default_rng(seed)
        place = (generator.random(rows) < at_end).astype(int)
        probability = self.probabilities(generator, rows, self.noise)
        return count_scores(probability, place, generator.integers(0, self.buckets, rows), self.buckets)

    def log(
        self, share: float, rows: int = 300_000, seed: int = 1, genuine: float = genuine, share_at_end=None
    ) -> SimulatedLog:
        """A log with a share of noise, and perhaps another share at the end of sequences."""
        generator = np.random.default_rng(seed)
        place, bucket = (generator.random(rows) < 0.25).astype(int), generator.integers(0, self.buckets, rows)
        noise = generator.random(rows) < np.array([share, share if share_at_end is None else share_at_end])[place]
        of_noise, of_genuine = (self.probabilities(generator, rows, mean) for mean in (self.noise, genuine))
        probability = np.where(noise, of_noise, of_genuine)
        group = generator.integers(0, GROUPS, rows)
        return SimulatedLog(probability, noise, count_by_group(probability, group, place, bucket, self.buckets))

    def uneven(self, spread: tuple[float, ...]) -> tuple[np.ndarray, SimulatedLog]:
        """A reference, and a log with 10% noise that is spread unevenly over popularity buckets.

        Uniformly drawn noise is like that: hardly any of it is on popular items, whose noise is the easiest to tell.
        """
        generator, means = np.random.default_rng(2), np.linspace(self.noise - 1, self.noise + 1, self.buckets)
        place, bucket = (generator.random(60_000) < 0.25).astype(int), generator.integers(0, self.buckets, 60_000)
        reference = count_scores(self.probabilities(generator, 60_000, means[bucket]), place, bucket, self.buckets)
        place, bucket = (generator.random(300_000) < 0.25).astype(int), generator.integers(0, self.buckets, 300_000)
        noise = generator.random(300_000) < 0.1 * np.array(spread)[bucket]
        probability = self.probabilities(generator, 300_000, np.where(noise, means[bucket], self.genuine))
        counts = count_by_group(probability, generator.integers(0, GROUPS, 300_000), place, bucket, self.buckets)
        return reference, SimulatedLog(probability, noise, counts)


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    return Simulation()
