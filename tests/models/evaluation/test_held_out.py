import numpy as np
import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.core.sequences import Sequences
from iadsr.models.evaluation.held_out import MIN_USERS, HeldOutLog


def as_lists(sequences: Sequences) -> list[list[int]]:
    return [part.tolist() for part in np.split(sequences.items, sequences.offsets[1:-1])]


@pytest.fixture
def small() -> HeldOutLog:
    """Sixty users with five interactions, one with two and one with three."""
    items = np.concatenate([np.tile([0, 1, 2, 3, 4], 60), [5, 6], [7, 8, 9]])
    return HeldOutLog.split(Sequences.from_lengths(items, np.array([5] * 60 + [2, 3])))


def test_the_last_two_interactions_of_each_user_are_held_out(small):
    training = as_lists(small.log.restrict(small.training))
    assert training[0] == [0, 1, 2]
    assert training[60:] == [[5, 6], [7]]  # too short to test, so all of it is for training
    assert small.tested.tolist() == [*range(60), 61]
    assert not small.recommends_seen


def test_histories_are_cleaned_but_held_out_items_are_not(small):
    keep = np.ones(len(small.log.items), bool)
    keep[[1, 3]] = False  # of user 0: one for training, and the validation item, which no treatment drops
    users = np.array([0, 61])
    validation, test = small.task(keep, 1, users), small.task(keep, 0, users)
    assert as_lists(validation.histories) == [[0, 2], [7]]
    assert validation.targets.tolist() == [3, 8]
    assert as_lists(test.histories) == [[0, 2, 3], [7, 8]]
    assert test.targets.tolist() == [4, 9]
    assert validation.seen is not None
    assert test.seen is not None
    assert as_lists(validation.seen) == [[0, 1, 2], [7]]  # as before cleaning
    assert as_lists(test.seen) == [[0, 1, 2, 3], [7, 8]]


def test_in_a_log_of_repeated_purchases_seen_items_may_be_recommended():
    log = HeldOutLog.split(Sequences.from_lengths(np.tile([1, 1, 1, 2, 1], 60), np.full(60, 5)))
    assert log.repeats == pytest.approx(2 / 3)
    assert log.recommends_seen
    assert log.task(log.training, 0, log.tested).seen is None


def test_too_few_users_are_refused():
    users = MIN_USERS - 1
    with pytest.raises(InputError, match=f"{users} users with more than 2 interactions"):
        HeldOutLog.split(Sequences.from_lengths(np.tile(np.arange(7), users), np.full(users, 7)))


def test_a_log_with_a_single_item_is_refused():
    log = Sequences.from_lengths(np.full(3 * MIN_USERS, 7), np.full(MIN_USERS, 3))
    with pytest.raises(InputError, match="nothing to choose from"):
        HeldOutLog.split(log)
