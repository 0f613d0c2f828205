"""How well noise is detected: AUROC and calibration error."""

import numpy as np
from sklearn.metrics import roc_auc_score

CALIBRATION_BINS = 15


def area_under_roc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Returns the AUROC, or 0.5 if all labels are alike and there is nothing to tell apart."""
    return float(roc_auc_score(labels, scores, sample_weight=weights)) if labels.any() and not labels.all() else 0.5


def calibration_error(label: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> float:
    """Returns the expected calibration error: mean gap of probability and true share over bins of equal width."""
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=weight * (probability - label), minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / weight.sum())
