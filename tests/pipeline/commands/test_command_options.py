import datetime

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


def test_a_run_needs_a_place_and_one_only():
    with pytest.raises(UsageError) as error:
        build(CleanOptions, {"interactions": "log", **MODEL})
    assert error.value.code == "OPTION-PLACE"
    with pytest.raises(UsageError) as error:
        build(CleanOptions, {**LOG, **MODEL, "dataset": "runs"})
    assert error.value.code == "OPTION-BOTH"
    assert build(CleanOptions, {"interactions": "log", "dataset": "runs", **MODEL}).place == "runs"


@pytest.mark.parametrize("options", [{"run_id": "monday"}, {"gates": "gates.yaml"}, {"keep_runs": 3}])
def test_what_is_about_runs_side_by_side_needs_a_dataset(options):
    with pytest.raises(UsageError, match=f"--{next(iter(options)).replace('_', '-')} needs --dataset") as error:
        build(CleanOptions, {**LOG, **MODEL, **options})
    assert error.value.code == "OPTION-DATASET"


def test_the_id_of_a_run_is_a_name_that_every_file_system_takes():
    dataset = {"interactions": "log", "dataset": "runs", **MODEL}
    for fine in ("2026-11-28", "2026-11-28T00:00:00+00:00", "scheduled__2026", datetime.date(2026, 11, 28)):
        assert build(CleanOptions, {**dataset, "run_id": fine}).run_id == str(fine)
    for bad in ("", "..", "a/b", "run=1", "a b", "é", "-1", "x" * 201):
        with pytest.raises(UsageError) as error:
            build(CleanOptions, {**dataset, "run_id": bad})
        assert error.value.code == "OPTION-RUN-ID"
