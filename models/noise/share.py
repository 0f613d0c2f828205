"""Estimates how much noise a log holds.

The idea: while training, we inserted noise and counted what scores it gets. These counts are the reference. Say that a
log is a mixture of such noise and genuine interactions. Look at the tail of the scores above any value: it holds all
noise with such scores, and perhaps genuine interactions too. So the log's tail divided by the reference's tail is at
least the share of noise. Above a score that only noise reaches, it is exactly the share. The estimate is therefore the
lowest ratio of the two tails (Blanchard, Lee and Scott, "Semi-supervised novelty detection", JMLR 2010, section 4),
among the tails that hold enough noise to be certain.

Two things would make the lowest ratio too low, and are handled here:

- Noise may be missing at one place in the sequences, such as their end. So the share is estimated for each place
  separately (a stratum), and then added up.
- Noise may be rare among popular items, for example if it was drawn uniformly from all items. So the reference of each
  popularity bucket is weighted by the noise that the bucket holds, estimated from the bucket alone.

Scores are counted in bins, see `score_counts.py`. How much the counts differ between groups of users tells how certain
the estimate is.
"""

from dataclasses import dataclass

import numpy as np

from .score_counts import PLACES

MIN_GROUPS = 8
"""Minimum number of groups with users. With fewer groups, nothing says how certain the estimate is."""

MIN_TAIL_NOISE = 20
"""Minimum number of inserted interactions in a tail. The ratio of a smaller tail does not count."""

MIN_TAIL_SHARE = 0.05
"""Minimum share of the noise in a tail. Further out, the ratio depends on chance and on noise that the detector's head
memorised."""

MIN_REFERENCE = 200
"""Minimum number of inserted interactions in the reference. With fewer, a tenth of the noise would not be enough for a
tail, and larger tails hold too many genuine interactions to pass for noise alone."""

MIN_SEPARATION = 0.75
"""Minimum AUROC between noise and genuine interactions. Below it, there is no score that only noise reaches."""

_CAUTION_ERRORS = 1.645
"""Standard errors added to the ratio of a tail before the lowest is chosen. Otherwise the lowest would be one that is
low by chance."""

_INTERVAL_ERRORS = 1.96
"""Standard errors on each side of the estimate that make a 95% interval."""

_POOLED_INTERACTIONS = 10.0
"""The reference of each bucket is mixed with this many interactions from all buckets together."""

_MIN_BUCKET_NOISE = 2 * MIN_TAIL_NOISE
"""Minimum number of inserted interactions in every bucket. With fewer, the ratio within a bucket says nothing."""

_MIN_BUCKET_SHARE = 1e-4
"""Added to each bucket's share of noise. If no bucket holds noise, they then all count in proportion to their size."""


@dataclass(frozen=True)
class NoiseShare:
    """The share of a log's judged interactions that is noise of the kind we insert, with its 95% interval."""

    estimate: float
    """The estimated share, in [0, 1]."""
    lower: float
    """Lower end of the interval, at least 0."""
    upper: float
    """Upper end of the interval, at most 1."""
    by_place: tuple[float, ...]
    """The estimates before the end of sequences and at their end. If the reference holds too little noise at one of the
    two places, there is a single estimate for both."""


@dataclass(frozen=True)
class NoShare:
    """The share of noise in a log cannot be estimated."""

    reason: str
    """Why not, for the user."""


def estimate_share(reference: np.ndarray, counts: np.ndarray) -> NoiseShare | NoShare:
    """Estimates the share of noise among the judged interactions of a log.

    The estimate is too high if some genuine interactions look exactly like noise, since they are counted as noise. Use
    `lower` where it matters that the log really holds that much.

    Args:
        reference: Inserted interactions by place, popularity bucket and score, [PLACES, r, BINS]; all 0 if they were
            not counted. See `models/training/noise_reference.py`.
        counts: The log's judged interactions by group of users, place, bucket and score, int64
            [GROUPS, PLACES, k, BINS].

    Returns:
        The share, or the reason why it cannot be estimated.
    """
    if (counts.sum((1, 2, 3)) > 0).sum() < MIN_GROUPS:
        return NoShare("too few users have interactions that can be judged")
    if reference.sum() < MIN_REFERENCE:
        return NoShare("the model was trained on too few users to know how noise scores")
    strata = split_strata(reference, counts)
    rows = np.array([stratum.counts.sum() for stratum in strata])
    weight = rows / rows.sum()
    expected = [expected_noise(stratum) for stratum in strata]
    ratio, error = np.array(
        [_lowest_ratio(*of, stratum.counts.sum(1)) for of, stratum in zip(expected, strata, strict=True)]
    ).T
    share, margin = float(weight @ ratio), float(_INTERVAL_ERRORS * np.hypot.reduce(weight * error))
    noise = weight @ [distribution for distribution, _ in expected]
    if _separation(noise, counts.sum((0, 1, 2)) / counts.sum(), share) < MIN_SEPARATION:
        return NoShare("the model cannot tell noise from this log's genuine interactions well enough")
    return NoiseShare(share, max(share - margin, 0.0), min(share + margin, 1.0), tuple(ratio.tolist()))


