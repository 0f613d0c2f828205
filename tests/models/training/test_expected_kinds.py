from types import SimpleNamespace

import numpy as np
import pytest
import torch

from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.features import SIMILARITIES
from iadsr.models.detector.scoring import Scores
from iadsr.models.noise.insertion import NOISE_KINDS, NoisyLog
from iadsr.models.noise.popularity import BUCKETS
from iadsr.models.noise.score_counts import BINS, PLACES, REFERENCES, count_all
from iadsr.models.noise.share import NoiseShare, NoShare
from iadsr.models.training import expected_kinds
from iadsr.models.training.expected_kinds import EXPECTED_SHARES, expect, expected_shares, reference_of, tell_lean


def test_each_lean_says_how_frequent_every_kind_is():
    for lean, shares in EXPECTED_SHARES.items():
        assert tuple(shares) == NOISE_KINDS
        assert sum(shares.values()) == pytest.approx(1)
        assert expected_shares(lean) == pytest.approx(list(shares.values()))


def test_shares_change_evenly_between_the_leans():
    leans = np.linspace(-1, 1, 41)
    shares = np.array([expected_shares(lean) for lean in leans])
    assert shares.sum(1) == pytest.approx(1)
    assert (np.diff(shares[:, 0]) < 0).all()
    assert np.abs(np.diff(shares, axis=0)).max() < 0.015
    odds = np.log(shares[:, 1] / shares[:, 0])
    assert odds[30] == pytest.approx((odds[20] + odds[40]) / 2)


@pytest.mark.parametrize("lean", [-1, -0.3, 0, 1])
def test_kinds_are_put_back_to_what_is_expected(lean):
    kind = np.repeat(np.array([-1, 0, 1, 2], np.int8), [60, 20, 15, 5])  # no blocks were inserted
    log = NoisyLog(Sequences(np.zeros(100, np.int32), np.array([0, 100])), kind >= 0, None, kind)
    model = SimpleNamespace(head=SimpleNamespace(kind_shift=torch.zeros(len(NOISE_KINDS))))
    expect(model, log, lean)  # type: ignore[arg-type]
    trained = np.array([0.5, 0.375, 0.125])
    shares = expected_shares(lean)[:3]
    assert trained * model.head.kind_shift[:3].exp().numpy() == pytest.approx(shares / shares.sum(), rel=1e-5)
    assert model.head.kind_shift[3] == 0


def share(estimate):
    return NoiseShare(estimate, 0.9 * estimate, 1.1 * estimate, (estimate, estimate))


NOTHING = Sequences(np.zeros(10, np.int32), np.array([0, 10]))
NUMBERED = np.stack([np.full((PLACES, BUCKETS, BINS), number) for number in range(REFERENCES)])


def lean_of(monkeypatch, of_all, of_single, looks=1.0):
    monkeypatch.setattr(expected_kinds, "score_sequences", lambda *_, **__: Scores.none(10))
    monkeypatch.setattr(expected_kinds, "_looks", lambda *_: looks)
    monkeypatch.setattr(
        expected_kinds, "estimate_share", lambda reference, counts: (of_all, of_single)[int(reference.max())]
    )
    return tell_lean(None, NOTHING, None, NUMBERED)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of_all", "of_single", "lean"),
    [
        (share(0.15), share(0.07), 1),
        (share(0.10), share(0.16), -1),
        (share(0.15), share(0.15), -1),
        (share(0.12), share(0.10), 0),
        (share(0.12 * 1.2**0.25), share(0.10), pytest.approx(0.25)),
        (share(0.10 * 1.2**0.25), share(0.10), pytest.approx(-0.75)),
        (share(0.15), share(0.0), 1),
        (share(0.0), share(0.15), -1),
        (share(0.02), share(0.001), 0),  # hardly any noise
        (share(0.03), share(0.001), pytest.approx(0.5)),
        (share(0.0), share(0.0), 0),
        (share(0.15), NoShare("why"), 0),
    ],
)
def test_a_log_leans_to_the_mix_that_explains_more_of_it(monkeypatch, of_all, of_single, lean):
    assert lean_of(monkeypatch, of_all, of_single) == lean


@pytest.mark.parametrize(
    ("looks", "lean"),
    [(-0.1, -1), (0.0, -1), (0.1, -1), (0.2, 0), (0.2 * 1.75**0.5, pytest.approx(0.5)), (0.35, 1), (3.0, 1)],
)
def test_a_log_leans_to_all_kinds_only_if_its_noise_looks_like_them(monkeypatch, looks, lean):
    assert lean_of(monkeypatch, share(0.15), share(0.07), looks) == pytest.approx(lean, abs=1e-9)
    assert lean_of(monkeypatch, share(0.15), share(0.15), looks) == -1


@pytest.mark.parametrize(("others", "looks"), [(0, -0.25), (10, 0.0), (30, 0.5), (50, 1.0), (90, 2.0)])
def test_the_likeliest_noise_is_compared_with_what_training_inserts(monkeypatch, others, looks):
    scores = Scores.none(1000)
    scores.scored[:] = True
    scores.noise_probability[:] = np.repeat([0.9, 0.1], [100, 900])
    scores.sign[:others] = len(SIMILARITIES)
    scores.sign[500:] = len(SIMILARITIES)  # what is hardly noise does not count
    monkeypatch.setattr(expected_kinds, "score_sequences", lambda *_, **__: scores)
    monkeypatch.setattr(expected_kinds, "estimate_share", lambda *_: share(0.2))
    told = []
    monkeypatch.setattr(expected_kinds, "_speaks", lambda found, even, ratio: told.append(found) or 0.0)
    likely = count_all(scores.noise_probability[:1]) > 0
    references = np.zeros((REFERENCES, PLACES, BUCKETS, BINS), np.int64)
    references[:, 0, 0] = np.array([200, 100, 100, 10])[:, None] * likely  # half of all look other, a tenth of singles
    references[:, 1, 1, 0] = 1000, 1000, 0, 1000
    tell_lean(None, Sequences(np.zeros(1000, np.int32), np.array([0, 1000])), None, references)  # type: ignore[arg-type]
    assert told[1] == pytest.approx(looks)


def test_looks_say_nothing_if_inserted_noise_is_not_told_apart():
    scores = Scores.none(100)
    scores.scored[:] = True
    references = np.ones((REFERENCES, PLACES, BUCKETS, BINS), np.int64)
    assert expected_kinds._looks(scores, references, 0.1) == np.inf


def test_what_is_told_has_no_edge(monkeypatch):
    leans = [lean_of(monkeypatch, share(0.1 * ratio), share(0.1)) for ratio in np.linspace(0.5, 2, 301)]
    assert np.abs(np.diff(leans)).max() < 0.03
    leans = [lean_of(monkeypatch, share(most), share(0)) for most in np.linspace(0, 0.1, 301)]
    assert np.abs(np.diff(leans)).max() < 0.03
    leans = [lean_of(monkeypatch, share(0.2), share(0.1), looks) for looks in np.linspace(-1, 2, 1001)]
    assert np.abs(np.diff(leans)).max() < 0.05


def test_the_more_single_items_prevail_the_less_other_kinds_count_in_the_reference():
    of_single = np.arange(PLACES * BUCKETS * BINS).reshape(PLACES, BUCKETS, BINS)
    references = np.stack([of_single + 10, of_single, of_single + 10, of_single])
    for lean, others in ((-1, 0), (-0.5, 5), (-0.25, 8), (0, 10), (1, 10)):
        assert np.array_equal(reference_of(references, lean), of_single + others)
