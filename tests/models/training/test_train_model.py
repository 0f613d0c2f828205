import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from iadsr.models.core.errors import InputError
from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_config import BACKBONES, IADSRConfig
from iadsr.models.detector.scoring import score_sequences
from iadsr.models.noise.insertion import insert_noise
from iadsr.models.noise.share import MIN_REFERENCE
from iadsr.models.training import train_model as training_module
from iadsr.models.training.fit_alignment import fit_alignment
from iadsr.models.training.head_examples import collect_examples
from iadsr.models.training.train_model import some_users, train_model
from iadsr.models.training.training_config import TrainingConfig
from iadsr.models.vectors.neighbours import borrow_collaborative

CLUSTERS, ITEMS = 5, 100
CONFIG = IADSRConfig(collaborative_dimension=16, hidden_dimension=24, head_dimension=16, max_length=12)
TRAINING = TrainingConfig(
    collaborative_epochs=8, alignment_epochs=3, head_epochs=20, negatives=128, context_negatives=64, seed=3
)

SHORT = dataclasses.replace(TRAINING, collaborative_epochs=1, alignment_epochs=1, context_epochs=1, head_epochs=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clustered_log(users=500, seed=0):
    """Users who stay in one of five clusters of items, and texts that say the cluster, roughly."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(5, 16, users)
    size = ITEMS // CLUSTERS
    rows = [
        cluster * size + generator.permutation(size)[:n]
        for cluster, n in zip(generator.integers(0, CLUSTERS, users), lengths, strict=True)
    ]
    centres = generator.normal(size=(CLUSTERS, 12))
    semantic = np.repeat(centres, size, axis=0) + 1.5 * generator.normal(size=(ITEMS, 12))
    has_semantic = generator.random(ITEMS) < 0.9
    return Sequences.from_lengths(np.concatenate(rows), lengths), semantic.astype(np.float32), has_semantic


@pytest.fixture(scope="module")
def trained():
    log, semantic, has_semantic = clustered_log()
    noisy = insert_noise(log, 0.1, uniform_share=0.0, seed=99, protect_last=2)
    return noisy, semantic, has_semantic, train_model(noisy.sequences, semantic, has_semantic, CONFIG, TRAINING)


def score(result, sequences, semantic, has_semantic):
    vectors = dataclasses.replace(result.vectors, semantic=semantic, has_semantic=has_semantic)
    return score_sequences(result.model, sequences, vectors)


def test_noise_from_other_clusters_is_found(trained):
    noisy, semantic, has_semantic, result = trained
    scores = score(result, noisy.sequences, semantic, has_semantic)
    assert scores.scored.all()
    cluster = noisy.sequences.items // (ITEMS // CLUSTERS)
    home = np.array([np.bincount(c).argmax() for c in np.split(cluster, noisy.sequences.offsets[1:-1])])
    # A fifth of the noise lands in the user's own cluster, where nobody can find it.
    visible = ~noisy.inserted | (cluster != home[noisy.sequences.users])
    assert roc_auc_score(noisy.inserted[visible], scores.noise_probability[visible]) > 0.9


def test_noise_among_items_without_text_is_found_too(trained):
    noisy, semantic, _, result = trained
    scores = score(result, noisy.sequences, semantic, np.zeros(ITEMS, bool))
    assert np.isnan(scores.similarities).all()
    assert roc_auc_score(noisy.inserted, scores.noise_probability) > 0.8


def test_noise_among_items_that_borrow_their_vectors_is_found_too(trained):
    noisy, semantic, has_semantic, result = trained
    new = has_semantic & (np.arange(ITEMS) % 5 == 0)
    known = has_semantic & ~new
    packed = result.vectors.pack()
    packed.collaborative[new] = borrow_collaborative(semantic[known], packed.collaborative[known], semantic[new])
    scores = score_sequences(result.model, noisy.sequences, packed.unpack(CONFIG.collaborative_dimension))
    of_new = new[noisy.sequences.items]
    assert scores.scored[of_new].all()
    assert roc_auc_score(noisy.inserted[of_new], scores.noise_probability[of_new]) > 0.7


def test_the_probability_matches_the_share_of_noise_on_users_it_never_saw(trained):
    noisy, semantic, has_semantic, result = trained
    assert result.metrics["held_out_calibration_error"] < 0.05
    assert result.metrics["inserted_share"] == pytest.approx(TRAINING.noise_rate, abs=0.01)
    scores = score(result, noisy.sequences, semantic, has_semantic)
    # A tenth of this log is noise, somewhat less than the model was calibrated for.
    assert scores.noise_probability.mean() == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(("users", "parts"), [(1500, 1), (500, 2)])
def test_the_reference_comes_of_users_that_stage_1_has_seen_if_they_are_enough(users, parts):
    result = train_model(*clustered_log(users), CONFIG, SHORT)
    counted, inserted = result.model.noise_reference.sum().item(), result.metrics["inserted_interactions"]
    # A tenth of the users stopped the head; another stage 1.
    assert counted >= MIN_REFERENCE or parts == 2
    assert counted / inserted == pytest.approx(parts * SHORT.held_out_share, abs=0.03)


def test_the_result_describes_itself(trained):
    noisy, _, _, result = trained
    assert result.metrics["users"] == 500
    assert result.metrics["interactions"] == len(noisy.sequences.items)
    assert result.metrics["held_out_auroc"] > 0.85
    vectors, size = result.vectors, CONFIG.collaborative_dimension
    assert vectors.collaborative.shape == (ITEMS, size)
    assert vectors.co_occurrence.shape == vectors.company.shape == (ITEMS, CONFIG.folds, size)
    for learned in (vectors.collaborative, vectors.co_occurrence, vectors.company):
        assert learned.dtype == (np.float32 if learned is vectors.collaborative else np.float16)
        # Every item is known to users of all folds.
        known = learned[vectors.has_collaborative].astype(np.float32)
        np.testing.assert_allclose(np.linalg.norm(known, axis=-1), 1, rtol=1e-3)
    # Texts have fewer dimensions, so that the last components are empty.
    np.testing.assert_allclose(vectors.company[:, :, 12:], 0, atol=1e-3)
    assert {entry["stage"] for entry in result.history} == {"collaborative", "alignment", "context", "head"}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_trains_and_finds_noise(backbone):
    log, semantic, has_semantic = clustered_log(users=250, seed=1)
    noisy = insert_noise(log, 0.1, uniform_share=0.5, seed=7)
    result = train_model(
        noisy.sequences, semantic, has_semantic, dataclasses.replace(CONFIG, backbone=backbone), TRAINING
    )
    scores = score(result, noisy.sequences, semantic, has_semantic)
    assert roc_auc_score(noisy.inserted, scores.noise_probability) > 0.8


def test_what_other_users_say_is_learned_without_the_noise_that_training_inserts_and_components_with_it(monkeypatch):
    log, semantic, has_semantic = clustered_log(users=60)
    read = {}

    def recording(name, place):
        function = getattr(training_module, name)

        def recorded(*arguments, **keywords):
            read.setdefault(name, []).append(arguments[place])
            return function(*arguments, **keywords)

        monkeypatch.setattr(training_module, name, recorded)

    recording("fit_co_occurrence", 0)
    recording("fit_company", 0)
    recording("fit_text_components", 0)
    recording("agreeing_vectors", 1)
    result = train_model(log, semantic, has_semantic, CONFIG, SHORT)
    assert read["fit_co_occurrence"] == read["fit_company"] == [log]
    with_noise = len(log.items) + result.metrics["inserted_interactions"]
    assert [len(s.items) for s in read["fit_text_components"] + read["agreeing_vectors"]] == [with_noise] * 3


def test_folds_follow_the_users_keys_whatever_their_order():
    log, semantic, has_semantic = clustered_log(users=60)
    keys = np.random.default_rng(3).integers(0, 2**63, 60).astype(np.uint64)
    order = np.random.default_rng(4).permutation(60)
    rows = np.concatenate([np.arange(log.offsets[u], log.offsets[u + 1]) for u in order])
    shuffled = Sequences.from_lengths(log.items[rows], log.lengths[order], keys[order])
    without_noise = dataclasses.replace(SHORT, noise_rate=0.0)  # which depends on the order
    first, second = (
        train_model(one, semantic, has_semantic, CONFIG, without_noise).vectors.company
        for one in (Sequences(log.items, log.offsets, keys), shuffled)
    )
    for fold in range(CONFIG.folds):
        company, same = first[:, fold], second[:, fold]
        np.testing.assert_allclose(company @ company.T, same @ same.T, atol=1e-3)


def test_the_papers_head_trains_and_comes_back_from_disk(tmp_path):
    log, semantic, has_semantic = clustered_log(users=250, seed=1)
    noisy = insert_noise(log, 0.1, uniform_share=0.5, seed=7)
    config = dataclasses.replace(CONFIG, head="paper")
    result = train_model(noisy.sequences, semantic, has_semantic, config, TRAINING)
    assert result.vectors.pack().collaborative.shape == (ITEMS, CONFIG.collaborative_dimension)
    assert {entry["stage"] for entry in result.history} == {"collaborative", "alignment"}
    scores = score(result, noisy.sequences, semantic, has_semantic)
    assert roc_auc_score(noisy.inserted, scores.noise_probability) > 0.55
    scale, shift = result.model.calibration[:, 0].tolist()
    total = np.nan_to_num(scores.similarities).sum(1)
    np.testing.assert_allclose(scores.noise_probability, 1 / (1 + np.exp(total * scale - shift)), rtol=1e-3)
    result.model.save_pretrained(tmp_path)
    loaded = dataclasses.replace(result, model=IADSR.from_pretrained(tmp_path))
    again = score(loaded, noisy.sequences, semantic, has_semantic)
    assert np.array_equal(again.noise_probability, scores.noise_probability)


def test_training_is_deterministic_and_leaves_the_global_randomness_alone():
    log, semantic, has_semantic = clustered_log(users=80)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = train_model(log, semantic, has_semantic, CONFIG, SHORT)
    assert torch.equal(torch.rand(3), expected)
    again = train_model(log, semantic, has_semantic, CONFIG, SHORT)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    assert np.array_equal(first.vectors.pack().collaborative, again.vectors.pack().collaborative)
    other = train_model(log, semantic, has_semantic, CONFIG, dataclasses.replace(SHORT, seed=4))
    assert not np.array_equal(first.vectors.pack().collaborative, other.vectors.pack().collaborative)


def test_progress_rises_to_the_end_and_names_every_stage():
    log, semantic, has_semantic = clustered_log(users=60)
    seen = []
    short = dataclasses.replace(SHORT, collaborative_epochs=2, head_epochs=2)
    train_model(log, semantic, has_semantic, CONFIG, short, seen.append)
    fractions = [at.fraction for at in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert list(dict.fromkeys(at.stage for at in seen)) == ["collaborative", "alignment", "others", "context", "head"]
    assert all(1 <= at.epoch <= at.epochs for at in seen)
    assert any("held_out_loss" in at.metrics for at in seen)


def test_items_that_are_not_in_the_log_have_no_collaborative_vector():
    log, semantic, has_semantic = clustered_log(users=60)
    more = np.concatenate([semantic, semantic[:5]])
    result = train_model(log, more, np.concatenate([has_semantic, np.ones(5, bool)]), CONFIG, SHORT)
    assert not result.vectors.has_collaborative[-5:].any()
    assert (result.vectors.pack().collaborative[-5:] == 0).all()


def test_training_works_without_any_text():
    log, semantic, _ = clustered_log(users=60)
    nothing = np.full_like(semantic, np.nan)
    result = train_model(log, nothing, np.zeros(ITEMS, bool), CONFIG, SHORT)
    scores = score(result, log, nothing, np.zeros(ITEMS, bool))
    assert np.isfinite(scores.noise_probability).all()


def test_a_log_of_a_few_users_is_refused():
    log, semantic, has_semantic = clustered_log(users=12)
    with pytest.raises(InputError, match="12 users") as raised:
        train_model(log, semantic, has_semantic, CONFIG, TRAINING)
    assert raised.value.fix


def test_a_log_of_few_active_users_among_many_passers_by_trains():
    log, semantic, has_semantic = clustered_log(users=25)
    passers_by = np.arange(300) % ITEMS
    many = Sequences.from_lengths(
        np.concatenate([passers_by, log.items]), np.concatenate([np.ones(300, int), log.lengths])
    )
    result = train_model(many, semantic, has_semantic, CONFIG, SHORT)
    scores = score(result, many, semantic, has_semantic)
    assert not scores.scored[:300].any()
    assert scores.scored[300:].all()
    # Whole batches of users with a single interaction have no next item to predict.
    assert all(np.isfinite(value) for entry in result.history for value in entry.values() if isinstance(value, float))


@pytest.mark.parametrize("catalogue", [1, 30])
def test_a_log_of_one_item_or_of_items_with_one_text_trains(catalogue):
    items = np.arange(200) * 7 % catalogue
    log, semantic = Sequences.from_lengths(items, np.full(40, 5)), np.full((catalogue, 12), 0.3, np.float32)
    result = train_model(log, semantic, np.ones(catalogue, bool), CONFIG, SHORT)
    assert all(tensor.isfinite().all() for tensor in result.model.state_dict().values())
    assert np.isfinite(score(result, log, semantic, np.ones(catalogue, bool)).noise_probability).all()


def test_a_generator_on_a_gpu_is_not_seeded(monkeypatch):
    def fail(seed):
        raise AssertionError("seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", fail)
    log, semantic, has_semantic = clustered_log(users=30)
    train_model(log, semantic, has_semantic, CONFIG, SHORT)


@pytest.mark.parametrize("lean", [-1.0, -0.5, 1.0])
def test_the_reference_holds_the_kinds_that_the_log_shows(monkeypatch, lean):
    monkeypatch.setattr("iadsr.models.training.train_model.tell_lean", lambda *_: lean)
    kinds = {"run_share": 0.5, "text_share": 0.0, "block_share": 0.0}
    result = train_model(*clustered_log(1500), CONFIG, dataclasses.replace(SHORT, **kinds))
    share = result.model.noise_reference.sum().item() / result.metrics["inserted_interactions"]
    assert result.metrics["noise_lean"] == lean
    assert share == pytest.approx(SHORT.held_out_share * (1 + min(lean, 0) / 2), abs=0.03)


def test_some_users_are_a_sample_by_hash_of_those_asked_for_and_all_of_them_if_they_are_few():
    lengths = np.random.default_rng(0).integers(1, 20, 2000)
    sequences = Sequences.from_lengths(np.zeros(lengths.sum(), np.int32), lengths)
    asked, stream = np.arange(2000) % 3 > 0, np.random.SeedSequence(1)
    most = int(lengths[asked].sum())
    assert np.array_equal(some_users(sequences, asked, most, stream), asked)
    chosen = some_users(sequences, asked, most // 4, stream)
    assert not (chosen & ~asked).any()
    assert 0.99 * (most // 4) < lengths[chosen].sum() <= most // 4
    assert 0.4 < (np.flatnonzero(chosen) < 1000).mean() < 0.6
    assert not np.array_equal(chosen, some_users(sequences, asked, most // 4, np.random.SeedSequence(2)))


def test_alignment_and_head_learn_from_the_same_users_if_the_log_is_large(monkeypatch):
    learnt_from = {}

    def watch_alignment(model, log, items, windows, *others):
        learnt_from["alignment"] = np.unique(windows.users)
        return fit_alignment(model, log, items, windows, *others)

    def watch_head(model, log, versions, users, *others):
        learnt_from.setdefault("held out" if "held out" not in learnt_from else "head", np.flatnonzero(users))
        return collect_examples(model, log, versions, users, *others)

    monkeypatch.setattr(training_module, "MAX_INTERACTIONS", 1000)
    monkeypatch.setattr(training_module, "fit_alignment", watch_alignment)
    monkeypatch.setattr(training_module, "collect_examples", watch_head)
    log, semantic, has_semantic = clustered_log()
    train_model(log, semantic, has_semantic, CONFIG, SHORT)
    assert np.array_equal(learnt_from["alignment"], learnt_from["head"])
    assert 50 < len(learnt_from["head"]) < 100  # of some 400, with ten genuine interactions each
