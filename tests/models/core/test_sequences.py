import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.core.sequences import Sequences


def make(lengths):
    return Sequences.from_lengths(np.arange(sum(lengths)), np.array(lengths))


def test_lengths_and_users_follow_from_the_offsets():
    sequences = make([2, 0, 3])
    assert len(sequences) == 3
    assert sequences.lengths.tolist() == [2, 0, 3]
    assert sequences.users.tolist() == [0, 0, 2, 2, 2]


def test_restrict_keeps_users_without_interactions():
    kept = make([2, 3]).restrict(np.array([False, False, True, False, True]))
    assert kept.items.tolist() == [2, 4]
    assert kept.offsets.tolist() == [0, 0, 2]


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 2, 1, 3], []])
def test_offsets_that_do_not_match_the_items_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets"):
        Sequences(np.zeros(3, np.int32), np.array(offsets, np.int64))


def test_keys_are_kept_and_default_to_user_numbers():
    assert make([2, 0, 3]).keys.tolist() == [0, 1, 2]
    sequences = Sequences.from_lengths(np.arange(5), np.array([2, 3]), np.array([70, 4], np.uint64))
    assert sequences.restrict(np.array([False, False, True, True, False])).keys.tolist() == [70, 4]
    with pytest.raises(ValueError, match="keys"):
        Sequences.from_lengths(np.arange(5), np.array([2, 3]), np.array([70], np.uint64))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50), st.integers(2, 7), st.randoms())
def test_the_fold_of_a_user_depends_only_on_the_key(keys, count, random):
    def deal(some):
        return Sequences.from_lengths(np.zeros(0), np.zeros(len(some), int), np.array(some, np.uint64)).folds(count)

    folds = deal(keys)
    assert folds.dtype == np.int64
    assert ((folds >= 0) & (folds < count)).all()
    order = list(range(len(keys)))
    random.shuffle(order)
    assert deal([keys[i] for i in order]).tolist() == folds[order].tolist()
    assert deal(keys[:1]).tolist() == folds[:1].tolist()


@pytest.mark.parametrize("folds", [4, 5])
@pytest.mark.parametrize("shards", [1, 16, 60])
def test_folds_are_of_about_equal_size_also_within_a_shard(shards, folds):
    # A shard holds the users whose hash has the same remainder modulo the number of shards.
    hashes = np.random.default_rng(0).integers(0, 2**63, 10_000).astype(np.uint64)
    for keys in (hashes * np.uint64(shards) + np.uint64(shards - 1), np.arange(10_000, dtype=np.uint64)):
        sizes = np.bincount(Sequences.from_lengths(np.zeros(0), np.zeros(10_000, int), keys).folds(folds))
        assert len(sizes) == folds
        assert (np.abs(sizes - 10_000 / folds) < 200).all()


def test_users_are_shuffled_by_their_keys_and_a_seed_whoever_else_is_there():
    keys = np.random.default_rng(0).integers(2**63, size=50).astype(np.uint64)
    sequences, stream = Sequences.from_lengths(np.zeros(50), np.ones(50, int), keys), np.random.SeedSequence(1)
    everybody = sequences.shuffled(np.arange(50), stream)
    assert sorted(everybody) == list(range(50))
    assert not np.array_equal(everybody, np.arange(50))
    some = np.arange(0, 50, 3)
    assert sequences.shuffled(some, stream).tolist() == [user for user in everybody if user in some]
    assert not np.array_equal(sequences.shuffled(np.arange(50), np.random.SeedSequence(2)), everybody)
