import dataclasses

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.metrics import roc_auc_score

from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.scoring import score_sequences
from iadsr.models.noise.insertion import insert_noise
from iadsr.models.training import warm_start
from iadsr.models.training.fit_recommender import Recommender
from iadsr.models.training.train_model import train_model
from iadsr.models.training.training_config import TrainingConfig
from iadsr.models.training.warm_start import Start, shortened, take_over, turn, users_left_out
from iadsr.models.vectors.neighbours import nearest_texts

CLUSTERS, ITEMS, TEXT = 5, 100, 12
CONFIG = IADSRConfig(
    collaborative_dimension=16, hidden_dimension=24, head_dimension=16, max_length=12, semantic_dimension=TEXT
)
TRAINING = TrainingConfig(
    collaborative_epochs=8, alignment_epochs=3, head_epochs=20, negatives=128, context_negatives=64, seed=3
)


def clustered_log(users, seed=0):
    """Users who stay in one of five clusters of items, with noise, and texts that say the cluster, roughly."""
    generator = np.random.default_rng(seed)
    lengths, size = generator.integers(5, 16, users), ITEMS // CLUSTERS
    rows = [
        cluster * size + generator.permutation(size)[:n]
        for cluster, n in zip(generator.integers(0, CLUSTERS, users), lengths, strict=True)
    ]
    keys = generator.integers(0, 2**63, users).astype(np.uint64)
    log = Sequences.from_lengths(np.concatenate(rows), lengths, keys)
    return insert_noise(log, 0.1, uniform_share=0.0, seed=99)