@dataclass(frozen=True)
class Stratum:
    """The part of the log for which one share of noise is estimated: one place in the sequences, or all of them."""

    reference: np.ndarray
    """Inserted interactions by popularity bucket and score, [r, BINS]."""
    counts: np.ndarray
    """The log's judged interactions by group of users, popularity bucket and score, [GROUPS, k, BINS]."""


def split_strata(reference: np.ndarray, counts: np.ndarray) -> list[Stratum]:
    """Splits the log by place. It stays whole if the reference has too little noise at one of the places.

    Args:
        reference: As in `estimate_share`.
        counts: As in `estimate_share`.
    """
    if (reference.sum((1, 2)) < MIN_REFERENCE).any():
        return [Stratum(reference.sum(0), counts.sum(1))]
    return [Stratum(reference[place], counts[:, place]) for place in range(PLACES)]


def expected_noise(stratum: Stratum) -> tuple[np.ndarray, float]:
    """Returns how the scores of the stratum's noise are expected to be distributed.

    Returns:
        The distribution over the bins, [BINS]; and the number of inserted interactions that it is based on.
    """
    rows, size = stratum.counts.sum((0, 2)), stratum.reference.sum()  # [k]
    if len(stratum.reference) != len(rows):
        return stratum.reference.sum(0) / max(size, 1), size
    noise, sizes = _noise_by_bucket(stratum.reference), np.maximum(stratum.reference.sum(1), _POOLED_INTERACTIONS)
    spread = rows / max(rows.sum(), 1)  # share of the noise in each bucket, [k]
    if (sizes >= _MIN_BUCKET_NOISE).all() and rows.any():
        spread = spread * [
            _lowest_ratio(*bucket)[0] + _MIN_BUCKET_SHARE
            for bucket in zip(noise, sizes, stratum.counts.swapaxes(0, 1), strict=True)
        ]
        spread /= spread.sum()
    # Kish's effective sample size: interactions with unequal weights tell as much as a smaller number with equal ones.
    return spread @ noise, min(size, 1 / max((spread**2 / sizes).sum(), 1e-12))


def _lowest_ratio(noise: np.ndarray, size: float, counts: np.ndarray) -> tuple[float, float]:
    """Returns the share of noise in a part of the log, and its standard error. For arguments see `_compare_tails`."""
    if not counts.any():
        return 0.0, 0.0
    noise_tail, ratio, error = _compare_tails(noise, size, counts)
    certain = (noise_tail * size >= MIN_TAIL_NOISE) & (noise_tail >= MIN_TAIL_SHARE)
    best = np.where(certain, ratio + _CAUTION_ERRORS * error, np.inf).argmin()
    return min(float(ratio[best]), 1.0), float(error[best])


def _compare_tails(noise: np.ndarray, size: float, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divides the log's tails by those of the noise.

    Args:
        noise: Distribution of the scores of noise, [BINS].
        size: Number of inserted interactions that the distribution is based on.
        counts: The log's interactions by group of users, [GROUPS, BINS]. Empty groups are ignored.

    Returns:
        The share of the noise in each tail, the ratio of the log's tail to it, and the standard error of the ratio.
        Each is [BINS]: the tail of a bin starts there.
    """
    rows = counts.sum(1)
    tails, rows = _tails(counts)[rows > 0], rows[rows > 0]
    total, log_tail = rows.sum(), tails.sum(0)
    without = (log_tail - tails) / np.maximum(total - rows, 1)[:, None]  # jackknife: each group left out once
    variance = (len(rows) - 1) / len(rows) * ((without - without.mean(0)) ** 2).sum(0)
    # If a tail holds hardly anything, the groups may agree by accident. Its variance is at least that of a count.
    variance = np.maximum(variance, (log_tail + 1) / total**2)
    noise_tail = np.maximum(_tails(noise), 1e-12)
    ratio = log_tail / total / noise_tail
    # The binomial variance is 0 if a tail holds all of the noise. One interaction more or less still is a difference.
    chance = np.maximum(noise_tail * (1 - noise_tail) / size, 1 / size**2)
    return noise_tail, ratio, np.sqrt(variance + ratio**2 * chance) / noise_tail


def _separation(noise: np.ndarray, log: np.ndarray, share: float) -> float:
    """Returns the AUROC between noise and the genuine interactions of a log.

    Args:
        noise: Distribution of the scores of noise, [BINS].
        log: Distribution of the scores of the log, [BINS].
        share: The share of noise in the log.
    """
    between = float(noise @ (log.cumsum() - log / 2))
    return float((between - share / 2) / max(1 - share, 1e-9))


def _tails(counts: np.ndarray) -> np.ndarray:
    """Returns for each bin the sum of it and all bins after it, [..., BINS]."""
    return counts[..., ::-1].cumsum(-1)[..., ::-1]


def _noise_by_bucket(reference: np.ndarray) -> np.ndarray:
    """Returns the distribution of the reference's scores within each bucket, [r, BINS]."""
    together = reference.sum(0) / max(reference.sum(), 1)
    return (reference + _POOLED_INTERACTIONS * together) / (reference.sum(1, keepdims=True) + _POOLED_INTERACTIONS)
