from types import SimpleNamespace

import numpy as np
import pytest

from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.features import SIGNS
from iadsr.models.detector.scoring import Scores
from iadsr.models.noise.insertion import NOISE_KINDS, NoisyLog
from iadsr.models.noise.popularity import BUCKETS
from iadsr.models.noise.score_counts import BINS, PLACES, REFERENCES, places
from iadsr.models.training import noise_reference as probing

ITEMS = 50
MODEL = SimpleNamespace(config=SimpleNamespace(folds=1))


def fake(score):
    """Stands for `GroupItems`, and scores as told."""
    return SimpleNamespace(
        of=lambda model, group, vectors: SimpleNamespace(score=lambda sequences: score(model, sequences, vectors))
    )


@pytest.fixture
def log() -> NoisyLog:
    generator = np.random.default_rng(0)
    genuine = generator.choice(ITEMS, 3000, p=np.arange(1, ITEMS + 1) / np.arange(1, ITEMS + 1).sum())
    inserted = generator.random(3000) < 0.2
    return NoisyLog(Sequences.from_lengths(genuine, np.full(300, 10)), inserted)


def test_each_insertion_is_scored_once_among_few_others(log, monkeypatch):
    read = []

    def score(model, sequences, vectors):
        read.append(len(sequences.items))
        n = len(sequences.items)
        probability = np.full(n, 0.9, np.float32)
        return Scores(
            probability, np.zeros((n, 3), np.float32), sequences.items != 49, np.zeros(n, np.int8), probability
        )

    monkeypatch.setattr(probing, "GroupItems", fake(score))
    vectors = SimpleNamespace(has_semantic=np.ones(ITEMS, bool))
    users = np.arange(300) % 3 > 0
    reference = probing.measure_noise_reference(MODEL, log, vectors, users, np.random.default_rng(1))  # type: ignore[arg-type]
    asked = users[log.sequences.users]
    noise, genuine = (log.inserted & asked).sum(), (~log.inserted & asked).sum()
    assert reference.shape == (REFERENCES, PLACES, BUCKETS, BINS)
    assert np.array_equal(reference[0], reference[1])  # all of it is single items
    assert not reference[2:].any()  # and looks like them
    reference = reference[0]
    # All of it but what could not be judged, and each part of it with all genuine interactions.
    assert reference.sum() == noise - (log.inserted & asked & (log.sequences.items == 49)).sum()
    assert sum(read) == probing.FOLDS * genuine + noise
    assert max(read) - genuine < 0.1 * noise
    assert (reference.sum((0, 2)) > 0.08 * noise).all()
    assert (reference.sum(0) > 0).sum() == BUCKETS
    ends = places(log.sequences.offsets) == 1
    assert reference[1].sum() == pytest.approx((log.inserted & asked & ends).sum(), rel=0.3)


def test_a_run_is_scored_as_a_whole(log, monkeypatch):
    # The first three interactions of each user are one run.
    inserted = np.arange(3000) % 10 < 3
    block = np.where(inserted, np.arange(3000) // 10, 300 + np.arange(3000))
    run = np.where(inserted, NOISE_KINDS.index("run"), -1).astype(np.int8)
    noisy, found = NoisyLog(log.sequences, inserted, block, run), []

    def score(model, sequences, vectors):
        found.append(sequences.lengths)
        n = len(sequences.items)
        return Scores(
            np.full(n, 0.5, np.float32),
            np.zeros((n, 3), np.float32),
            np.ones(n, bool),
            (SIGNS.index("run") * (np.arange(n) < n // 2)).astype(np.int8),
            np.zeros(n, np.float32),
        )

    monkeypatch.setattr(probing, "GroupItems", fake(score))
    vectors = SimpleNamespace(has_semantic=np.ones(ITEMS, bool))
    everybody = np.ones(300, bool)
    reference = probing.measure_noise_reference(MODEL, noisy, vectors, everybody, np.random.default_rng(1))  # type: ignore[arg-type]
    found_in_all, found_in_single, like_others, like_others_in_single = reference.sum((1, 2, 3))
    assert (found_in_all, found_in_single, like_others_in_single) == (900, 0, 0)
    assert 300 < like_others < 600
    assert set(np.concatenate(found)) == {7, 10}
    assert ((np.array(found) == 10).sum(0) == 1).all()
