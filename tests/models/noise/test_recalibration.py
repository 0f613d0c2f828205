import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.noise.recalibration import Recalibration, fit_recalibration
from iadsr.models.noise.share import NoiseShare, estimate_share
from iadsr.models.training.detection_metrics import calibration_error


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_recalibrated_probabilities_are_calibrated(simulation, share):
    probability, noise, counts = simulation.log(share)
    known = NoiseShare(share, share, share, (share, share))
    recalibrated = fit_recalibration(simulation.reference(), counts, known).apply(probability).astype(float)
    assert recalibrated.sum() == pytest.approx(share * len(noise), rel=0.01)
    bins = np.minimum((recalibrated * 15).astype(int), 14)
    gaps = np.bincount(bins, weights=recalibrated - noise, minlength=15)
    assert np.abs(gaps).sum() / len(noise) < 0.01
    # The model's own probabilities are right for a log with far more noise.
    assert abs(probability.mean() - share) > 0.05


def test_a_log_with_other_buckets_than_the_reference_is_recalibrated_to_its_share(simulation):
    probability, _, counts = simulation.log(0.1)
    counts = counts.sum(2, keepdims=True)
    found = estimate_share(simulation.reference(), counts)
    assert isinstance(found, NoiseShare)
    recalibrated = fit_recalibration(simulation.reference(), counts, found).apply(probability)
    assert recalibrated.mean() == pytest.approx(found.estimate, rel=0.01)


@pytest.mark.parametrize(("before", "at_end"), [(0.2, 0.0), (0.0, 0.2)])
def test_a_log_with_noise_at_one_place_only_is_recalibrated_to_its_share(simulation, before, at_end):
    probability, _, counts = simulation.log(before, share_at_end=at_end)
    found = estimate_share(simulation.reference(), counts)
    assert isinstance(found, NoiseShare)
    recalibrated = fit_recalibration(simulation.reference(), counts, found).apply(probability)
    assert recalibrated.mean() == pytest.approx(found.estimate, rel=0.01)


@pytest.mark.parametrize("spread", [(6, 0, 0, 0, 0, 0), (3, 2, 1, 0, 0, 0), (0, 0, 0, 0, 0, 6), (1, 1, 1, 1, 1, 1)])
def test_probabilities_are_calibrated_however_noise_is_spread_over_buckets(simulation, spread):
    reference, (probability, noise, counts) = simulation.uneven(spread)
    found = estimate_share(reference, counts)
    assert isinstance(found, NoiseShare)
    recalibrated = fit_recalibration(reference, counts, found).apply(probability).astype(float)
    assert calibration_error(noise, recalibrated, np.ones(len(noise))) < 0.02


def test_probabilities_keep_their_order_if_there_is_no_noise(simulation):
    probability, _, counts = simulation.log(0)
    recalibrated = fit_recalibration(simulation.reference(), counts, NoiseShare(0, 0, 0, (0, 0))).apply(probability)
    assert 0 < recalibrated.sum() < 2
    assert (np.diff(recalibrated[np.argsort(probability, kind="stable")]) >= 0).all()
    assert len(np.unique(recalibrated)) > 0.9 * len(np.unique(probability))


@given(
    st.lists(st.floats(0, 1, width=32), min_size=2, max_size=50),
    st.floats(0.001, 10),
    st.floats(-30, 30),
)
def test_recalibration_keeps_the_order_and_stays_between_0_and_1(drawn, scale, shift):
    values = np.sort(np.array(drawn, np.float32))
    recalibrated = Recalibration(scale, shift).apply(values)
    assert recalibrated.dtype == np.float32
    assert ((recalibrated >= 0) & (recalibrated <= 1)).all()
    assert (np.diff(recalibrated) >= 0).all()
    assert (recalibrated[values == 0] == 0).all()
    assert (recalibrated[values == 1] == 1).all()
