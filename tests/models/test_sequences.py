import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.sequences import Sequences, batches, cut_windows

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
