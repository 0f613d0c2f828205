"""Adapts the model's noise probabilities to one log.

The detector is trained on a log with much inserted noise, so its probabilities are right for such a log only. Here they
are recalibrated to the log that is cleaned: its share of noise is estimated (`share.py`), and the probabilities are
shifted and scaled until they agree with it. This needs the score counts of the whole log, and no labels.
"""

from dataclasses import dataclass

import numpy as np

from .score_counts import BINS, CENTRES, log_odds
from .share import NoiseShare, NoShare, estimate_share, expected_noise, split_strata

_MAX_SHARE = 0.95
"""Maximum share of noise that is assumed at a place. With more, all probabilities would be 1 and have no order."""

_SCALE_PENALTY = 0.02
"""Weight, per interaction of noise, of the penalty on the squared distance of the scale from 1."""


@dataclass(frozen=True)
class Recalibration:
    """Turns the model's noise probabilities into those of a log with its own share of noise (Platt scaling)."""

    scale: float
    """Factor of the log odds, above 0."""
    shift: float
    """Added to the scaled log odds."""

    def apply(self, noise_probability: np.ndarray) -> np.ndarray:
        """Returns the recalibrated probabilities, float32 [n]. Their order stays the same, and so do 0 and 1."""
        with np.errstate(divide="ignore", over="ignore"):
            return (1 / (1 + np.exp(-(log_odds(noise_probability) * self.scale + self.shift)))).astype(np.float32)


def fit_recalibration(reference: np.ndarray, counts: np.ndarray, share: NoiseShare) -> Recalibration:
    """Fits the scale and shift that make the probabilities right for this log.

    No labels are needed. The share of noise and the reference together say how many of the log's interactions with a
    given score are noise. The recalibrated probabilities then add up to the expected number of noise interactions.

    Rare and popular items get the same scale and shift. Training has made noise equally frequent among them, and their
    genuine interactions do not show which of them have more noise in this log. Both places in the sequences get the
    same scale and shift too, so that one threshold fits all interactions.

    Args:
        reference: As in `estimate_share`.
        counts: As in `estimate_share`.
        share: The log's share of noise, from `estimate_share`. If it is next to nothing, one interaction of noise is
            assumed, so that probabilities still differ.
    """
    rows = counts.sum((0, 1, 2))  # [BINS]
    noise = np.zeros(BINS)
    for stratum, part in zip(split_strata(reference, counts), share.by_place, strict=True):
        size = stratum.counts.sum()
        noise += min(max(part * size, size / max(rows.sum(), 2)), _MAX_SHARE * size) * expected_noise(stratum)[0]
    return Recalibration(*_fit_platt(noise, rows))


def recalibrate(reference: np.ndarray, counts: np.ndarray) -> tuple[NoiseShare | NoShare, Recalibration | None]:
    """Estimates a log's share of noise, and how to recalibrate the probabilities to it.

    Args:
        reference: As in `estimate_share`.
        counts: As in `estimate_share`.

    Returns:
        The share; and the recalibration. The recalibration is None if the log may hold no noise at all: probabilities
        would all become tiny, and only their order would mean anything.
    """
    share = estimate_share(reference, counts)
    if isinstance(share, NoiseShare) and share.lower > 0:
        return share, fit_recalibration(reference, counts, share)
    return share, None


def _fit_platt(noise: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Fits the scale and shift of the log odds by Newton's method.

    The loss is convex, even if a bin is expected to hold more noise than it has interactions. In that case the scale
    could grow without limit, so a small penalty keeps it near 1.

    Args:
        noise: Expected number of noise interactions in each bin, [BINS].
        rows: Number of interactions in each bin, [BINS].
    """
    if not rows.sum():
        return 1.0, 0.0
    share = noise.sum() / rows.sum()
    penalty = np.array([_SCALE_PENALTY * noise.sum(), 0.0])
    inputs = np.stack([CENTRES, np.ones(BINS)])  # [2, BINS]
    parameters = np.array([1.0, np.log(share / (1 - share)) - rows @ CENTRES / rows.sum()])
    for _ in range(100):
        expected = 1 / (1 + np.exp(-np.clip(parameters @ inputs, -60, 60)))
        gradient = inputs @ (rows * expected - noise) + penalty * (parameters - 1)
        curvature = (inputs * (rows * expected * (1 - expected))) @ inputs.T + np.diag(penalty + 1e-9)
        step = np.clip(np.linalg.solve(curvature, gradient), -1, 1)
        parameters = parameters - step
        if np.abs(step).max() < 1e-9:
            break
    # Only a detector that finds nothing can lead to a scale of 0 or less, which would destroy the order.
    return max(float(parameters[0]), 1e-3), float(parameters[1])
