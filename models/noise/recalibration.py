"""Recalibrates the model's noise probabilities to the share of noise that a log holds."""

from dataclasses import dataclass

import numpy as np

from .score_counts import BINS, CENTRES, _log_odds
from .share import NoiseShare, NoShare, _expected_noise, _strata, estimate_share

_MAX_NOISE = 0.95
"""Of a log, for probabilities to have an order."""


_PULL = 0.02
"""On the squared distance of a scale from 1, for each interaction of noise."""


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


def fit_recalibration(reference: np.ndarray, counts: np.ndarray, share: NoiseShare) -> Recalibration:
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
        noise += min(max(part * size, size / max(rows.sum(), 2)), _MAX_NOISE * size) * _expected_noise(stratum)[0]
    return Recalibration(*_fit_platt(noise, rows))


def recalibrate(reference: np.ndarray, counts: np.ndarray) -> tuple[NoiseShare | NoShare, Recalibration | None]:
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
        return share, fit_recalibration(reference, counts, share)
    return share, None


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
