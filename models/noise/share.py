"""How much noise a log holds, and noise probabilities re-based to it.

The head learned to find noise that we inserted, so what inserted noise scores is known: the reference. A log that is a
mixture of noise like it and of genuine interactions, in unknown shares, has at least the share of noise times the
reference's interactions beyond any score. Beyond the score where only noise is left, it has just as many. So the share
is the lowest ratio of the two tails (Blanchard, Lee and Scott, "Semi-supervised novelty detection", JMLR 2010, section
4), taken where it is certain enough. A place in the sequences without noise would pull down the ratio of all: the share
is found at the ends of sequences and before them apart, and added up. So would popular items where noise hardly falls
on them, drawn from the whole catalogue alike: each popularity bucket's part of the reference weighs as much as the
bucket holds of the noise, judged by the ratio in it by itself.

Scores are counted in bins of the noise probability's log odds, by group of users, place in the sequence and popularity
of the item: counts add up over shards in any order, and how much groups differ tells how certain the share is.
"""

from dataclasses import dataclass

import numpy as np

from .score_counts import PLACES

MIN_GROUPS = 8
"""With users in fewer groups than this there is no saying how certain a share is."""


MIN_TAIL_NOISE = 20
"""Inserted interactions that a tail must hold for its ratio to count."""


MIN_REFERENCE = 200
"""Inserted interactions that there must be: a tenth of fewer would not do for a tail, and in larger tails genuine
interactions are too many to pass for noise."""


MIN_TAIL_SHARE = 0.01
"""Share of the noise that it must hold, too: further out chance, and what the head learned by heart, decide."""


MIN_SEPARATION = 0.75
"""AUROC between noise and genuine interactions below which no score is beyond all that is genuine."""


_CAUTION = 1.645
"""A tail's ratio counts with so many standard errors added, lest the lowest be the luckiest."""


_INTERVAL = 1.96


_POOLED = 10.0
"""Interactions' worth of all buckets together that each bucket's reference is mixed with."""


_MIN_IN_BUCKET = 2 * MIN_TAIL_NOISE
"""Inserted interactions in each bucket for the ratio of a bucket by itself to say anything."""


_MIN_SHARE = 1e-4
"""Of noise in a bucket, for all of them to count alike where none holds any."""


@dataclass(frozen=True)
class NoiseShare:
    """The share of a log's judged interactions that is noise like ours, with its 95% interval."""

    estimate: float
    lower: float
    upper: float
    by_place: tuple[float, ...]
    """The estimate before the end of sequences and at it; of both as one where too little is known of one of them."""


@dataclass(frozen=True)
class NoShare:
    """There is no saying how much noise the log holds."""

    reason: str


def estimate_share(reference: np.ndarray, counts: np.ndarray) -> NoiseShare | NoShare:
    """Estimates the share of noise among the judged interactions of a log.

    The estimate leans to the high side in a log whose genuine interactions sometimes look just like noise: what
    cannot be told apart counts as noise. Its lower end is what the log holds with some certainty.

    Args:
        reference: Inserted interactions by place, bucket and score, see `models.probing`, [PLACES, r, BINS]; all 0
            where not measured.
        counts: The log's judged interactions by group of users, place, bucket and score, int64
            [GROUPS, PLACES, k, BINS].

    Returns:
        The share, or why there is none.
    """
    if (counts.sum((1, 2, 3)) > 0).sum() < MIN_GROUPS:
        return NoShare("too few users have interactions that can be judged")
    if reference.sum() < MIN_REFERENCE:
        return NoShare("the model was trained on too few users to know what noise scores")
    strata = _strata(reference, counts)
    rows = np.array([stratum.counts.sum() for stratum in strata])
    weight = rows / rows.sum()
    expected = [_expected_noise(stratum) for stratum in strata]
    ratio, error = np.array(
        [_lowest_ratio(*of, stratum.counts.sum(1)) for of, stratum in zip(expected, strata, strict=True)]
    ).T
    share, margin = float(weight @ ratio), float(_INTERVAL * np.hypot.reduce(weight * error))
    noise = weight @ [distribution for distribution, _ in expected]
    if _separation(noise, counts.sum((0, 1, 2)) / counts.sum(), share) < MIN_SEPARATION:
        return NoShare("the model tells noise from this log's interactions too poorly")
    return NoiseShare(share, max(share - margin, 0.0), min(share + margin, 1.0), tuple(ratio.tolist()))


