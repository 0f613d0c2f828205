import numpy as np
import pytest

from benchmarks.peers.simple import co_occurrence, co_occurrence_of_others, mean_rank, rarity, repeats, text_similarity
from iadsr.models.core.sequences import Sequences


def log_of(rows):
    return Sequences.from_lengths(np.concatenate(rows), np.array([len(row) for row in rows]))


def test_text_similarity_is_the_mean_cosine_to_the_others():
    generator = np.random.default_rng(2)
    semantic, present = generator.normal(size=(6, 4)), np.array([True] * 5 + [False])
    scores = text_similarity(log_of([[0, 1, 2, 5], [3, 4]]), semantic, present)
    centred = semantic - semantic[:5].mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert scores[0] == pytest.approx(-(unit[0] @ unit[1] + unit[0] @ unit[2]) / 2)
    assert scores[4] == pytest.approx(-unit[3] @ unit[4])
    assert scores[3] == pytest.approx(np.median(scores[[0, 1, 2, 4, 5]]))


def test_co_occurrence_and_rarity_find_what_they_should():
    # Two groups of items that never meet but for one stray; item 9 is the rarest.
    sequences = log_of([[0, 1, 2, 3]] * 20 + [[4, 5, 6, 7]] * 20 + [[0, 1, 2, 6, 9]])
    last = slice(-5, None)
    assert co_occurrence(sequences)[last][:4].argmax() == 3
    assert rarity(sequences)[last].argmax() == 4


def test_co_occurrence_of_others_has_not_seen_the_user():
    # Two groups of items; the last user has the first, 8 of the second, and 9, which nobody else has.
    sequences = log_of([[0, 1, 2, 3]] * 40 + [[4, 5, 6, 7, 8]] * 40 + [[0, 1, 2, 3, 8, 9]])
    scores, own = co_occurrence_of_others(sequences), co_occurrence(sequences)
    assert scores[-6:-1].argmax() == own[-6:-1].argmax() == 4
    # By what this user contributed 9 seems to fit; without it nothing is known of 9.
    assert own[-1] < own[-2] - 0.1
    folds = np.random.default_rng(0).permutation(len(sequences)) % 10
    together = scores[(folds == folds[-1])[sequences.users]]
    assert scores[-1] == pytest.approx(np.median(np.delete(together, -1)), abs=1e-6)


def test_the_mean_rank_weighs_scorers_alike_whatever_their_scale():
    mixed = mean_rank(np.array([1.0, 2.0, 3.0, 4.0]), np.array([900.0, 100.0, -5.0, 800.0]))
    assert mixed.tolist() == pytest.approx([5 / 8, 4 / 8, 4 / 8, 7 / 8])


def test_repeats_counts_how_often_the_user_has_the_item():
    sequences = Sequences.from_lengths(np.array([5, 5, 2, 5, 2, 2]), np.array([3, 3]))
    assert repeats(sequences).tolist() == [-2, -2, -1, -1, -2, -2]
