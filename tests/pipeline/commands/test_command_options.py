import pytest

from iadsr.models.core.errors import UsageError
from iadsr.models.core.option import build
from iadsr.pipeline.cli.app import main
from iadsr.pipeline.commands.command_options import CleanOptions

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


def test_a_command_line_without_a_model_is_a_wrong_command_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["iadsr", "clean", "--interactions=log", "--output=out", "--embeddings=vectors"])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
    assert "IADSR-OPTION-MISSING" in capsys.readouterr().err
