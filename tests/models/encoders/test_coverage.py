import pytest

from iadsr.models.encoders.coverage import measure_coverage
from iadsr.models.encoders.load_encoder import load_encoder


def test_unknown_tokens_and_texts_that_share_a_vector_are_counted():
    texts = ["red dress", "刀红", "刀蓝", "soap 刀"]
    coverage = measure_coverage(texts, [[4, 6], [1, 1], [1, 1], [9, 1]], unknown=1)
    assert coverage.unknown_tokens == 5 / 8
    assert coverage.shared_vectors == 0.5
    assert coverage.is_poor


def test_texts_of_known_tokens_that_share_a_vector_are_the_same_to_the_encoder():
    coverage = measure_coverage(["Red", "red", "red!"], [[4], [4], [4]], unknown=1)
    assert coverage.shared_vectors == 0
    assert not coverage.is_poor


@pytest.mark.parametrize(
    ("text", "tokens", "spelled"),
    [
        ("нож красный", 10, 1),
        ("нож красный", 3, 0),
        ("刀红色", 3, 0),  # a token for each ideograph is what encoders for Chinese have
        ("刀红色", 9, 1),
        ("A-1/B.2", 7, 0),
        ("1999", 4, 0),
    ],
)
def test_texts_that_are_read_letter_by_letter_are_counted(text, tokens, spelled):
    assert measure_coverage([text], [[7] * tokens], unknown=None).spelled_texts == spelled


def test_no_text_is_covered_well():
    assert not measure_coverage([], [], unknown=1).is_poor


def test_an_encoder_measures_without_the_tokens_that_every_text_has(tiny_encoder):
    encoder = load_encoder(str(tiny_encoder))
    assert not encoder.coverage(["red dress", "soap"]).is_poor
    poor = encoder.coverage(["red нож", "red шланг"])
    assert (poor.unknown_tokens, poor.shared_vectors) == (0.5, 1)
