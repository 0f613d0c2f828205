import numpy as np
import pytest

from benchmarks.peers.lisrec import lisrec_graded, lisrec_rule
from iadsr.models.core.sequences import Sequences


def at_angles(*degrees):
    """Unit vectors in the plane, whose mean is made zero by adding their opposites at the end."""
    radians = np.deg2rad(np.array(degrees, float))
    vectors = np.stack([np.cos(radians), np.sin(radians)], 1)
    return np.concatenate([vectors, -vectors])


def cosine(degrees):
    return float(np.cos(np.deg2rad(degrees)))


VECTORS = at_angles(0, 8, 20, 90, 95, 200)
"""Items 0, 1, 2 hang together; 3 and 4 do; 5 is far from all."""
TEXTS = np.ones(len(VECTORS), bool)


def log_of(*rows):
    return Sequences.from_lengths(np.concatenate(rows), np.array([len(row) for row in rows]))


def test_the_rule_keeps_the_largest_component_wherever_it_stands_in_the_sequence():
    log = log_of([3, 0, 5, 2, 4, 1])
    assert lisrec_rule(log, VECTORS, TEXTS, threshold=0.9).tolist() == [1, 0, 1, 0, 1, 0]
    # 0 and 2 are joined by way of 1 even where their own cosine is below the threshold.
    assert cosine(20) < 0.97 < cosine(12)
    assert lisrec_rule(log, VECTORS, TEXTS, threshold=0.97).tolist() == [1, 0, 1, 0, 1, 0]
    # Above all but one pair's cosine that pair is left, and below all cosines everything.
    assert lisrec_rule(log, VECTORS, TEXTS, threshold=0.99).tolist() == [0, 1, 1, 1, 0, 1]
    assert lisrec_rule(log, VECTORS, TEXTS, threshold=-1).tolist() == [0] * 6


def test_the_grade_is_the_threshold_at_which_an_item_leaves():
    scores = lisrec_graded(log_of([3, 0, 5, 2, 4, 1]), VECTORS, TEXTS)
    by_item = dict(zip([3, 0, 5, 2, 4, 1], -scores, strict=True))
    assert by_item[5] == pytest.approx(cosine(105), abs=1e-6)  # to item 4, at 95 degrees
    assert by_item[3] == by_item[4] == pytest.approx(cosine(70), abs=1e-6)
    assert by_item[2] == pytest.approx(cosine(12), abs=1e-6)
    # Of the two that are left the earlier stays.
    assert by_item[1] == pytest.approx(cosine(8), abs=1e-6)
    assert by_item[0] == 1


def test_the_grade_orders_as_the_rule_decides_where_the_largest_only_shrinks():
    log = log_of([3, 0, 5, 2, 4, 1])
    scores = lisrec_graded(log, VECTORS, TEXTS)
    for threshold in (-0.5, 0.0, 0.5, 0.9, 0.97):
        assert (lisrec_rule(log, VECTORS, TEXTS, threshold) == (-scores <= threshold)).all()


def test_repeats_of_an_item_weigh_and_are_never_parted():
    log = log_of([0, 1, 3, 3, 3])
    assert lisrec_rule(log, VECTORS, TEXTS, threshold=0.5).tolist() == [1, 1, 0, 0, 0]
    scores = lisrec_graded(log, VECTORS, TEXTS)
    assert len(set(scores[2:].tolist())) == 1
    assert scores[0] > scores[2]


def test_users_do_not_mix_and_what_cannot_be_judged_is_kept():
    known = TEXTS.copy()
    known[5] = False
    log = log_of([0, 1, 4], [3, 4, 0], [2], [5, 1])
    assert lisrec_rule(log, VECTORS, known, threshold=0.9).tolist() == [0, 0, 1, 0, 0, 1, 0, 0, 0]
    scores = lisrec_graded(log, VECTORS, known)
    assert len(set(scores[6:].tolist())) == 1
    assert np.isfinite(scores).all()
