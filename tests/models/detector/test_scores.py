import subprocess
import sys

import numpy as np

from iadsr.models.detector.scores import Scores


def some(*noise: float) -> Scores:
    scores = Scores.none(len(noise))
    scores.noise_probability[:], scores.scored[:] = noise, True
    return scores


def test_what_is_put_at_places_is_found_there_and_the_rest_is_not_scored():
    longer = some(0.25, 0.75).spread(np.array([False, True, False, True]))
    assert longer.noise_probability.tolist() == [0, 0.25, 0, 0.75]
    assert longer.scored.tolist() == [False, True, False, True]
    assert np.isnan(longer.similarities[0]).all()
    longer.put(np.array([3]), some(0.5))
    assert longer.at(np.array([3, 1])).noise_probability.tolist() == [0.5, 0.25]


def test_scores_are_read_and_judged_without_torch():
    modules = "iadsr.transforms.judge.judge_shard, iadsr.transforms.judge.kept_scores"
    subprocess.run([sys.executable, "-c", f"import sys, {modules}; assert 'torch' not in sys.modules"], check=True)
