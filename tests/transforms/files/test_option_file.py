import dataclasses

import pytest

from iadsr.models.core.errors import InputError, UsageError
from iadsr.models.core.option import POLICY, check_options, option
from iadsr.transforms.files.option_file import with_option_file


@dataclasses.dataclass(frozen=True)
class Limits:
    file: str | None = option(None, name="policy", help="A file.", panel=POLICY)
    drop_rate: float = option(0.0, help="A rate.", panel=POLICY, below=1)
    threshold: float | None = option(None, help="A bound.", panel=POLICY, instead_of="drop_rate")
    keep_last: int = option(0, help="A number.", panel=POLICY)

    def __post_init__(self):
        check_options(self)


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


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("drop_rate: 7", "OPTION-RANGE", "--drop-rate is out of range"),
        ("keep-last: many", "OPTION-VALUE", "--keep-last does not take this value"),
        ("drop_rate: 0.1\nthreshold: 0.5", "OPTION-BOTH", "--drop-rate excludes --threshold"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_told_with_the_file(tmp_path, text, code, words):
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        with_option_file({"policy": path}, "policy", Limits)
    assert (error.value.code, error.value.what) == (code, f"{words} (in the file {path} of --policy)")


def test_a_file_is_not_blamed_for_what_is_given_beside_it(tmp_path):
    path = written(tmp_path, "drop_rate: 0.1\n")
    for given in ({"drop_rate": 7}, {"keep_last": "many"}):  # refused where the options of the command are made
        assert with_option_file({"policy": path, **given}, "policy", Limits) == {
            "policy": path,
            "drop_rate": 0.1,
            **given,
        }
    wrong = written(tmp_path, "drop_rate: 7\n")
    assert with_option_file({"policy": wrong, "drop_rate": 0.2}, "policy", Limits)["drop_rate"] == 0.2
