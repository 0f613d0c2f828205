"""Finds the thresholds that drop a given share of all interactions, from one small histogram per shard.

Each bucket of item popularity has its own threshold, so that all buckets lose the same share of their genuine
interactions: rare items do not pay for being rare. How many are genuine follows from the noise probabilities.

A non-negative float32 sorts like its bits, so counting the upper bits gives a histogram whose bins are about
0.003% of their value wide, whatever the distribution; shards' histograms add up exactly in any order.
"""

from dataclasses import dataclass

import numpy as np

from ..models.noise_share import Recalibration

_DROPPED_BITS = 8
_BUCKET_AT = np.uint32(32 - _DROPPED_BITS)
_PROBABILITY = np.uint32((1 << _BUCKET_AT) - 1)
NOTHING = np.nextafter(np.float32(1), np.float32(2))
"""The threshold that no interaction reaches."""


@dataclass(frozen=True)
class ProbabilityHistogram:
    """Sparse histogram of noise probabilities by popularity bucket."""

    bins: np.ndarray
    """uint32 [k], ascending: the bucket, and below it the upper bits of the probabilities that occur."""
    counts: np.ndarray
    """int64 [k]."""
    rows: np.ndarray
    """int64 [buckets], all interactions, also those that were not scored."""


def probability_histogram(
    noise_probability: np.ndarray, scored: np.ndarray, bucket: np.ndarray, buckets: int
) -> ProbabilityHistogram:
    """Counts noise probabilities (float32 [rows]), where scored (bool [rows]), by popularity bucket (int [rows])."""
    bits = noise_probability[scored].view(np.uint32) >> _DROPPED_BITS
    bins, counts = np.unique(bits | (bucket[scored].astype(np.uint32) << _BUCKET_AT), return_counts=True)
    return ProbabilityHistogram(bins, counts.astype(np.int64), np.bincount(bucket, minlength=buckets))


def merge_histograms(histograms: list[ProbabilityHistogram]) -> ProbabilityHistogram:
    """Adds histograms up."""
    bins, place = np.unique(np.concatenate([h.bins for h in histograms]), return_inverse=True)
    counts = np.zeros(len(bins), np.int64)
    np.add.at(counts, place, np.concatenate([h.counts for h in histograms]))
    return ProbabilityHistogram(bins.astype(np.uint32), counts, np.sum([h.rows for h in histograms], axis=0))


def fair_thresholds(
    histogram: ProbabilityHistogram, drop_rate: float, recalibration: Recalibration | None = None
) -> np.ndarray:
    """Returns each bucket's threshold: at most a share `drop_rate` of all interactions lies at or above theirs.

    All buckets give the same share of their genuine interactions, as nearly as ties allow. A higher rate never raises a
    threshold. Where probabilities are tied across the border, all of them stay below it: the rate is never exceeded.

    Args:
        histogram: The model's probabilities.
        drop_rate: Share of all interactions, in [0, 1).
        recalibration: Applied to probabilities before they meet the thresholds; None: they are compared as they are.

    Returns:
        float32 [buckets].
    """
    bucket = (histogram.bins >> _BUCKET_AT).astype(np.int64)
    edge = ((histogram.bins & _PROBABILITY) << np.uint32(_DROPPED_BITS)).view(np.float32)

    def recalibrated(probability: np.ndarray) -> np.ndarray:
        return recalibration.apply(probability, bucket) if recalibration else probability

    genuine = histogram.counts * (1 - recalibrated(edge).astype(np.float64))
    reach = np.zeros(len(genuine))  # share of its bucket's genuine interactions at or above each bin
    for number, rows in enumerate(histogram.rows):
        mine = slice(*np.searchsorted(bucket, [number, number + 1]))
        above = genuine[mine][::-1].cumsum()[::-1]
        unscored = rows - histogram.counts[mine].sum()  # cannot be dropped, and count as genuine
        reach[mine] = above / max(genuine[mine].sum() + unscored, 1e-300)
    # The bins of all buckets in the order in which they go as the share rises.
    order = np.lexsort((-np.arange(len(reach)), reach))
    # 29% of 100 rows is 28.999... in floating point, and means 29.
    allowed = drop_rate * histogram.rows.sum() * (1 + 1e-12)
    gone = order[: np.searchsorted(histogram.counts[order].cumsum(), allowed, side="right")]
    # Right above all that stays: what is tied with it after recalibration stays too.
    stays = recalibrated(np.nextafter(edge, np.float32(0)))
    thresholds = np.full(len(histogram.rows), NOTHING, np.float32)
    np.minimum.at(thresholds, bucket[gone], np.nextafter(stays[gone], np.float32(2)))
    return thresholds


def fair_drops(noise_probability: np.ndarray, bucket: np.ndarray, drop_rate: float) -> np.ndarray:
    """Returns which of n interactions to drop, bool [n]: `fair_thresholds` for arrays.

    Args:
        noise_probability: float32 [n], calibrated for the log at hand.
        bucket: int [n], popularity bucket of each interaction's item, from 0.
        drop_rate: Share of the interactions, in [0, 1).
    """
    scored = np.ones(len(bucket), bool)
    histogram = probability_histogram(noise_probability, scored, bucket, int(bucket.max(initial=-1)) + 1)
    return noise_probability >= fair_thresholds(histogram, drop_rate)[bucket]
