import pytest
import yaml

from iadsr.models.core.plain_yaml import MAX_BYTES, MAX_DEPTH, load_plain_yaml


def test_plain_values_are_read():
    assert load_plain_yaml(b"drop-rate: 0.1\nwhich: [a, 1, null]\n") == {"drop-rate": 0.1, "which": ["a", 1, None]}
    assert load_plain_yaml(b"") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: &x [1]\nb: *x\n", "an alias"),
        (b"a: 1\nb: {c-d: 1, c_d: 2}\n", "c_d is set twice"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
        (b"a: " + b"x" * MAX_BYTES, "more than 65,536 bytes"),
    ],
)
def test_what_could_surprise_is_refused(content, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        load_plain_yaml(content)


def test_a_tag_builds_no_object():
    with pytest.raises(yaml.YAMLError):
        load_plain_yaml(b"a: !!python/object/apply:os.getcwd []\n")


def test_the_deepest_nesting_that_is_allowed_is_read():
    value = load_plain_yaml(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == []
