"""Finds the threshold that drops a given share of all interactions, from one small histogram per shard.

A non-negative float32 sorts like its bits, so counting the upper bits gives a histogram whose bins are about
0.003% of their value wide, whatever the distribution; shards' histograms add up exactly in any order.
"""

from dataclasses import dataclass

import apache_beam as beam
import numpy as np

_DROPPED_BITS = 8


@dataclass(frozen=True)
class ProbabilityHistogram:
    """Sparse histogram of noise probabilities."""

    bins: np.ndarray
    """uint32 [k], ascending: upper bits of the probabilities that occur."""
    counts: np.ndarray
    """int64 [k]."""
    rows: int
    """All interactions, also those that were not scored."""


def probability_histogram(noise_probability: np.ndarray, scored: np.ndarray) -> ProbabilityHistogram:
    """Counts the noise probabilities (float32 [rows]) of the scored interactions."""
    bits = noise_probability[scored].view(np.uint32) >> _DROPPED_BITS
    bins, counts = np.unique(bits, return_counts=True)
    return ProbabilityHistogram(bins, counts.astype(np.int64), len(noise_probability))


def merge_histograms(histograms: list[ProbabilityHistogram]) -> ProbabilityHistogram:
    """Adds histograms up."""
    bins, place = np.unique(np.concatenate([h.bins for h in histograms]), return_inverse=True)
    counts = np.zeros(len(bins), np.int64)
    np.add.at(counts, place, np.concatenate([h.counts for h in histograms]))
    return ProbabilityHistogram(bins.astype(np.uint32), counts, sum(h.rows for h in histograms))


def threshold_for_rate(histogram: ProbabilityHistogram, drop_rate: float) -> float:
    """Returns the lowest threshold at or above which at most a share `drop_rate` of all interactions lies.

    Where probabilities are tied across the border, all of them stay below it: the share is never exceeded.
    """
    at_or_above = np.cumsum(histogram.counts[::-1])[::-1]  # [k]
    # 29% of 100 rows is 28.999... in floating point, and means 29.
    fits = np.flatnonzero(at_or_above <= drop_rate * histogram.rows * (1 + 1e-12))
    if not len(fits):
        return float(np.nextafter(np.float32(1), np.float32(2)))
    lower_edge = (histogram.bins[fits[:1]] << np.uint32(_DROPPED_BITS)).view(np.float32)
    return float(lower_edge[0])


class MergeHistograms(beam.CombineFn):
    """Adds `ProbabilityHistogram`s up."""

    def create_accumulator(self) -> list[ProbabilityHistogram]:
        """No histograms yet."""
        return []

    def add_input(self, accumulator, element):
        """Adds one."""
        return self.merge_accumulators([accumulator, [element]])

    def merge_accumulators(self, accumulators):
        """Adds several."""
        histograms = [histogram for accumulator in accumulators for histogram in accumulator]
        return [merge_histograms(histograms)] if histograms else []

    def extract_output(self, accumulator):
        """The sum."""
        return accumulator[0] if accumulator else ProbabilityHistogram(np.zeros(0, np.uint32), np.zeros(0, np.int64), 0)
