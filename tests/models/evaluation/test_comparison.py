import numpy as np
import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.core.sequences import Sequences
from iadsr.models.evaluation.comparison import Treatment, compare_treatments
from iadsr.models.evaluation.downstream_recommender import DownstreamConfig
from iadsr.models.evaluation.held_out import MIN_USERS, HeldOutLog
from iadsr.models.evaluation.ranking import METRICS

ITEMS = 30
CONFIG = DownstreamConfig(dimension=16, max_length=25, negatives=32, epochs=5, dropout=0.1, learning_rate=1e-2)


def walks(users: int, length: int = 7, seed: int = 0) -> Sequences:
    """Users who walk around the circle of items, one step at a time."""
    starts = np.random.default_rng(seed).integers(0, ITEMS, users)
    return Sequences.from_lengths((starts[:, None] + np.arange(length)).ravel() % ITEMS, np.full(users, length))


def lists(sequences: Sequences) -> list[list[int]]:
    return [part.tolist() for part in np.split(sequences.items, sequences.offsets[1:-1])]


@pytest.fixture
def small() -> HeldOutLog:
    """Sixty users of five interactions, then one of two and one of three."""
    items = np.concatenate([np.tile([0, 1, 2, 3, 4], 60), [5, 6], [7, 8, 9]])
    return HeldOutLog.split(Sequences.from_lengths(items, np.array([5] * 60 + [2, 3])))


def test_the_last_two_of_each_user_are_kept_back(small):
    training = lists(small.log.restrict(small.training))
    assert training[0] == [0, 1, 2]
    assert training[60:] == [[5, 6], [7]]  # too short to test: learnt from in full
    assert small.tested.tolist() == [*range(60), 61]
    assert not small.recommends_seen


def test_a_task_shows_what_the_treatment_leaves_and_the_untouched_item_before_the_test_item(small):
    keep = np.ones(len(small.log.items), bool)
    keep[[1, 3]] = False  # of user 0: one to train on, and the validation item, which no treatment can touch
    users = np.array([0, 61])
    validation, test = small.task(keep, 1, users), small.task(keep, 0, users)
    assert lists(validation.histories) == [[0, 2], [7]]
    assert validation.targets.tolist() == [3, 8]
    assert lists(test.histories) == [[0, 2, 3], [7, 8]]
    assert test.targets.tolist() == [4, 9]
    assert validation.seen is not None
    assert test.seen is not None
    assert lists(validation.seen) == [[0, 1, 2], [7]]  # as it was before cleaning
    assert lists(test.seen) == [[0, 1, 2, 3], [7, 8]]


def test_where_users_come_back_for_the_same_item_nothing_is_held_against_it():
    log = HeldOutLog.split(Sequences.from_lengths(np.tile([1, 1, 1, 2, 1], 60), np.full(60, 5)))
    assert log.repeats == pytest.approx(2 / 3)
    assert log.recommends_seen
    assert log.task(log.training, 0, log.tested).seen is None


def test_too_few_users_are_refused():
    users = MIN_USERS - 1
    with pytest.raises(InputError, match=f"{users} users with more than 2 interactions"):
        HeldOutLog.split(walks(users))


def test_a_log_of_one_item_is_refused():
    log = Sequences.from_lengths(np.full(3 * MIN_USERS, 7), np.full(MIN_USERS, 3))
    with pytest.raises(InputError, match="nothing to choose from"):
        HeldOutLog.split(log)


def test_a_log_without_its_noise_is_worth_more_and_the_order_of_treatments_does_not_matter():
    log = walks(300)
    noise = (np.random.default_rng(1).random(len(log.items)) < 0.4) & HeldOutLog.split(log).training
    noisy = np.where(noise, np.random.default_rng(2).integers(0, ITEMS, len(noise)), log.items).astype(np.int32)
    held_out = HeldOutLog.split(Sequences(noisy, log.offsets))
    raw = Treatment.dropping("raw", np.zeros(len(noise), bool))
    clean = Treatment.dropping("clean", noise)
    told = []
    both = compare_treatments(held_out, [raw, clean], CONFIG, [0, 1], lambda done, note: told.append((done, note)))
    assert both.shape == (2, 2, 300, len(METRICS))
    assert not np.array_equal(both[:, 0], both[:, 1])
    place = METRICS.index("NDCG@5")
    assert both[1, ..., place].mean() > both[0, ..., place].mean() + 0.05
    np.testing.assert_array_equal(compare_treatments(held_out, [clean, raw], CONFIG, [0, 1]), both[::-1])
    shares = [done for done, _ in told]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    assert told[0][1] == "raw, epoch 1"


def test_what_lies_in_the_held_out_part_of_a_treatment_is_ignored():
    held_out = HeldOutLog.split(walks(80))
    everything = np.ones(len(held_out.training), bool)
    weight = np.ones(len(everything), np.float32)
    plain, odd = (
        compare_treatments(held_out, [treatment], CONFIG, [0])
        for treatment in (
            Treatment("plain", everything, weight),
            Treatment("odd", held_out.training, np.where(held_out.training, weight, 9).astype(np.float32)),
        )
    )
    np.testing.assert_array_equal(plain, odd)


def test_a_treatment_that_changes_nothing_is_not_trained_again():
    held_out = HeldOutLog.split(walks(60))
    nothing = np.zeros(len(held_out.log.items), bool)
    treatments = [Treatment.dropping("raw", nothing), Treatment.dropping("cleaned", nothing)]
    told = set()
    figures = compare_treatments(held_out, treatments, CONFIG, [0], lambda done, note: told.add(note.split(",")[0]))
    assert told == {"raw"}
    np.testing.assert_array_equal(figures[0], figures[1])