def texts():
    generator = np.random.default_rng(7)
    semantic = np.repeat(generator.normal(size=(CLUSTERS, TEXT)), ITEMS // CLUSTERS, axis=0)
    semantic = (semantic + generator.normal(size=semantic.shape)).astype(np.float32)
    has_semantic = np.arange(ITEMS) % 10 > 0
    semantic[~has_semantic] = np.nan  # a row without a text means nothing
    return semantic, has_semantic


def start_of(result, known=None):
    packed = result.vectors.pack()
    return Start(
        result.model, packed.collaborative, packed.has_collaborative if known is None else known, fingerprint="abc"
    )


@pytest.fixture(scope="module")
def earlier():
    noisy = clustered_log(400)
    first = noisy.sequences.take(np.arange(360))[0]
    return noisy, train_model(first, *texts(), CONFIG, TRAINING)


def test_a_training_from_a_start_finds_noise_says_what_was_before_and_does_not_depend_on_workers(earlier):
    noisy, before = earlier
    start, (semantic, has_semantic) = start_of(before), texts()
    results = [
        train_model(noisy.sequences, semantic, has_semantic, CONFIG, TRAINING, workers=n, start=start) for n in (1, 3)
    ]
    contents = [result.model.to_files() for result in results]
    assert contents[0] == contents[1]
    assert np.array_equal(*(result.vectors.pack().collaborative for result in results))
    after = results[0]
    assert after.metrics["start_items"] == after.metrics["items"] == ITEMS
    assert 0.7 < after.metrics["start_held_out_auroc"] < 1
    assert after.metrics["held_out_auroc"] > 0.8
    epochs = [entry["stage"] for entry in after.history]
    assert [epochs.count(stage) for stage in ("collaborative", "alignment", "context", "head")] == [1, 1, 1, 3]
    # It can be a start itself: the options it records are those that were asked for.
    assert after.model.training_options == before.model.training_options | {
        "batch_positions": after.model.training_options["batch_positions"]
    }
    scores = score_sequences(after.model, noisy.sequences, after.vectors)
    assert roc_auc_score(noisy.inserted, scores.noise_probability) > 0.85


def test_items_that_are_new_to_a_start_borrow_by_text_and_known_ones_keep_their_vectors(earlier):
    _, before = earlier
    semantic, has_semantic = texts()
    known = np.arange(ITEMS) >= 3  # item 0 has no text
    start = start_of(before, known)
    packed = start.vectors(semantic, has_semantic).pack()
    assert packed.has_collaborative.tolist() == (known | has_semantic).tolist()
    assert np.array_equal(packed.collaborative[known], start.collaborative[known])
    cluster = packed.collaborative[3:20].mean(0)
    other = packed.collaborative[20:40].mean(0)
    for item in (1, 2):
        assert packed.collaborative[item] @ cluster > packed.collaborative[item] @ other
    assert not np.array_equal(packed.collaborative[1], start.collaborative[1])


def test_a_net_is_taken_over_and_the_vectors_of_a_start_are_forgotten_but_for_what_texts_say(earlier):
    _, before = earlier
    semantic, has_semantic = texts()
    vectors = start_of(before).vectors(semantic, has_semantic)
    torch.manual_seed(0)
    model, recommender = IADSR(CONFIG), Recommender(CONFIG, ITEMS)
    drawn = recommender.table.weight.detach().clone()
    take_over(start_of(before), vectors, nearest_texts(semantic, has_semantic), model, recommender)
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert torch.equal(recommender.predict.weight, before.model.predict.weight)
    table = recommender.table.weight.detach()
    assert torch.equal(table[~torch.from_numpy(has_semantic)], drawn[~torch.from_numpy(has_semantic)])
    told = table[torch.from_numpy(has_semantic)].numpy()
    np.testing.assert_allclose(np.linalg.norm(told, axis=1), warm_start.VECTOR_LENGTH, rtol=1e-5)
    cosine = (told * vectors.collaborative[has_semantic]).sum(1) / warm_start.VECTOR_LENGTH
    assert 0.1 < cosine.mean() < 0.99


def test_turned_vectors_lie_where_the_earlier_ones_were_and_keep_their_cosines():
    generator = np.random.default_rng(0)
    earlier = generator.normal(size=(2, 50, 8)).astype(np.float32)
    rotation = scipy.stats.ortho_group.rvs(8, random_state=1).astype(np.float32)
    vectors = earlier @ rotation
    vectors[:, :5] = 0  # of which nothing is known now
    turned = turn(vectors, earlier, np.ones(50))
    np.testing.assert_allclose(turned[:, 5:], earlier[:, 5:], atol=1e-5)
    assert (turned[:, :5] == 0).all()
    # Items that count for nothing may lie anywhere.
    vectors[:, 40:] = generator.normal(size=(2, 10, 8))
    np.testing.assert_allclose(turn(vectors, earlier, np.arange(50) < 40)[:, 5:40], earlier[:, 5:40], atol=1e-5)
    np.testing.assert_allclose(
        turn(vectors, earlier, np.ones(50))[0] @ turn(vectors, earlier, np.ones(50))[0].T,
        vectors[0] @ vectors[0].T,
        atol=1e-4,
    )


def test_each_start_leaves_other_users_out_and_never_so_many_that_few_are_left():
    keys = np.random.default_rng(0).integers(0, 2**63, 2000).astype(np.uint64)
    log, users = Sequences.from_lengths(np.zeros(2000, int), np.ones(2000, int), keys), np.arange(2000) < 1500
    empty = np.zeros((0, 0), np.float32)
    one, other = (Start(IADSR(CONFIG), empty, empty, name) for name in ("one", "other"))
    left = users_left_out(one, log, users)
    assert left.sum() == 900
    assert not left[~users].any()
    assert (users_left_out(other, log, users) != left).any()
    # A longer log leaves the same users out, nearly.
    assert (users_left_out(one, log, np.arange(2000) < 1600)[:1500] == left[:1500]).mean() > 0.95
    assert users_left_out(one, log, np.arange(2000) < 400).sum() == 100
    assert not users_left_out(one, log, np.arange(2000) < 200).any()


def test_stage_1_learns_all_anew_if_few_items_have_a_text():
    training = TrainingConfig(head_epochs=2, context_learning_rate=1e-4)
    assert shortened(training, 0.9).collaborative_epochs == 1
    assert shortened(training, 0.5).collaborative_epochs == training.collaborative_epochs
    short = shortened(training, 1.0)
    assert (short.alignment_epochs, short.context_epochs, short.head_epochs) == (1, 1, 2)
    assert short.context_learning_rate == 1e-4
    assert dataclasses.replace(short, **{n: getattr(training, n) for n in SHORTENED}) == training


SHORTENED = ("collaborative_epochs", "alignment_epochs", "context_epochs", "head_learning_rate")


def test_a_start_of_the_papers_head_trains():
    noisy, (semantic, has_semantic) = clustered_log(120), texts()
    config = dataclasses.replace(CONFIG, head="paper")
    short = dataclasses.replace(TRAINING, collaborative_epochs=1, alignment_epochs=1)
    before = train_model(noisy.sequences, semantic, has_semantic, config, short)
    after = train_model(noisy.sequences, semantic, has_semantic, config, short, start=start_of(before))
    assert after.vectors.co_occurrence.shape[1] == 0
    assert np.isfinite(after.metrics["start_held_out_auroc"])


def test_a_start_without_texts_trains():
    noisy, (semantic, _) = clustered_log(120), texts()
    nothing = np.zeros(ITEMS, bool)
    short = dataclasses.replace(TRAINING, collaborative_epochs=1, alignment_epochs=1, context_epochs=1)
    before = train_model(noisy.sequences, semantic, nothing, CONFIG, short)
    known = np.arange(ITEMS) < 90
    after = train_model(noisy.sequences, semantic, nothing, CONFIG, short, start=start_of(before, known))
    assert after.metrics["start_items"] == 90
    assert all(tensor.isfinite().all() for tensor in after.model.state_dict().values())
