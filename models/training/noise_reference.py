"""Measures which scores inserted noise gets while there is hardly any of it.

A log's share of noise is estimated by comparing the scores of the log with this reference.
"""

from collections.abc import Iterator

import numpy as np

from ..core.in_order import in_order
from ..core.item_vectors import ItemVectors
from ..core.sequences import Sequences
from ..detector.iadsr import IADSR
from ..detector.scoring import GroupItems, groups_of_users
from ..noise.insertion import NOISE_KINDS, NoisyLog
from ..noise.popularity import BUCKETS, popularity_buckets
from ..noise.score_counts import BINS, PLACES, REFERENCES, count_scores, places

FOLDS = 20
"""The inserted interactions are scored in this many parts, one at a time. All at once, they would blur each other's
context and score lower than the noise of a cleaner log, and too much noise would be estimated. A run is never cut."""

GROUP_INTERACTIONS = 1 << 15
"""Users who have together about this many interactions are scored together, which bounds memory."""


def measure_noise_reference(
    model: IADSR,
    log: NoisyLog,
    vectors: ItemVectors,
    users: np.ndarray,
    generator: np.random.Generator,
    workers: int = 1,
) -> np.ndarray:
    """Counts the scores of the noise that training inserted, by place and popularity bucket of its item.

    The choice of users matters. The head knows by heart the noise that it was trained on, and scores it higher than
    the noise of a log to be cleaned; a share estimated from it comes out too low. The noise of users that stage 1 has
    not seen scores lower than that of users it has seen, and nearly all users of the log are seen; a share estimated
    from it comes out too high.

    Args:
        model: The trained and calibrated model.
        log: The log with the inserted noise that stage 1 has seen.
        vectors: The items of the log.
        users: Users whose noise counts, bool [U]. Stage 1 was trained on them, and the head was not.
        generator: Deals the noise into folds.
        workers: Threads, each of which scores a fold.

    Returns:
        int64 [REFERENCES, PLACES, BUCKETS, BINS], see `noise.share`: of all noise, of single items alone, and of those
        of each that look like another kind.
    """
    items, inserted = log.sequences.items, log.inserted
    assert log.block is not None
    fold = generator.integers(0, FOLDS, int(log.block.max(initial=0)) + 1)[log.block]
    # Popularity in the log without the inserted noise.
    counts = np.bincount(items[~inserted], minlength=len(vectors.has_semantic))
    bucket = popularity_buckets(items, counts)
    reference = np.zeros((REFERENCES, PLACES, BUCKETS, BINS), np.int64)
    assert log.kind is not None
    single = log.kind == NOISE_KINDS.index("single")

    def count(job: tuple[GroupItems, Sequences, np.ndarray, int]) -> np.ndarray:
        group_items, group, rows, number = job
        keep = ~inserted[rows] | (fold[rows] == number)
        sequences, rows = group.restrict(keep), rows[keep]
        scores = group_items.score(sequences)
        place, level = places(sequences.offsets), bucket[rows]
        counted = [wanted[rows] & scores.scored for wanted in (inserted, single)]
        counted += [wanted & scores.names_kind for wanted in counted]
        return np.stack([count_scores(scores.noise_probability[of], place[of], level[of], BUCKETS) for of in counted])

    def jobs() -> Iterator[tuple[GroupItems, Sequences, np.ndarray, int]]:
        asked, rows = log.sequences.take(np.flatnonzero(users))
        for chosen in groups_of_users(asked, model.config.folds, group_interactions=GROUP_INTERACTIONS):
            group, own = asked.take(chosen)
            group_items = GroupItems.of(model, group, vectors)  # all folds share it
            for number in range(FOLDS):
                yield group_items, group, rows[own], number

    for counted in in_order(count, jobs(), workers):
        reference += counted
    return reference
