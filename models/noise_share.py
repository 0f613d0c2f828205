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

BINS = 256
_LIMIT = 8.0
"""Log odds beyond this fall into the outermost bins."""
CENTRES = (np.arange(BINS) + 0.5) * (2 * _LIMIT / BINS) - _LIMIT
"""Log odds in the middle of each bin, [BINS]."""
LAST = 2
"""So many of a user's last interactions are the end of the sequence. Most evaluations of recommenders hold them out."""
PLACES = 2
"""Before the end of the sequence, and at it."""
GROUPS = 32
"""Groups of users, by hash of the id."""
FEWEST_GROUPS = 8
"""With users in fewer groups than this there is no saying how certain a share is."""
FEWEST_NOISE = 20
"""Inserted interactions that a tail must hold for its ratio to count."""
FEWEST_REFERENCE = 200
"""Inserted interactions that there must be: a tenth of fewer would not do for a tail, and in larger tails genuine
interactions are too many to pass for noise."""
LEAST_TAIL = 0.01
"""Share of the noise that it must hold, too: further out chance, and what the head learned by heart, decide."""
LEAST_SEPARATION = 0.75
"""AUROC between noise and genuine interactions below which no score is beyond all that is genuine."""
_CAUTION = 1.645
"""A tail's ratio counts with so many standard errors added, lest the lowest be the luckiest."""
_INTERVAL = 1.96
_MOST_NOISE = 0.95
"""Of a log, for probabilities to have an order."""
_PULL = 0.02
"""On the squared distance of a scale from 1, for each interaction of noise."""
_POOLED = 10.0
"""Interactions' worth of all buckets together that each bucket's reference is mixed with."""
_FEWEST_IN_BUCKET = 2 * FEWEST_NOISE
"""Inserted interactions in each bucket for the ratio of a bucket by itself to say anything."""
_LEAST_SHARE = 1e-4
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


@dataclass(frozen=True)
class Recalibration:
    """Turns the model's noise probability into that of a log with its own share of noise.

    Attributes:
        scale: Factor of the log odds, above 0.
        shift: Added to them.
    """

    scale: float
    shift: float

    def apply(self, noise_probability: np.ndarray) -> np.ndarray:
        """Returns the probabilities, float32 [n]; they keep their order, 0 stays 0 and 1 stays 1."""
        with np.errstate(divide="ignore", over="ignore"):
            return (1 / (1 + np.exp(-(_log_odds(noise_probability) * self.scale + self.shift)))).astype(np.float32)


def places(offsets: np.ndarray) -> np.ndarray:
    """Returns the place of each interaction, below PLACES, int64 [N], from the users' offsets [U + 1]."""
    from_end = np.repeat(offsets[1:], np.diff(offsets)) - np.arange(offsets[-1])
    return (from_end <= LAST).astype(np.int64)


def count_scores(noise_probability: np.ndarray, place: np.ndarray, bucket: np.ndarray, buckets: int) -> np.ndarray:
    """Counts interactions by place, bucket and noise probability, each [n]; int64 [PLACES, buckets, BINS]."""
    counts = _count(noise_probability, place * buckets + bucket, PLACES * buckets)
    return counts.reshape(PLACES, buckets, BINS)


def count_by_group(
    noise_probability: np.ndarray, group: np.ndarray, place: np.ndarray, bucket: np.ndarray, buckets: int
) -> np.ndarray:
    """Counts as `count_scores` does, by group of users [n], too: int64 [GROUPS, PLACES, buckets, BINS]."""
    cells = PLACES * buckets
    counts = _count(noise_probability, group * cells + place * buckets + bucket, GROUPS * cells)
    return counts.reshape(GROUPS, PLACES, buckets, BINS)


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
    if (counts.sum((1, 2, 3)) > 0).sum() < FEWEST_GROUPS:
        return NoShare("too few users have interactions that can be judged")
    if reference.sum() < FEWEST_REFERENCE:
        return NoShare("the model was trained on too few users to know what noise scores")
    strata = _strata(reference, counts)
    rows = np.array([stratum.counts.sum() for stratum in strata])
    weight = rows / rows.sum()
    expected = [_expected_noise(stratum) for stratum in strata]
    ratio, error = np.array(
        [_least_ratio(*of, stratum.counts.sum(1)) for of, stratum in zip(expected, strata, strict=True)]
    ).T
    share, margin = float(weight @ ratio), float(_INTERVAL * np.hypot.reduce(weight * error))
    noise = weight @ [distribution for distribution, _ in expected]
    if _separation(noise, counts.sum((0, 1, 2)) / counts.sum(), share) < LEAST_SEPARATION:
        return NoShare("the model tells noise from this log's interactions too poorly")
    return NoiseShare(share, max(share - margin, 0.0), min(share + margin, 1.0), tuple(ratio.tolist()))


