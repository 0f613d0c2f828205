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
from ..noise.score_counts import GROUPS, count_all, count_by_group, places
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
"""Where all kinds explain so many times the noise that single items do, this speaks for neither side. It is above 1
because people who share an account by nature, as a household does, make all kinds explain somewhat more even where all
noise is single items. At 1 it speaks for single items in full, and at the square of it for all kinds."""

EVEN_LOOKS, LOOKS_RATIO = 0.2, 1.75
"""Of the likeliest noise of a log, some looks like another kind than single items. 0 is as much of it as among single
items, and 1 as much as among all that training inserts. At EVEN_LOOKS this speaks for neither side; at LOOKS_RATIO
times as much, or as small a part of it, it speaks in full."""


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
    """Tells from the scores of a log which noise it holds, from -1 (single items) to 1 (all kinds).

    All kinds are expected if both speak for them: they explain more of the log than single items do, and the likeliest
    noise looks like them.

    Args:
        model: The trained and calibrated model.
        sequences: The log, without inserted noise.
        vectors: The items of the log.
        references: What inserted noise scores, int64 [REFERENCES, PLACES, BUCKETS, BINS].
        workers: Threads.
    """
    scores = score_sequences(model, sequences, vectors, group_interactions=GROUP_INTERACTIONS, workers=workers)
    counts = count_log(sequences, scores)
    of_all, of_single = (estimate_share(reference, counts) for reference in references[:2])
    if not isinstance(of_all, NoiseShare) or not isinstance(of_single, NoiseShare):
        return 0.0
    most = max(of_all.estimate, of_single.estimate)
    shown = np.clip(most / MIN_TOLD_SHARE - 1, 0, 1)
    if not shown:
        return 0.0
    explained = _speaks(of_all.estimate, of_single.estimate * EVEN_RATIO, EVEN_RATIO)
    looks = _speaks(_looks(scores, references, most / 2), EVEN_LOOKS, LOOKS_RATIO)
    return float(shown * min(explained, looks))


def _speaks(found: float, even: float, ratio: float) -> float:
    """Returns -1 to 1: 0 if what is found is even, 1 if it is `ratio` times as much, -1 if it is as small a part."""
    if found * ratio <= even:
        return -1.0
    return 1.0 if found >= even * ratio else float(np.log(found / even) / np.log(ratio))


def _looks(scores: Scores, references: np.ndarray, share: float) -> float:
    """Returns how much of the likeliest noise of a log looks like other kinds than single items, see EVEN_LOOKS.

    If what training inserts looks no more like them, as in a tiny log, it is infinite, and speaks against nothing.

    Args:
        scores: Of the log.
        references: What inserted noise scores, int64 [REFERENCES, PLACES, BUCKETS, BINS].
        share: Of the scored interactions, which are the likeliest noise.
    """
    log, other = (count_all(scores.noise_probability[of]) for of in (scores.scored, scores.scored & scores.names_kind))
    beyond = np.cumsum(log[::-1])[::-1]  # how many have at least the probability of each bin
    first = np.flatnonzero(beyond >= share * beyond[0])[-1]

    def part(others: np.ndarray, of: np.ndarray) -> float:
        return others[first:].sum() / max(of[first:].sum(), 1)

    of_all, of_single, others_of_all, others_of_single = references.sum((1, 2))
    least, most = part(others_of_single, of_single), part(others_of_all, of_all)
    return (part(other, log) - least) / (most - least) if most > least else np.inf


def reference_of(references: np.ndarray, lean: float) -> np.ndarray:
    """Returns what the noise that is expected scores, int64 [PLACES, BUCKETS, BINS].

    A kind that the log does not hold would lower the share that is estimated by the reference. So the more the log
    leans to single items, the fewer of the others count.

    Args:
        references: What inserted noise scores, int64 [REFERENCES, PLACES, BUCKETS, BINS].
        lean: What is expected, see `expected_shares`.
    """
    of_all, of_single = references[:2]
    return of_single + np.rint(min(1 + lean, 1) * (of_all - of_single)).astype(np.int64)


def count_log(sequences: Sequences, scores: Scores) -> np.ndarray:
    """Counts the scores of a whole log, as `estimate_share` takes them."""
    bucket = popularity_buckets(sequences.items, np.bincount(sequences.items))
    judged, group, place = scores.scored, sequences.users % GROUPS, places(sequences.offsets)
    return count_by_group(
        scores.noise_probability[judged], group[judged], place[judged], bucket[judged], int(bucket.max(initial=0)) + 1
    )
