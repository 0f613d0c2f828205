"""Measures of a scorer: how well it tells noise from genuine interactions, and how fair it is to rare items."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from iadsr.models.training.detection_metrics import calibration_error

BUCKETS = 6
"""Popularity buckets."""


@dataclass(frozen=True)
class Dropping:
    """What dropping some interactions removes: noise, and genuine interactions."""

    recall: float
    """Share of the noise that is dropped. If as many are dropped as are noise, this is also the precision."""
    genuine_drops: list[float]
    """Share of genuine interactions dropped, by popularity bucket [BUCKETS], rarest items first. NaN if a bucket has no
    genuine interactions."""

    @property
    def ratio(self) -> float:
        """Largest of the shares over the smallest: 1 if nothing is lost, infinite if only some buckets lose."""
        most, least = np.nanmax(self.genuine_drops), np.nanmin(self.genuine_drops)
        return float(most / least) if least else (float("inf") if most else 1.0)


@dataclass(frozen=True)
class Detection:
    """How well one scorer tells noise from genuine interactions."""

    auroc: float
    """Area under the ROC curve."""
    average_precision: float
    """Area under the precision-recall curve."""
    dropping: Dropping
    """Of dropping exactly as many as are noise, by one threshold for all."""
    calibration_error: float | None
    """Expected calibration error (15 bins); None if scores are not probabilities."""


def measure(noise: np.ndarray, popularity: np.ndarray, score: np.ndarray, *, probability: bool = False) -> Detection:
    """Measures a scorer on interactions that can hold noise.

    Args:
        noise: bool [n].
        popularity: How often the item of each interaction occurs in the log that the scorer saw, int [n].
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
    """Marks the `count` highest scores, bool [n]. Among equal scores it chooses at random."""
    drop = np.zeros(len(score), bool)
    drop[np.lexsort((np.random.default_rng(0).random(len(score)), -score))[:count]] = True
    return drop


def measure_dropping(noise: np.ndarray, popularity: np.ndarray, dropped: np.ndarray) -> Dropping:
    """Measures any decision, bool `dropped` [n]."""
    bucket = equal_buckets(popularity)
    genuine = np.bincount(bucket[~noise], minlength=BUCKETS)
    lost = np.bincount(bucket[~noise & dropped], minlength=BUCKETS)
    drops = np.divide(lost, genuine, out=np.full(BUCKETS, np.nan), where=genuine > 0)
    return Dropping(float(dropped[noise].mean()), drops.tolist())


def equal_buckets(popularity: np.ndarray) -> np.ndarray:
    """Assigns interactions to BUCKETS buckets of about equal size by their item's popularity. Equals stay together."""
    middle = np.searchsorted(np.sort(popularity), popularity, side="left") + (np.bincount(popularity)[popularity] / 2)
    return np.minimum((middle * BUCKETS / len(popularity)).astype(int), BUCKETS - 1)