@dataclass(frozen=True)
class _Stratum:
    """Interactions whose share of noise is found by themselves.

    Attributes:
        reference: Inserted interactions by bucket and score, [r, BINS].
        counts: The log's by group of users, bucket and score, [GROUPS, k, BINS].
    """

    reference: np.ndarray
    counts: np.ndarray


def _strata(reference: np.ndarray, counts: np.ndarray) -> list[_Stratum]:
    """Cuts the log by place, where enough noise was inserted in each of them to compare it with."""
    if (reference.sum((1, 2)) < MIN_REFERENCE).any():
        return [_Stratum(reference.sum(0), counts.sum(1))]
    return [_Stratum(reference[place], counts[:, place]) for place in range(PLACES)]


def _expected_noise(stratum: _Stratum) -> tuple[np.ndarray, float]:
    """Returns the distribution of noise's scores, [BINS], and the inserted interactions that it comes from."""
    rows, size = stratum.counts.sum((0, 2)), stratum.reference.sum()  # [k]
    if len(stratum.reference) != len(rows):
        return stratum.reference.sum(0) / max(size, 1), size
    noise, sizes = _noise_by_bucket(stratum.reference), np.maximum(stratum.reference.sum(1), _POOLED)
    spread = rows / max(rows.sum(), 1)  # of the noise over the buckets, [k]
    if (sizes >= _MIN_IN_BUCKET).all() and rows.any():
        spread = spread * [
            _lowest_ratio(*bucket)[0] + _MIN_SHARE
            for bucket in zip(noise, sizes, stratum.counts.swapaxes(0, 1), strict=True)
        ]
        spread /= spread.sum()
    # Kish's effective sample size: weighted unequally, so many interactions tell as much as fewer do.
    return spread @ noise, min(size, 1 / max((spread**2 / sizes).sum(), 1e-12))


def _lowest_ratio(noise: np.ndarray, size: float, counts: np.ndarray) -> tuple[float, float]:
    """Returns the share of noise in a part of the log, and its standard error; arguments as in `_compare_tails`."""
    if not counts.any():
        return 0.0, 0.0
    found, ratio, error = _compare_tails(noise, size, counts)
    certain = (found * size >= MIN_TAIL_NOISE) & (found >= MIN_TAIL_SHARE)
    best = np.where(certain, ratio + _CAUTION * error, np.inf).argmin()
    return min(float(ratio[best]), 1.0), float(error[best])


def _compare_tails(noise: np.ndarray, size: float, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the tails of noise, the ratios of the log's tails to them, and the standard errors of those, each [BINS].

    Args:
        noise: Distribution of the scores of noise, [BINS].
        size: Inserted interactions that it comes from.
        counts: The log's interactions by group of users, [GROUPS, BINS]; an empty group does not count.
    """
    rows = counts.sum(1)
    tails, rows = _tails(counts)[rows > 0], rows[rows > 0]
    total, beyond = rows.sum(), tails.sum(0)
    without = (beyond - tails) / np.maximum(total - rows, 1)[:, None]  # each group left out once
    variance = (len(rows) - 1) / len(rows) * ((without - without.mean(0)) ** 2).sum(0)
    # Where hardly anything lies beyond, groups differ less than chance would have it.
    variance = np.maximum(variance, (beyond + 1) / total**2)
    found = np.maximum(_tails(noise), 1e-12)
    ratio = beyond / total / found
    # One of the noise more or less is a difference even where all of it lies beyond.
    chance = np.maximum(found * (1 - found) / size, 1 / size**2)
    return found, ratio, np.sqrt(variance + ratio**2 * chance) / found


def _separation(noise: np.ndarray, log: np.ndarray, share: float) -> float:
    """Returns the AUROC between noise and the genuine part of a log with a share of noise; noise and log are [BINS]."""
    between = float(noise @ (log.cumsum() - log / 2))
    return float((between - share / 2) / max(1 - share, 1e-9))


def _tails(counts: np.ndarray) -> np.ndarray:
    """Sums over the bins from each one to the last, [..., BINS]."""
    return counts[..., ::-1].cumsum(-1)[..., ::-1]


def _noise_by_bucket(reference: np.ndarray) -> np.ndarray:
    """Returns the distribution of the reference's scores in each bucket, [r, BINS]."""
    together = reference.sum(0) / max(reference.sum(), 1)
    return (reference + _POOLED * together) / (reference.sum(1, keepdims=True) + _POOLED)
