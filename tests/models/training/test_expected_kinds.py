from types import SimpleNamespace

import numpy as np
import pytest
import torch

from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.scoring import Scores
from iadsr.models.noise.insertion import NOISE_KINDS, NoisyLog
from iadsr.models.noise.popularity import BUCKETS
from iadsr.models.noise.score_counts import BINS, PLACES, REFERENCES
from iadsr.models.noise.share import NoiseShare, NoShare
from iadsr.models.training import expected_kinds
from iadsr.models.training.expected_kinds import EXPECTED_SHARES, expect, tell_mix


def test_each_mix_says_how_frequent_every_kind_is():
    for shares in EXPECTED_SHARES.values():
        assert tuple(shares) == NOISE_KINDS
        assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("mix", EXPECTED_SHARES)
def test_kinds_are_put_back_to_what_is_expected(mix):
    kind = np.repeat(np.array([-1, 0, 1, 2], np.int8), [60, 20, 15, 5])  # no blocks were inserted
    log = NoisyLog(Sequences(np.zeros(100, np.int32), np.array([0, 100])), kind >= 0, None, kind)
    model = SimpleNamespace(head=SimpleNamespace(kind_shift=torch.zeros(len(NOISE_KINDS))))
    expect(model, log, mix)  # type: ignore[arg-type]
    trained = np.array([0.5, 0.375, 0.125])
    shares = np.array([EXPECTED_SHARES[mix][name] for name in NOISE_KINDS[:3]])
    assert trained * model.head.kind_shift[:3].exp().numpy() == pytest.approx(shares / shares.sum(), rel=1e-5)
    assert model.head.kind_shift[3] == 0


def share(estimate, lower):
    return NoiseShare(estimate, lower, 1.0, (estimate, estimate))


@pytest.mark.parametrize(
    ("of_all", "of_single", "mix"),
    [
        (share(0.15, 0.12), share(0.07, 0.06), "all"),
        (share(0.10, 0.08), share(0.16, 0.14), "single"),
        (share(0.10, 0.06), share(0.07, 0.05), "unknown"),  # either may be
        (share(0.22, 0.19), share(0.18, 0.15), "unknown"),  # more, but not much more
        (share(0.18, 0.16), share(0.15, 0.13), "unknown"),
        (share(0.01, 0.009), share(0.001, 0.0), "unknown"),  # hardly any noise
        (share(0.15, 0.12), NoShare("why"), "unknown"),
    ],
)
def test_the_mix_that_explains_more_of_the_log_is_told(monkeypatch, of_all, of_single, mix):
    log = Sequences(np.zeros(10, np.int32), np.array([0, 10]))
    nothing = Scores.none(10)
    references = np.stack([np.full((PLACES, BUCKETS, BINS), number) for number in range(REFERENCES)])
    monkeypatch.setattr(expected_kinds, "score_sequences", lambda *_, **__: nothing)
    monkeypatch.setattr(
        expected_kinds, "estimate_share", lambda reference, counts: (of_all, of_single)[int(reference.max())]
    )
    assert tell_mix(None, log, None, references) == mix  # type: ignore[arg-type]
