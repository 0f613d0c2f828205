import numpy as np

from iadsr.models.noise.score_counts import BINS, CENTRES, GROUPS, PLACES, count_by_group, count_scores, places


def test_scores_are_counted_by_bucket_with_outliers_in_the_outermost_bins():
    place, bucket = np.array([0, 1, 1, 1]), np.array([1, 0, 2, 0])
    counts = count_scores(np.array([0, 0.5, 1, 0.5], np.float32), place, bucket, 3)
    assert counts.shape == (PLACES, 3, BINS)
    assert counts[0, 1, 0] == 1
    assert counts[1, 2, -1] == 1
    assert counts[1, 0, np.searchsorted(CENTRES, 0)] == 2
    assert counts.sum() == 4

    by_group = count_by_group(np.array([0, 0.5, 1, 0.5], np.float32), np.array([0, 7, 7, 31]), place, bucket, 3)
    assert by_group.shape == (GROUPS, PLACES, 3, BINS)
    assert (by_group.sum(0) == counts).all()
    assert by_group[7, 1, 2, -1] == 1


def test_the_end_of_a_sequence_is_its_last_two_interactions():
    assert places(np.array([0, 4, 4, 5, 8])).tolist() == [0, 0, 1, 1, 1, 0, 1, 1]
    assert places(np.array([0])).tolist() == []
