import numpy as np

from iadsr.models.core.sequences import Sequences
from iadsr.models.evaluation.comparison import Treatment, compare_treatments
from iadsr.models.evaluation.downstream_recommender import DownstreamConfig
from iadsr.models.evaluation.held_out import HeldOutLog
from iadsr.models.evaluation.ranking import METRICS

ITEMS = 30
CONFIG = DownstreamConfig(dimension=16, max_length=25, negatives=32, epochs=5, dropout=0.1, learning_rate=1e-2)


def walks(users: int, length: int = 7, seed: int = 0) -> Sequences:
    """Users who walk around the circle of items, one step at a time."""
    starts = np.random.default_rng(seed).integers(0, ITEMS, users)
    return Sequences.from_lengths((starts[:, None] + np.arange(length)).ravel() % ITEMS, np.full(users, length))


def test_removing_noise_helps_and_the_order_of_treatments_does_not_matter():
    log = walks(300)
    noise = (np.random.default_rng(1).random(len(log.items)) < 0.4) & HeldOutLog.split(log).training
    noisy = np.where(noise, np.random.default_rng(2).integers(0, ITEMS, len(noise)), log.items).astype(np.int32)
    held_out = HeldOutLog.split(Sequences(noisy, log.offsets))
    raw = Treatment.dropping("raw", np.zeros(len(noise), bool))
    clean = Treatment.dropping("clean", noise)
    reports = []
    both = compare_treatments(
        held_out, [raw, clean], CONFIG, [0, 1], lambda done, note: reports.append((done, note))
    ).test
    assert both.shape == (2, 2, 300, len(METRICS))
    assert not np.array_equal(both[:, 0], both[:, 1])
    metric = METRICS.index("NDCG@5")
    assert both[1, ..., metric].mean() > both[0, ..., metric].mean() + 0.05
    np.testing.assert_array_equal(compare_treatments(held_out, [clean, raw], CONFIG, [0, 1]).test, both[::-1])
    validation = compare_treatments(held_out, [raw], CONFIG, [0]).validation
    assert validation.shape == (1, 1, 300, len(METRICS))
    assert not np.array_equal(validation[0, 0], both[0, 0])
    shares = [done for done, _ in reports]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    assert reports[0][1] == "raw, epoch 1"


def test_the_number_of_workers_changes_no_figure():
    held_out = HeldOutLog.split(walks(60))
    treatments = [Treatment.dropping(str(n), np.arange(len(held_out.log.items)) % 7 == n) for n in range(3)]
    shares = []
    alone = compare_treatments(held_out, treatments, CONFIG, [0, 1])
    beside = compare_treatments(held_out, treatments, CONFIG, [0, 1], lambda done, _: shares.append(done), workers=3)
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one, other)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_treatments_apply_to_the_training_part_only():
    held_out = HeldOutLog.split(walks(80))
    everything = np.ones(len(held_out.training), bool)
    weight = np.ones(len(everything), np.float32)
    plain, odd = (
        compare_treatments(held_out, [treatment], CONFIG, [0]).test
        for treatment in (
            Treatment("plain", everything, weight),
            Treatment("odd", held_out.training, np.where(held_out.training, weight, 9).astype(np.float32)),
        )
    )
    np.testing.assert_array_equal(plain, odd)


def test_equal_treatments_are_trained_only_once():
    held_out = HeldOutLog.split(walks(60))
    nothing = np.zeros(len(held_out.log.items), bool)
    treatments = [Treatment.dropping("raw", nothing), Treatment.dropping("cleaned", nothing)]
    reports = set()
    figures = compare_treatments(
        held_out, treatments, CONFIG, [0], lambda done, note: reports.add(note.split(",")[0])
    ).test
    assert reports == {"raw"}
    np.testing.assert_array_equal(figures[0], figures[1])
