"""Measures what inserted noise scores where there is hardly any: the reference that a share of noise is read from."""

import numpy as np

from ..core.item_vectors import ItemVectors
from ..detector.iadsr import IADSR
from ..detector.scoring import score_sequences
from ..noise.insertion import NoisyLog
from ..noise.popularity import BUCKETS, popularity_buckets
from ..noise.score_counts import BINS, PLACES, count_scores, places

FOLDS = 20
"""The inserted interactions are scored a twentieth at a time. All at once, they would blur each other's context, and
score lower than the noise of a cleaner log; a fifth at a time, a twentieth more noise was read from it."""


def measure_noise_reference(
    model: IADSR, log: NoisyLog, vectors: ItemVectors, users: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Counts the scores of the noise that training inserted, by place and popularity bucket of its item.

    Among what is noise without a doubt, the head knows the interactions that it was shown by heart: those scored higher
    than noise of the log to be cleaned does, and a share read from them came out up to a third too low. Of users that
    stage 1 has not seen noise scores lower than of those that it has, as nearly all of the log are, and a share read
    from them came out a fifth to a quarter too high.

    Args:
        model: The trained and calibrated model.
        log: The log with the noise that stage 1 has seen.
        vectors: The catalogue.
        users: Whose noise counts, bool [U]: users that the head was not trained on, and stage 1 was.
        generator: Deals the noise into folds.

    Returns:
        int64 [PLACES, BUCKETS, BINS], see `noise_share`.
    """
    items, inserted, asked = log.sequences.items, log.inserted, users[log.sequences.users]
    fold = generator.integers(0, FOLDS, len(items))
    # Popularity as the log has it without our noise.
    counts = np.bincount(items[~inserted], minlength=len(vectors.has_semantic))
    bucket = popularity_buckets(items, counts)
    reference = np.zeros((PLACES, BUCKETS, BINS), np.int64)
    for number in range(FOLDS):
        keep = asked & (~inserted | (fold == number))
        sequences = log.sequences.restrict(keep)
        scores = score_sequences(model, sequences, vectors)
        noise = inserted[keep] & scores.scored
        reference += count_scores(
            scores.noise_probability[noise], places(sequences.offsets)[noise], bucket[keep][noise], BUCKETS
        )
    return reference
