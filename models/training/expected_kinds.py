"""Which kinds of noise a log seems to hold, and what follows for the noise head.

Training inserts as much of each kind as it takes to learn it. How frequent the kinds are in a log is another question.
If single items prevail, evidence of other kinds only blurs their ranking; if other kinds are frequent, a head that
expects single items misses them. Both can be told from the scores of the log itself: the kinds that it holds explain
more of it than others do.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch

from ..core.item_vectors import ItemVectors
from ..core.sequences import Sequences
from ..detector.iadsr import IADSR
from ..detector.scoring import Scores, score_sequences
from ..noise.insertion import NOISE_KINDS, NoisyLog
from ..noise.popularity import popularity_buckets
from ..noise.score_counts import GROUPS, count_by_group, places
from ..noise.share import NoiseShare, estimate_share
from .noise_reference import GROUP_INTERACTIONS

Mix = Literal["unknown", "single", "all"]

EXPECTED_SHARES: dict[Mix, Mapping[str, float]] = {
    "unknown": {"single": 0.8, "run": 0.09, "text": 0.06, "block": 0.05},
    "single": {"single": 0.93, "run": 0.03, "text": 0.02, "block": 0.02},
    "all": {"single": 0.6, "run": 0.18, "text": 0.13, "block": 0.09},
}
"""Share of each of NOISE_KINDS in the noise of a log that does not show which kinds it holds, of one in which single
items prevail, and of one in which all kinds are frequent."""

MIN_TOLD_SHARE = 0.02
"""A log with less noise than this does not show of which kinds it is."""

MIN_TOLD_RATIO = 1.25
"""Of two explanations, one must explain so many times the noise that the other does. People who share an account by
nature, as a household does, make all kinds explain somewhat more even where all noise is single items."""


def expect(model: IADSR, log: NoisyLog, mix: Mix) -> None:
    """Sets how frequent the model's head takes the kinds of noise for.

    Args:
        model: Its head is trained on `log`.
        log: The log with the inserted noise.
        mix: What is expected.
    """
    assert log.kind is not None
    trained = np.bincount(log.kind[log.inserted], minlength=len(NOISE_KINDS))
    expected = np.array([EXPECTED_SHARES[mix][kind] for kind in NOISE_KINDS]) * (trained > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.log(expected / expected.sum()) - np.log(trained / trained.sum())
    model.head.kind_shift.copy_(torch.from_numpy(np.where(trained > 0, shift, 0)))


def tell_mix(model: IADSR, sequences: Sequences, vectors: ItemVectors, references: np.ndarray, workers: int = 1) -> Mix:
    """Tells from the scores of a log which mix of noise explains more of it.

    Args:
        model: The trained and calibrated model.
        sequences: The log, without inserted noise.
        vectors: The items of the log.
        references: What inserted noise scores, int64 [REFERENCES, PLACES, BUCKETS, BINS].
        workers: Threads.
    """
    scores = score_sequences(model, sequences, vectors, group_interactions=GROUP_INTERACTIONS, workers=workers)
    counts = count_log(sequences, scores)
    of_all, of_single = (estimate_share(reference, counts) for reference in references)
    if not isinstance(of_all, NoiseShare) or not isinstance(of_single, NoiseShare):
        return "unknown"
    if max(of_all.estimate, of_single.estimate) < MIN_TOLD_SHARE:
        return "unknown"
    if _explains_more(of_all, of_single):
        return "all"
    return "single" if _explains_more(of_single, of_all) else "unknown"


def _explains_more(one: NoiseShare, other: NoiseShare) -> bool:
    return one.lower > other.estimate and one.estimate > MIN_TOLD_RATIO * other.estimate


def count_log(sequences: Sequences, scores: Scores) -> np.ndarray:
    """Counts the scores of a whole log, as `estimate_share` takes them."""
    bucket = popularity_buckets(sequences.items, np.bincount(sequences.items))
    judged, group, place = scores.scored, sequences.users % GROUPS, places(sequences.offsets)
    return count_by_group(
        scores.noise_probability[judged], group[judged], place[judged], bucket[judged], int(bucket.max(initial=0)) + 1
    )
