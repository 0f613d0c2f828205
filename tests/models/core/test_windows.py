import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.core.sequences import Sequences
from iadsr.models.core.windows import EVEN_ROWS, TILED_ROWS, batches, cut_windows, even_batches

lengths_of_users = st.lists(st.integers(0, 130), min_size=1, max_size=30)


def make(lengths):
    return Sequences.from_lengths(np.arange(sum(lengths)), np.array(lengths))


@given(lengths_of_users, st.integers(1, 60))
def test_windows_hold_every_interaction_once_and_are_of_equal_size(lengths, max_length):
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


@given(lengths_of_users, st.integers(1, 60), st.integers(0, 20))
def test_overlapping_windows_judge_every_interaction_once_and_hold_its_neighbours(lengths, max_length, overlap):
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
        # The window holds all of the user's interactions within the overlap around each judged one.
        assert start <= max(first, here[0] - overlap)
        assert start + length >= min(last, here[-1] + 1 + overlap)
    assert judged == list(range(sum(lengths)))
    for user, length in enumerate(lengths):
        sizes = (windows.lengths - windows.before - windows.after)[windows.users == user]
        assert not len(sizes) or sizes.max() - sizes.min() <= 1
        assert length > max_length or len(sizes) == min(length, 1)


@given(lengths_of_users, st.integers(8, 40), st.integers(1, 300))
def test_batches_of_overlapping_windows_judge_every_interaction_once(lengths, max_length, budget):
    windows = cut_windows(make(lengths), max_length, 3)
    judged = [index[windows.judged(rows, mask)] for rows, index, mask in batches(windows, budget)]
    assert sorted(np.concatenate(judged).tolist() if judged else []) == list(range(sum(lengths)))


def test_select_keeps_all_fields_of_the_selected_windows():
    windows = cut_windows(make([30, 5]), 12, 2)
    chosen = windows.select(windows.users == 1)
    assert (chosen.starts.tolist(), chosen.lengths.tolist()) == ([30], [5])
    assert (chosen.users.tolist(), chosen.before.tolist(), chosen.after.tolist()) == ([1], [0], [0])
    middle = windows.select(slice(1, 2))
    assert (middle.before.tolist(), middle.after.tolist()) == ([2], [2])


@given(lengths_of_users, st.integers(1, 300), st.booleans())
def test_batches_hold_every_interaction_once_and_keep_to_the_budget(lengths, budget, shuffle):
    windows = cut_windows(make(lengths), 50)
    seen, chosen = [], []
    for rows, index, mask in batches(windows, budget, np.random.default_rng(0) if shuffle else None):
        assert mask.size <= budget or len(rows) == 1
        assert (mask.sum(1) == windows.lengths[rows]).all()
        # Padding comes last, and each window starts at its first interaction.
        assert (np.sort(mask, axis=1)[:, ::-1] == mask).all()
        assert (index[:, 0] == windows.starts[rows]).all()
        seen.extend(index[mask].tolist())
        chosen.extend(rows.tolist())
    assert sorted(seen) == list(range(sum(lengths)))
    assert sorted(chosen) == list(range(len(windows)))


def test_a_generator_changes_the_order_of_batches():
    windows = cut_windows(make([3] * 40), 50)
    fixed = np.concatenate([rows for rows, _, _ in batches(windows, 30)])
    shuffled = np.concatenate([rows for rows, _, _ in batches(windows, 30, np.random.default_rng(1))])
    assert fixed.tolist() == list(range(40))
    assert shuffled.tolist() != fixed.tolist()


@given(lengths_of_users, st.integers(1, 60), st.integers(1, 3000))
def test_even_batches_hold_every_interaction_once_and_pad_a_window_by_its_own_length_alone(lengths, longest, budget):
    windows = cut_windows(make(lengths), longest)
    seen, padded = [], {}
    for chosen, index, mask in even_batches(windows, budget, longest):
        assert index.shape == mask.shape
        assert len(mask) % EVEN_ROWS == 0
        assert mask.size <= max(budget, TILED_ROWS * longest)
        assert (mask.sum(1)[mask.any(1)] == windows.lengths[chosen[mask.any(1)]]).all()
        seen += index[mask].tolist()
        for length in windows.lengths[chosen].tolist():
            assert length <= mask.shape[1] <= min(max(length * 5 / 4, 1), longest)
            assert padded.setdefault(length, mask.shape[1]) == mask.shape[1]
    assert sorted(seen) == list(range(sum(lengths)))
