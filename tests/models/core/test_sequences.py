import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.core.sequences import Sequences
from iadsr.models.core.windows import batches, cut_windows

lengths_of_users = st.lists(st.integers(0, 130), min_size=1, max_size=30)


def make(lengths):
    return Sequences.from_lengths(np.arange(sum(lengths)), np.array(lengths))


def test_a_sequence_knows_its_users_and_lengths():
    sequences = make([2, 0, 3])
    assert len(sequences) == 3
    assert sequences.lengths.tolist() == [2, 0, 3]
    assert sequences.users.tolist() == [0, 0, 2, 2, 2]


def test_restrict_keeps_users_that_lose_everything():
    kept = make([2, 3]).restrict(np.array([False, False, True, False, True]))
    assert kept.items.tolist() == [2, 4]
    assert kept.offsets.tolist() == [0, 0, 2]


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 2, 1, 3], []])
def test_offsets_that_do_not_fit_the_items_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets"):
        Sequences(np.zeros(3, np.int32), np.array(offsets, np.int64))


@settings(deadline=None)
@given(lengths_of_users, st.integers(1, 60))
def test_windows_cover_every_interaction_once_in_even_sizes(lengths, max_length):
    sequences = make(lengths)
    windows = cut_windows(sequences, max_length)
    covered = [
        i for start, n in zip(windows.starts, windows.lengths, strict=True) for i in range(int(start), int(start + n))
    ]
    assert covered == list(range(sum(lengths)))
    for user, length in enumerate(lengths):
        sizes = windows.lengths[windows.users == user]
        assert len(sizes) == -(-length // max_length)
        assert not len(sizes) or (sizes.max() <= max_length and sizes.max() - sizes.min() <= 1)


@settings(deadline=None)
@given(lengths_of_users, st.integers(1, 60), st.integers(0, 20))
def test_overlapping_windows_judge_every_interaction_once_with_its_neighbours_in_sight(lengths, max_length, overlap):
    overlap = min(overlap, (max_length - 1) // 2)
    sequences = make(lengths)
    windows = cut_windows(sequences, max_length, overlap)
    judged = []
    for start, length, user, before, after in zip(*vars(windows).values(), strict=True):
        first, last = sequences.offsets[user], sequences.offsets[user + 1]
        assert first <= start
        assert start + length <= last
        assert length <= max_length
        here = range(int(start + before), int(start + length - after))
        assert len(here)
        judged.extend(here)
        # All that lies within the overlap of a judged interaction is in its window, as far as the user has it.
        assert start <= max(first, here[0] - overlap)
        assert start + length >= min(last, here[-1] + 1 + overlap)
    assert judged == list(range(sum(lengths)))
    for user, length in enumerate(lengths):
        sizes = (windows.lengths - windows.before - windows.after)[windows.users == user]
        assert not len(sizes) or sizes.max() - sizes.min() <= 1
        assert length > max_length or len(sizes) == min(length, 1)


@settings(deadline=None)
@given(lengths_of_users, st.integers(8, 40), st.integers(1, 300))
def test_batches_of_overlapping_windows_judge_every_interaction_once(lengths, max_length, budget):
    windows = cut_windows(make(lengths), max_length, 3)
    judged = [index[windows.judged(rows, mask)] for rows, index, mask in batches(windows, budget)]
    assert sorted(np.concatenate(judged).tolist() if judged else []) == list(range(sum(lengths)))


def test_windows_are_selected_with_all_that_belongs_to_them():
    windows = cut_windows(make([30, 5]), 12, 2)
    chosen = windows.select(windows.users == 1)
    assert (chosen.starts.tolist(), chosen.lengths.tolist()) == ([30], [5])
    assert (chosen.users.tolist(), chosen.before.tolist(), chosen.after.tolist()) == ([1], [0], [0])
    middle = windows.select(slice(1, 2))
    assert (middle.before.tolist(), middle.after.tolist()) == ([2], [2])


def test_users_have_the_keys_they_are_given_or_their_numbers():
    assert make([2, 0, 3]).keys.tolist() == [0, 1, 2]
    sequences = Sequences.from_lengths(np.arange(5), np.array([2, 3]), np.array([70, 4], np.uint64))
    assert sequences.restrict(np.array([False, False, True, True, False])).keys.tolist() == [70, 4]
    with pytest.raises(ValueError, match="keys"):
        Sequences.from_lengths(np.arange(5), np.array([2, 3]), np.array([70], np.uint64))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50), st.integers(2, 7), st.randoms())
def test_a_users_fold_follows_from_the_key_alone(keys, count, random):
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
def test_folds_are_of_about_equal_size_even_within_a_shard(shards, folds):
    # A shard holds the users whose hash is the same modulo the number of shards.
    hashes = np.random.default_rng(0).integers(0, 2**63, 10_000).astype(np.uint64)
    for keys in (hashes * np.uint64(shards) + np.uint64(shards - 1), np.arange(10_000, dtype=np.uint64)):
        sizes = np.bincount(Sequences.from_lengths(np.zeros(0), np.zeros(10_000, int), keys).folds(folds))
        assert len(sizes) == folds
        assert (np.abs(sizes - 10_000 / folds) < 200).all()


@settings(deadline=None)
@given(lengths_of_users, st.integers(1, 300), st.booleans())
def test_batches_hold_every_position_once_within_the_budget(lengths, budget, shuffle):
    windows = cut_windows(make(lengths), 50)
    seen, chosen = [], []
    for rows, index, mask in batches(windows, budget, np.random.default_rng(0) if shuffle else None):
        assert mask.size <= budget or len(rows) == 1
        assert (mask.sum(1) == windows.lengths[rows]).all()
        # Padding comes last, and positions follow one another.
        assert (np.sort(mask, axis=1)[:, ::-1] == mask).all()
        assert (index[:, 0] == windows.starts[rows]).all()
        seen.extend(index[mask].tolist())
        chosen.extend(rows.tolist())
    assert sorted(seen) == list(range(sum(lengths)))
    assert sorted(chosen) == list(range(len(windows)))


def test_shuffled_batches_come_in_another_order():
    windows = cut_windows(make([3] * 40), 50)
    fixed = np.concatenate([rows for rows, _, _ in batches(windows, 30)])
    shuffled = np.concatenate([rows for rows, _, _ in batches(windows, 30, np.random.default_rng(1))])
    assert fixed.tolist() == list(range(40))
    assert shuffled.tolist() != fixed.tolist()
