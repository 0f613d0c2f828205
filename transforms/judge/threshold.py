"""Finds the threshold that drops a given share of all interactions, from one small histogram per shard.

A non-negative float32 sorts like its bits. Counting the upper bits gives a histogram with narrow bins of equal relative
width, whatever the distribution. Histograms of shards add up exactly, in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...models.noise.recalibration import Recalibration
from ..contract.row_shares import share_of

_DROPPED_BITS = 8
"""The histogram ignores so many of the lowest bits."""

NOTHING = float(np.nextafter(np.float32(1), np.float32(2)))
"""The threshold that no interaction reaches."""


@dataclass(frozen=True)
class ProbabilityHistogram:
    """Sparse histogram of noise probabilities."""

    bins: np.ndarray
    """uint32 [k], ascending: the upper bits of the probabilities that occur."""
    counts: np.ndarray
    """int64 [k], interactions in each bin."""
    rows: int
    """Number of all interactions, including those that were not scored."""


def probability_histogram(noise_probability: np.ndarray, scored: np.ndarray) -> ProbabilityHistogram:
    """Counts the noise probabilities (float32 [rows]) of the scored interactions."""
    bits = noise_probability[scored].view(np.uint32) >> _DROPPED_BITS
    bins, counts = np.unique(bits, return_counts=True)
    return ProbabilityHistogram(bins, counts.astype(np.int64), len(noise_probability))


def coarse_counts(histogram: ProbabilityHistogram, bins: int) -> np.ndarray:
    """Returns the interactions in bins of equal width from 0 to 1, int64 [bins]."""
    probability = (histogram.bins << np.uint32(_DROPPED_BITS)).view(np.float32)
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    counts = np.zeros(bins, np.int64)
    np.add.at(counts, place, histogram.counts)
    return counts


def merge_histograms(histograms: list[ProbabilityHistogram]) -> ProbabilityHistogram:
    """Adds histograms up."""
    bins, place = np.unique(np.concatenate([h.bins for h in histograms]), return_inverse=True)
    counts = np.zeros(len(bins), np.int64)
    np.add.at(counts, place, np.concatenate([h.counts for h in histograms]))
    return ProbabilityHistogram(bins.astype(np.uint32), counts, sum(h.rows for h in histograms))


def threshold_for_rate(
    histogram: ProbabilityHistogram, drop_rate: float, recalibration: Recalibration | None = None
) -> float:
    """Returns the lowest threshold at or above which at most a share `drop_rate` of all interactions lies.

    The share is never exceeded. If probabilities at the border are tied, all of them stay below it.

    Args:
        histogram: The model's probabilities.
        drop_rate: Share of all interactions, in [0, 1).
        recalibration: Applied to probabilities before they are compared with the threshold; None: there is none.
    """
    at_or_above = np.cumsum(histogram.counts[::-1])[::-1]  # [k]
    fits = np.flatnonzero(at_or_above <= share_of(histogram.rows, drop_rate))
    if not len(fits):
        return NOTHING
    lower_edge = (histogram.bins[fits[:1]] << np.uint32(_DROPPED_BITS)).view(np.float32)
    if recalibration is None:
        return float(lower_edge[0])
    # Right above the highest probability that stays, so that those tied with it after recalibration stay too.
    stays = recalibration.apply(np.nextafter(lower_edge, np.float32(0)))
    return float(np.nextafter(stays, np.float32(2))[0])


def threshold_of_parts(
    parts: Sequence[tuple[ProbabilityHistogram, Recalibration]], rows: int, drop_rate: float
) -> float:
    """Returns the same for a log whose parts are recalibrated each in its own way.

    Args:
        parts: The model's probabilities in each part, and how they are recalibrated.
        rows: Number of all interactions.
        drop_rate: Share of all interactions, in [0, 1).
    """
    counts = np.concatenate([histogram.counts for histogram, _ in parts])
    highest = np.concatenate([recalibration.apply(_upper_edges(histogram.bins)) for histogram, recalibration in parts])
    order = np.argsort(-highest, kind="stable")
    highest, at_or_above = highest[order], np.cumsum(counts[order])
    stays = np.flatnonzero(at_or_above > share_of(rows, drop_rate))
    if not len(stays):
        return float(np.nextafter(np.float32(0), np.float32(1))) if len(highest) else NOTHING
    return float(np.nextafter(highest[stays[0]], np.float32(2)))


def _upper_edges(bins: np.ndarray) -> np.ndarray:
    """Returns the largest probability of each bin, float32 [k]."""
    bits = (bins << np.uint32(_DROPPED_BITS)) | np.uint32((1 << _DROPPED_BITS) - 1)
    return np.minimum(bits.view(np.float32), np.float32(1))
