import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.core.sequences import Sequences
from iadsr.models.evaluation.ranking import MAX_CUTOFF, METRICS, measure_ranks, rank_targets


def rank_by_sorting(user, items, candidates, target, seen):
    """The definition of a rank: sort the candidates by inner product, leave out seen ones, and find the target."""
    allowed = [i for i in candidates if i == target or i not in seen]
    ranked = sorted(allowed, key=lambda i: -float(items[i] @ user))
    return min(ranked.index(target), MAX_CUTOFF) if target in ranked else MAX_CUTOFF


@given(seed=st.integers(0, 10_000), users=st.integers(1, 12), items=st.integers(2, 60), leave_out=st.booleans())
def test_ranks_are_those_of_sorting_all_items(seed, users, items, leave_out):
    generator = np.random.default_rng(seed)
    item_vectors = generator.normal(size=(items, 8)).astype(np.float32)
    user_vectors = generator.normal(size=(users, 8)).astype(np.float32)
    candidates = np.flatnonzero(generator.random(items) < 0.8)
    candidates = candidates if len(candidates) else np.array([0])
    targets = generator.integers(0, items, users)
    lengths = generator.integers(0, items, users)
    seen = Sequences.from_lengths(generator.integers(0, items, lengths.sum()), lengths)
    ranks = rank_targets(user_vectors, item_vectors, candidates, targets, seen if leave_out else None)
    for u in range(users):
        owned = set(seen.items[seen.offsets[u] : seen.offsets[u + 1]].tolist()) if leave_out else set()
        assert ranks[u] == rank_by_sorting(user_vectors[u], item_vectors, candidates.tolist(), targets[u], owned)


def test_many_users_keep_their_own_ranks():
    users, items = 1300, 40
    generator = np.random.default_rng(0)
    vectors = np.eye(items, dtype=np.float32)
    targets = generator.integers(0, items, users)
    seen = Sequences.from_lengths(np.zeros(0, np.int32), np.zeros(users, np.int64))
    assert (rank_targets(vectors[targets], vectors, np.arange(items), targets, seen) == 0).all()


def test_hr_and_ndcg_follow_from_the_rank():
    figures = measure_ranks(np.array([0, 4, 5, 19, MAX_CUTOFF]))
    assert METRICS == ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20")
    assert figures[0].tolist() == [1, 1, 1, 1, 1, 1]
    assert figures[1, :3].tolist() == [1, 1, 1]
    assert figures[1, 4] == pytest.approx(1 / math.log2(6))
    assert figures[2].tolist() == pytest.approx([0, 1, 1, 0, 1 / math.log2(7), 1 / math.log2(7)])
    assert figures[3, :].tolist() == pytest.approx([0, 0, 1, 0, 0, 1 / math.log2(21)])
    assert not figures[4].any()
