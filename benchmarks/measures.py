"""What is measured of a scorer: how well it tells noise from genuine interactions, and how fair it is to rare items."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from iadsr.models.training.detection_metrics import calibration_error

BUCKETS = 6


@dataclass(frozen=True)
class Dropping:
    """What is lost and what is found when some interactions are dropped."""

    recall: float
    """Share of the noise that is dropped. Dropping as many as are noise, this is also the precision."""
    genuine_drops: list[float]
    """Share of genuine interactions dropped, by popularity bucket [BUCKETS], rarest items first; NaN where none are."""

    @property
    def ratio(self) -> float:
        """Largest of the shares over the smallest: 1 where nothing is lost, infinite where only some buckets lose."""
        most, least = np.nanmax(self.genuine_drops), np.nanmin(self.genuine_drops)
        return float(most / least) if least else (float("inf") if most else 1.0)


@dataclass(frozen=True)
class Detection:
    """How well one scorer tells noise from genuine interactions."""

    auroc: float
    average_precision: float
    dropping: Dropping
    """By one threshold for all, dropping exactly as many as are noise."""
    calibration_error: float | None
    """Expected calibration error (15 bins) where scores are probabilities."""


def measure(noise: np.ndarray, popularity: np.ndarray, score: np.ndarray, *, probability: bool = False) -> Detection:
    """Measures a scorer on interactions that can hold noise.

    Args:
        noise: bool [n].
        popularity: Interactions of each one's item in the log as the scorer saw it, int [n].
        score: [n], high = noise.
        probability: Whether scores are probabilities.
    """
    dropped = drop_worst(score, int(noise.sum()))
    return Detection(
        float(roc_auc_score(noise, score)),
        float(average_precision_score(noise, score)),
        measure_dropping(noise, popularity, dropped),
        calibration_error(noise, score, np.ones(len(score))) if probability else None,
    )


def drop_worst(score: np.ndarray, count: int) -> np.ndarray:
    """Marks the `count` highest scores, at random among equals; bool [n]."""
    drop = np.zeros(len(score), bool)
    drop[np.lexsort((np.random.default_rng(0).random(len(score)), -score))[:count]] = True
    return drop


def measure_dropping(noise: np.ndarray, popularity: np.ndarray, dropped: np.ndarray) -> Dropping:
    """Measures a decision: bool `dropped` [n], however it was made."""
    bucket = equal_buckets(popularity)
    genuine = np.bincount(bucket[~noise], minlength=BUCKETS)
    lost = np.bincount(bucket[~noise & dropped], minlength=BUCKETS)
    drops = np.divide(lost, genuine, out=np.full(BUCKETS, np.nan), where=genuine > 0)
    return Dropping(float(dropped[noise].mean()), drops.tolist())


def equal_buckets(popularity: np.ndarray) -> np.ndarray:
    """Assigns interactions to BUCKETS buckets by their item's popularity, of about equal size; equals stay together."""
    middle = np.searchsorted(np.sort(popularity), popularity, side="left") + (np.bincount(popularity)[popularity] / 2)
    return np.minimum((middle * BUCKETS / len(popularity)).astype(int), BUCKETS - 1)
