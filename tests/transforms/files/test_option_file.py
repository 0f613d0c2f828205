import dataclasses

import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.core.option import POLICY, option
from iadsr.transforms.files.option_file import with_option_file


@dataclasses.dataclass(frozen=True)
class Limits:
    file: str | None = option(None, name="policy", help="A file.", panel=POLICY)
    drop_rate: float = option(0.0, help="A rate.", panel=POLICY)
    threshold: float | None = option(None, help="A bound.", panel=POLICY, instead_of="drop_rate")
    keep_last: int = option(0, help="A number.", panel=POLICY)


def written(tmp_path, text: str) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return str(path)


def test_a_flag_wins_over_the_file_and_hyphens_are_underscores(tmp_path):
    path = written(tmp_path, "drop-rate: 0.1\nkeep_last: 2\n")
    values = with_option_file({"policy": path, "keep_last": 3}, "policy", Limits)
    assert values == {"policy": path, "drop_rate": 0.1, "keep_last": 3}


def test_a_flag_replaces_what_it_excludes_in_the_file(tmp_path):
    rate = written(tmp_path, "drop_rate: 0.1\nkeep_last: 2\n")
    values = with_option_file({"policy": rate, "threshold": 0.5}, "policy", Limits)
    assert values == {"policy": rate, "threshold": 0.5, "keep_last": 2}
    values = with_option_file({"policy": rate, "threshold": None}, "policy", Limits)
    assert values == {"policy": rate, "drop_rate": 0.1, "threshold": None, "keep_last": 2}

    bound = written(tmp_path, "threshold: 0.5\n")
    given = {"policy": bound, "drop_rate": 0.2}
    assert with_option_file(given, "policy", Limits) == given


def test_without_a_file_values_stay_as_they_are_and_an_empty_file_sets_nothing(tmp_path):
    assert with_option_file({"keep_last": 3}, "policy", Limits) == {"keep_last": 3}
    path = written(tmp_path, "# nothing yet\n")
    assert with_option_file({"policy": path}, "policy", Limits) == {"policy": path}


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("drop_rat: 0.1", "OPTIONS-UNKNOWN", "did you mean drop-rate?"),
        ("policy: other.yaml", "OPTIONS-UNKNOWN", "lists all options"),
        ("- drop_rate", "OPTIONS-YAML", "list instead of lines of option: value"),
        ("drop_rate: [0.1", "OPTIONS-YAML", "plain values only"),
    ],
)
def test_a_file_that_sets_something_else_is_refused_with_its_name(tmp_path, text, code, words):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        with_option_file({"policy": path}, "policy", Limits)
    assert error.value.code == code
    assert path in error.value.what
    assert words in str(error.value)