def recalibrate(reference: np.ndarray, counts: np.ndarray, share: NoiseShare) -> Recalibration:
    """Fits Platt's scale and shift so that the probability is that of noise in this log.

    No labels are needed: of the log's interactions with a score, noise are as many as the share says and the reference
    has there. The probabilities sum up to the share of the interactions. Rare and popular items have the same scale and
    shift: training has made noise equally frequent among them, and which of them a log holds more noise of cannot be
    told from how their genuine interactions look. Places have, too, for one threshold to serve all.

    Args:
        reference: As in `estimate_share`.
        counts: As in `estimate_share`.
        share: Of noise, as `estimate_share` found it; one interaction's worth of it at least is assumed, for
            probabilities to have an order.
    """
    rows = counts.sum((0, 1, 2))  # [BINS]
    noise = np.zeros(BINS)
    for stratum, part in zip(_strata(reference, counts), share.by_place, strict=True):
        size = stratum.counts.sum()
        noise += min(max(part * size, size / max(rows.sum(), 2)), _MOST_NOISE * size) * _expected_noise(stratum)[0]
    return Recalibration(*_fit_platt(noise, rows))


def fit_to_log(reference: np.ndarray, counts: np.ndarray) -> tuple[NoiseShare | NoShare, Recalibration | None]:
    """Estimates a log's share of noise, and how probabilities are re-based to it.

    Args:
        reference: As in `estimate_share`.
        counts: As in `estimate_share`.

    Returns:
        The share; and the recalibration, None where no noise is certain: re-based to none at all, probabilities would
        be nothing but an order of very small numbers.
    """
    share = estimate_share(reference, counts)
    if isinstance(share, NoiseShare) and share.lower > 0:
        return share, recalibrate(reference, counts, share)
    return share, None


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
    if (reference.sum((1, 2)) < FEWEST_REFERENCE).any():
        return [_Stratum(reference.sum(0), counts.sum(1))]
    return [_Stratum(reference[place], counts[:, place]) for place in range(PLACES)]


def _expected_noise(stratum: _Stratum) -> tuple[np.ndarray, float]:
    """Returns the distribution of noise's scores, [BINS], and the inserted interactions that it comes from."""
    rows, size = stratum.counts.sum((0, 2)), stratum.reference.sum()  # [k]
    if len(stratum.reference) != len(rows):
        return stratum.reference.sum(0) / max(size, 1), size
    noise, sizes = _noise_by_bucket(stratum.reference), np.maximum(stratum.reference.sum(1), _POOLED)
    spread = rows / max(rows.sum(), 1)  # of the noise over the buckets, [k]
    if (sizes >= _FEWEST_IN_BUCKET).all() and rows.any():
        spread = spread * [
            _least_ratio(*bucket)[0] + _LEAST_SHARE
            for bucket in zip(noise, sizes, stratum.counts.swapaxes(0, 1), strict=True)
        ]
        spread /= spread.sum()
    # Kish's effective sample size: weighted unequally, so many interactions tell as much as fewer do.
    return spread @ noise, min(size, 1 / max((spread**2 / sizes).sum(), 1e-12))


def _least_ratio(noise: np.ndarray, size: float, counts: np.ndarray) -> tuple[float, float]:
    """Returns the share of noise in a part of the log, and its standard error; arguments as in `_compare_tails`."""
    if not counts.any():
        return 0.0, 0.0
    found, ratio, error = _compare_tails(noise, size, counts)
    certain = (found * size >= FEWEST_NOISE) & (found >= LEAST_TAIL)
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


def _count(noise_probability: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """Counts by cell [n] and score, int64 [cells, BINS]."""
    with np.errstate(divide="ignore"):
        scaled = (_log_odds(noise_probability) + _LIMIT) * (BINS / (2 * _LIMIT))
    bins = np.clip(scaled, 0, BINS - 1).astype(np.int64)
    return np.bincount(cell * BINS + bins, minlength=cells * BINS).reshape(cells, BINS)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    probability = probability.astype(np.float64)
    return np.log(probability) - np.log1p(-probability)


def _tails(counts: np.ndarray) -> np.ndarray:
    """Sums over the bins from each one to the last, [..., BINS]."""
    return counts[..., ::-1].cumsum(-1)[..., ::-1]


def _noise_by_bucket(reference: np.ndarray) -> np.ndarray:
    """Returns the distribution of the reference's scores in each bucket, [r, BINS]."""
    together = reference.sum(0) / max(reference.sum(), 1)
    return (reference + _POOLED * together) / (reference.sum(1, keepdims=True) + _POOLED)


def _fit_platt(noise: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Fits scale and shift of the log odds to `noise` expected among `rows`, both [BINS], by Newton's method.

    The loss is convex even where more noise is expected than there are rows; a slight pull of the scale towards 1 keeps
    it from running away there.
    """
    if not rows.sum():
        return 1.0, 0.0
    share = noise.sum() / rows.sum()
    pull = np.array([_PULL * noise.sum(), 0.0])
    inputs = np.stack([CENTRES, np.ones(BINS)])  # [2, BINS]
    parameters = np.array([1.0, np.log(share / (1 - share)) - rows @ CENTRES / rows.sum()])
    for _ in range(100):
        expected = 1 / (1 + np.exp(-np.clip(parameters @ inputs, -60, 60)))
        gradient = inputs @ (rows * expected - noise) + pull * (parameters - 1)
        curvature = (inputs * (rows * expected * (1 - expected))) @ inputs.T + np.diag(pull + 1e-9)
        step = np.clip(np.linalg.solve(curvature, gradient), -1, 1)
        parameters = parameters - step
        if np.abs(step).max() < 1e-9:
            break
    # A scale of 0 or less would undo the order; it can only come of a detector that finds nothing.
    return max(float(parameters[0]), 1e-3), float(parameters[1])
