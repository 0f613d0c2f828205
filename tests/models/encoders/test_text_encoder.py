import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.core.errors import InputError
from iadsr.models.encoders import text_encoder
from iadsr.models.encoders.load_encoder import load_encoder
from iadsr.models.encoders.text_encoder import TextEncoder, _batch_by_length

TEXTS = ["red dress", "soap", "blue lamp gel soap", "red dress", "a dress in red", "lamp"]


@pytest.fixture(scope="module")
def encoder(tiny_encoder) -> TextEncoder:
    return load_encoder(str(tiny_encoder))


@pytest.fixture
def model_inputs(encoder, monkeypatch) -> list[np.ndarray]:
    """The token arrays that the model is called with."""
    batches: list[np.ndarray] = []
    embed = encoder._embed

    def record(tokens):
        batches.append(tokens)
        return embed(tokens)

    monkeypatch.setattr(encoder, "_embed", record)
    return batches


def test_vectors_are_the_mean_over_tokens_in_the_order_of_the_texts(
    encoder, tiny_encoder, reference_vectors, tolerance
):
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, reference_vectors(tiny_encoder, TEXTS, 12), atol=tolerance)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert encoder.dimension == vectors.shape[1] == 8
    assert encoder.pooling == "mean"


def test_equal_texts_are_embedded_once(encoder, model_inputs):
    vectors = encoder.encode(TEXTS * 3)
    assert sum(len(batch) for batch in model_inputs) == len(set(TEXTS))
    np.testing.assert_array_equal(vectors[0], vectors[3])
    np.testing.assert_array_equal(vectors[:6], vectors[12:])


def test_a_vector_does_not_depend_on_the_other_texts_in_its_batch(encoder, monkeypatch):
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    monkeypatch.setitem(text_encoder.BATCH_TOKENS, "cpu", 1)
    np.testing.assert_allclose(encoder.encode(TEXTS), together, atol=1e-6)


def test_the_number_of_threads_does_not_change_vectors(encoder):
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


def test_an_error_in_a_thread_is_raised_and_the_number_of_threads_is_restored(encoder, monkeypatch):
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


def test_long_texts_are_cut_at_the_maximum_number_of_tokens(encoder, model_inputs):
    encoder.encode(["lamp " * 40])
    assert model_inputs[0].shape == (1, 12)


def test_progress_counts_distinct_texts(encoder, monkeypatch):
    monkeypatch.setitem(text_encoder.BATCH_TOKENS, "cpu", 8)
    calls = []
    encoder.encode(TEXTS, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (5, 5)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert len(calls) > 2


def test_no_texts_give_no_vectors(encoder):
    assert encoder.encode([]).shape == (0, 8)


def test_vectors_with_nan_are_refused(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "_embed", lambda tokens: np.full((len(tokens), 8), np.nan, np.float32))
    with pytest.raises(InputError, match="not finite"):
        encoder.encode(["soap"])


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 64))
@settings(max_examples=100)
def test_a_batch_holds_texts_of_one_length_and_every_text_is_in_one_batch(lengths, budget):
    batches = list(_batch_by_length(lengths, budget))
    rows = np.concatenate(batches) if batches else np.array([], int)
    assert sorted(rows) == [row for row, length in enumerate(lengths) if length]
    lengths_in_batches = [{lengths[row] for row in batch} for batch in batches]
    assert all(len(found) == 1 for found in lengths_in_batches)
    assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget for batch in batches)
    order = [found.pop() for found in lengths_in_batches]
    assert order == sorted(order, reverse=True)
