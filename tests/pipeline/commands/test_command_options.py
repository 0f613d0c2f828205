import pytest

from iadsr.models.core.errors import UsageError
from iadsr.models.core.option import build
from iadsr.pipeline.cli.app import main
from iadsr.pipeline.commands.command_options import CleanOptions
from iadsr.pipeline.commands.keyword_function import build_options

LOG = {"interactions": "log", "output": "out"}
MODEL = {"embeddings": "vectors", "model": "model"}


@pytest.mark.parametrize("missing", ["embeddings", "model"])
def test_cleaning_needs_a_model_and_vectors_unless_rules_alone_decide(missing):
    given = {name: value for name, value in MODEL.items() if name != missing}
    with pytest.raises(UsageError, match=f"--{missing} is missing") as error:
        build(CleanOptions, {**LOG, **given})
    assert error.value.code == "OPTION-MISSING"
    assert "--rules-only" in str(error.value)
    with pytest.raises(UsageError, match=r"--rules-only .*no model") as error:
        build(CleanOptions, {**LOG, **given, "rules_only": True})
    assert error.value.code == "OPTION-RULES-ONLY"


def test_a_model_or_rules_alone_are_enough():
    assert build(CleanOptions, {**LOG, **MODEL}).model == "model"
    alone = build(CleanOptions, {**LOG, "rules_only": True, "repeats": "drop"})
    assert (alone.model, alone.embeddings, alone.rules.repeats) == (None, None, "drop")


@pytest.mark.parametrize("options", [{"drop_rate": 0.1}, {"threshold": 0.5}, {"min_length": 3}, {"keep_last": 1}])
def test_rules_alone_need_nothing_that_asks_a_model(options):
    with pytest.raises(UsageError, match=f"--{next(iter(options)).replace('_', '-')} is of no use") as error:
        build(CleanOptions, {**LOG, "rules_only": True, **options})
    assert error.value.code == "OPTION-RULES-ONLY"


def test_a_file_of_rules_gives_what_is_not_given_beside_it(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text("repeats: drop\nafter: 2026-01-31\n")
    rules = build_options(CleanOptions, {**LOG, **MODEL, "rules": path, "repeats": "count"}).rules
    assert (rules.repeats, rules.after) == ("count", "2026-01-31")


def test_a_command_line_without_a_model_is_a_wrong_command_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["iadsr", "clean", "--interactions=log", "--output=out", "--embeddings=vectors"])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
    assert "IADSR-OPTION-MISSING" in capsys.readouterr().err
