import pytest

from iadsr.models.core.errors import InputError, UsageError
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.rules.rules_file import read_rules_file, with_rules_file


def read(tmp_path, text: str, **options) -> RuleOptions:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return read_rules_file(RuleOptions(file=str(path), **options))


def test_options_stay_without_a_file():
    options = RuleOptions(repeats="drop")
    assert read_rules_file(options) is options


def test_values_of_the_file_are_used_and_flags_win(tmp_path):
    text = "repeats: drop\nmin-user-interactions: 5\nreturned_column: event\nreturned_values: [cancel, return]\n"
    options = read(tmp_path, text, min_user_interactions=7)
    assert options == RuleOptions(
        repeats="drop", min_user_interactions=7, returned_column="event", returned_values=("cancel", "return")
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("- a\n", "OPTIONS-YAML"),
        ("a: [\n", "OPTIONS-YAML"),
        ("a: 1\na: 2\n", "OPTIONS-YAML"),
        ("repeat: drop\n", "OPTIONS-UNKNOWN"),
        ("rules: other.yaml\n", "OPTIONS-UNKNOWN"),
    ],
)
def test_what_is_not_a_file_of_rules_is_refused(tmp_path, text, code):
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("name", "fix"), [("repeat", "repeats?"), ("Min_User_interactions", "min-user-interactions?"), ("zzz", "--help`")]
)
def test_a_misspelt_option_is_told_with_the_one_that_is_like_it(tmp_path, name, fix):
    with pytest.raises(InputError) as error:
        read(tmp_path, f"{name}: 5\n")
    assert fix in error.value.fix
    assert "repeat-in-a-row" in error.value.expected


def test_a_value_that_the_option_does_not_take_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--repeats does not take this value"):
        read(tmp_path, "repeats: perhaps\n")


def test_values_may_stand_as_yaml_reads_them(tmp_path):
    text = "after: 2026-01-31\nreturned-column: event\nreturned-values: [2, true]\n"
    assert read(tmp_path, text) == RuleOptions(
        after="2026-01-31", returned_column="event", returned_values=("2", "true")
    )
    assert read(tmp_path, "# none yet\n") == RuleOptions()


def test_what_is_given_wins_even_if_it_is_the_default(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text("repeats: drop\nburst-size: 30\n")
    given = {"rules": path, "repeats": "count", "output": "out"}
    assert with_rules_file(given) == {"repeats": "count", "burst_size": 30, "output": "out"}
    assert with_rules_file({"output": "out"}) == {"output": "out"}
