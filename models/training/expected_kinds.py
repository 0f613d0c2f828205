"""Which kinds of noise a log seems to hold, and what follows for the noise head.

Training inserts as much of each kind as it takes to learn it. How frequent the kinds are in a log is another question.
If single items prevail, evidence of other kinds only blurs their ranking; if other kinds are frequent, a head that
expects single items misses them. Both can be told from the scores of the log itself: the kinds that it holds explain
more of it than others do. What is told is a number, the lean, so that a log on the edge is not judged by chance.
"""

from collections.abc import Mapping

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

EXPECTED_SHARES: dict[int, Mapping[str, float]] = {
    -1: {"single": 0.93, "run": 0.03, "text": 0.02, "block": 0.02},
    0: {"single": 0.8, "run": 0.09, "text": 0.06, "block": 0.05},
    1: {"single": 0.6, "run": 0.18, "text": 0.13, "block": 0.09},
}
"""Share of each of NOISE_KINDS in the noise of a log, by its lean: -1 where single items prevail, 0 where the log does
not show which kinds it holds, 1 where all kinds are frequent."""

MIN_TOLD_SHARE = 0.02
"""A log with less noise than this does not show of which kinds it is. One with twice as much shows it in full."""

EVEN_RATIO = 1.2
"""Where all kinds explain so many times the noise that single items do, the log leans to neither side. It is above 1
because people who share an account by nature, as a household does, make all kinds explain somewhat more even where all
noise is single items. At 1 the log leans to single items in full, and at the square of it to all kinds."""


def expected_shares(lean: float) -> np.ndarray:
    """Returns how frequent each of NOISE_KINDS is in the noise of a log, float64 [kinds], which adds up to 1.

    Args:
        lean: Between -1 and 1. Between the leans of EXPECTED_SHARES, logarithms of the shares change evenly.
    """
    logarithms = np.log([[shares[kind] for kind in NOISE_KINDS] for shares in EXPECTED_SHARES.values()])
    shares = np.exp([np.interp(lean, list(EXPECTED_SHARES), of_kind) for of_kind in logarithms.T])
    return shares / shares.sum()


def expect(model: IADSR, log: NoisyLog, lean: float) -> None:
    """Sets how frequent the model's head takes the kinds of noise for.

    Args:
        model: Its head is trained on `log`.
        log: The log with the inserted noise.
        lean: What is expected, see `expected_shares`.
    """
    assert log.kind is not None
    trained = np.bincount(log.kind[log.inserted], minlength=len(NOISE_KINDS))
    expected = expected_shares(lean) * (trained > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.log(expected / expected.sum()) - np.log(trained / trained.sum())
    model.head.kind_shift.copy_(torch.from_numpy(np.where(trained > 0, shift, 0)))


def tell_lean(
    model: IADSR, sequences: Sequences, vectors: ItemVectors, references: np.ndarray, workers: int = 1
) -> float:
    """Tells from the scores of a log which mix of noise explains more of it, from -1 (single items) to 1 (all kinds).

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
        return 0.0
    most = max(of_all.estimate, of_single.estimate)
    shown = np.clip(most / MIN_TOLD_SHARE - 1, 0, 1)
    if not shown:
        return 0.0
    least = most / EVEN_RATIO**2  # a smaller one of the two says no more
    ratio = max(of_all.estimate, least) / max(of_single.estimate, least)
    return float(shown * np.clip(np.log(ratio) / np.log(EVEN_RATIO) - 1, -1, 1))


def reference_of(references: np.ndarray, lean: float) -> np.ndarray:
    """Returns what the noise that is expected scores, int64 [PLACES, BUCKETS, BINS].

    A kind that the log does not hold would lower the share that is estimated by the reference. So the more the log
    leans to single items, the fewer of the others count.

    Args:
        references: What all noise scores, and what single items score, int64 [REFERENCES, PLACES, BUCKETS, BINS].
        lean: What is expected, see `expected_shares`.
    """
    of_all, of_single = references
    return of_single + np.rint(min(1 + lean, 1) * (of_all - of_single)).astype(np.int64)


def count_log(sequences: Sequences, scores: Scores) -> np.ndarray:
    """Counts the scores of a whole log, as `estimate_share` takes them."""
    bucket = popularity_buckets(sequences.items, np.bincount(sequences.items))
    judged, group, place = scores.scored, sequences.users % GROUPS, places(sequences.offsets)
    return count_by_group(
        scores.noise_probability[judged], group[judged], place[judged], bucket[judged], int(bucket.max(initial=0)) + 1
    )
